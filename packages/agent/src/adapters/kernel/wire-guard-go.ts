import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { defaults } from '../../defaults.ts'
import { KernelRefusedError, KernelSilentError, ProgramMissingError } from '../../ports/data-plane.errors.ts'
import { path } from './program.ts'

const program = 'wireguard-go'

/**
 * WireGuard as a process, where the kernel has none. It makes the interface and goes on by itself, in a session of its own: it
 * outlives the agent, and the next one finds the interface as it was.
 */
export async function startWireGuardGo(device: string): Promise<void> {
  const to = `make the interface ${device}`
  const child = spawn(program, [device], {
    detached: true,
    cwd: '/',
    env: { PATH: path },
    stdio: 'ignore',
    timeout: defaults.wireGuardStartTimeoutMs,
    killSignal: 'SIGKILL',
  })
  try {
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code === null) throw new KernelSilentError(program, to, defaults.wireGuardStartTimeoutMs)
    if (code !== 0) {
      throw new KernelRefusedError(program, to, `it ended with ${code}: may it open /dev/net/tun?`)
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new ProgramMissingError(program, error)
    }
    throw error
  }
}
