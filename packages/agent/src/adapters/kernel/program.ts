import { execFile } from 'node:child_process'
import {
  KernelAnswerError,
  KernelRefusedError,
  KernelSilentError,
  ProgramMissingError,
} from '../../ports/data-plane.errors.ts'

export interface Call {
  readonly program: string
  readonly args: readonly string[]
  /** Completes "could not …": `list routes`. */
  readonly to: string
  readonly input?: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** An answer is at most the list of all tracked connections: 262,144 (Linux' default) of 200 bytes. */
const answerMaxBytes = 64 * 1024 * 1024
/** Services are often started without the directories that these programs are in. */
export const path = [
  ...new Set([...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin']),
]
  .filter(Boolean)
  .join(':')

/** Runs a program to its end, without a shell and in no language but English, and gives what it printed. */
export function run(call: Call): Promise<string> {
  const { program, signal, timeoutMs, to } = call
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const child = execFile(
      program,
      call.args,
      {
        env: { ...process.env, PATH: path, LC_ALL: 'C' },
        maxBuffer: answerMaxBytes,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        signal,
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout)
        if (signal.aborted) return reject(signal.reason)
        if (error.code === 'ENOENT') return reject(new ProgramMissingError(program, error))
        if (error.killed === true) return reject(new KernelSilentError(program, to, timeoutMs))
        reject(new KernelRefusedError(program, to, firstLines(stderr) || firstLines(stdout) || error.message))
      },
    )
    child.stdin?.on('error', () => {
      // It ended without reading all of its input; how it ended says why.
    })
    child.stdin?.end(call.input ?? '')
  })
}

/** The same for programs that answer in JSON; `ip` prints nothing at all for an empty list. */
export async function ask(call: Call): Promise<readonly Record<string, unknown>[]> {
  const text = (await run(call)).trim()
  if (text === '') return []
  try {
    const answer: unknown = JSON.parse(text)
    if (!Array.isArray(answer)) throw new TypeError('not a list')
    return answer as Record<string, unknown>[]
  } catch (error) {
    throw new KernelAnswerError(call.program, call.to, error)
  }
}

/** nft repeats the whole offending line, which may be a map of a thousand. */
function firstLines(text: string): string {
  const lines = text.trim().split('\n').slice(0, 3)
  return lines.map((line) => (line.length > 300 ? `${line.slice(0, 300)}…` : line)).join(' / ')
}
