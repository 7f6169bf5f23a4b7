import { execFile, spawn } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** The stock docker command-line clients that are installed here, by their version. */
export const dockerClients: readonly { readonly name: string; readonly path: string }[] = [
  '/usr/local/bin/docker',
  '/usr/bin/docker',
]
  .filter((path) => existsSync(path))
  .flatMap((path) => {
    try {
      const [version = ''] =
        /\d+\.\d+\.\d+/.exec(execFileSync(path, ['--version'], { encoding: 'utf8' })) ?? []
      return [{ name: `docker ${version}`, path }]
    } catch {
      return []
    }
  })

export interface CliResult {
  readonly code: number
  readonly out: string
  readonly err: string
}

const environment = (socketPath: string): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: '/nonexistent',
  DOCKER_HOST: `unix://${socketPath}`,
})

/** Runs one command to its end. */
export function docker(path: string, socketPath: string, args: readonly string[]): Promise<CliResult> {
  return new Promise((resolve) => {
    const child = execFile(
      path,
      [...args],
      { env: environment(socketPath), timeout: 20_000, maxBuffer: 4 * 1024 * 1024 },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    )
    child.stdin?.end()
  })
}

/** Starts a command that goes on; its lines so far, and a wait for one that matches. */
export function dockerStream(path: string, socketPath: string, args: readonly string[]) {
  const child = spawn(path, [...args], { env: environment(socketPath), stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      for (const wake of waiting) wake()
    })
  }
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return {
    text: () => text,
    until: (pattern: RegExp): Promise<string> =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const match = pattern.exec(text)
          if (match === null) return
          waiting.delete(check)
          resolve(match[0])
        }
        waiting.add(check)
        check()
        void ended.then(() => reject(new Error(`docker ${args.join(' ')} ended without ${pattern}: ${text}`)))
      }),
    async stop(): Promise<void> {
      child.kill('SIGTERM')
      await ended
    },
  }
}
