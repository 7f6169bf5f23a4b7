import { execFile } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'

export class CommandFailed extends Error {
  readonly code = 'COMMAND_FAILED'
  readonly stderr: string
  readonly exitCode: number | string | undefined
  constructor(command: string, exitCode: number | string | undefined, stdout: string, stderr: string) {
    super(
      `${command}\nended with ${exitCode ?? 'a signal'}: ${stderr.trim() || stdout.trim() || 'no output'}`,
    )
    this.stderr = stderr
    this.exitCode = exitCode
  }
}

/** `{ data: '/x' }` as `['--data', '/x']`. */
export function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly cwd?: string | undefined
  readonly input?: string | undefined
  readonly timeoutMs?: number | undefined
}

/** Runs a program to its end and gives what it printed. Nothing is ever asked of the person: stdin is `input` or empty. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        env: options.env ?? process.env,
        cwd: options.cwd,
        maxBuffer: 64 * 1024 * 1024,
        timeout: options.timeoutMs ?? 120_000,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new CommandFailed([command, ...args].join(' '), error.code ?? undefined, stdout, stderr))
      },
    )
    child.stdin?.on('error', () => {
      // The program ended without reading its input; its exit code tells the rest.
    })
    child.stdin?.end(options.input ?? '')
  })
}

/** For what may rightly fail, such as removing what is not there. */
export async function attempt(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return await run(command, args)
  } catch (error) {
    if (error instanceof CommandFailed) return undefined
    throw error
  }
}

export class WaitedInVain extends Error {
  readonly code = 'WAITED_IN_VAIN'
}

/** Asks every `intervalMs` until the answer is neither false nor undefined, and fails with `what` and the last answer or error. */
export async function waitUntil<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  options: { readonly timeoutMs: number; readonly intervalMs?: number },
): Promise<T> {
  const startMs = performance.now()
  let last: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      last = answer
    } catch (error) {
      last = error
    }
    const waitedMs = performance.now() - startMs
    if (waitedMs > options.timeoutMs) {
      const told = last instanceof Error ? last.message : JSON.stringify(last)
      throw new WaitedInVain(`Waited ${Math.round(waitedMs)} ms in vain: ${what}. Last answer: ${told}`)
    }
    await delay(options.intervalMs ?? 50)
  }
}
