import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Hosts, TestHost } from './hosts.ts'

/** Ways in which an agent or a machine stands still without being gone. Each says how it was, or fails. */

/** SIGSTOP: all threads of the agent, its kernel goes on answering for its ports. */
export async function stopped(hosts: Hosts, index: number, forMs: number): Promise<void> {
  hosts.agentStop(index)
  try {
    await delay(forMs / 2)
    const pid = hosts.host(index).agentPid
    const state = pid === undefined ? 'gone' : readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0]
    if (state !== 'T') throw new Error(`The agent of host ${index} is not stopped: ${state}`)
    await delay(forMs / 2)
  } finally {
    hosts.agentContinue(index)
  }
}

/**
 * The main loop alone stands still; its threads do not. Through Node's inspector, which SIGUSR1 opens inside the host, so
 * that the product needs no hook for it. Gives for how long it stood.
 */
export async function stalled(host: TestHost, forMs: number): Promise<number> {
  const pid = host.agentPid
  if (pid === undefined) throw new Error(`${host.name} has no agent`)
  process.kill(pid, 'SIGUSR1')
  const program = join(import.meta.dirname, 'stall-loop.ts')
  const stoodMs = Number(await host.inside(process.execPath, program, String(forMs)))
  if (!(stoodMs >= forMs)) throw new Error(`The agent of ${host.name} stood still for ${stoodMs} ms only`)
  return stoodMs
}

/** For each core. */
const busyPerCore = 4

/** Many busy processes for each core. Gives which share of the cores they got. */
export async function starved(forMs: number): Promise<number> {
  const cores = availableParallelism()
  // They end by themselves, whatever becomes of this process.
  const loop = `const end = Date.now() + ${forMs}; while (Date.now() < end);`
  const end = `process.stdout.write(String(process.cpuUsage().user + process.cpuUsage().system))`
  // Each a session of its own: where the kernel groups by session (sched_autogroup), those of one would count as one.
  const busy = Array.from({ length: cores * busyPerCore }, () =>
    spawn(process.execPath, ['-e', `${loop}${end}`], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  )
  try {
    const used = await Promise.all(
      busy.map(async (child) => {
        let text = ''
        child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
        await once(child, 'close')
        return Number(text)
      }),
    )
    const share = used.reduce((sum, each) => sum + each, 0) / 1_000 / (forMs * cores)
    if (!(share > 0.5))
      throw new Error(`The busy processes got ${Math.round(share * 100)} % of the cores only`)
    return share
  } finally {
    for (const child of busy) child.kill('SIGKILL')
  }
}
