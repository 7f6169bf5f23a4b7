import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A few lines for each start and each trouble. */
const logMaxBytes = 256 * 1024

/** A process that outlives the agent, as far as the agent that started it can see. */
export interface Detached {
  hasEnded(): boolean
  /** What is known of it, for a message. */
  words(): string
}

/**
 * In a session of its own: what is sent to the agent's process group or terminal does not reach it.
 * @param args of Node: flags, program, its own.
 * @param directory gets its log.
 */
export function startDetached(args: readonly string[], directory: string): Detached {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'log')
  const isLong = existsSync(path) && statSync(path).size > logMaxBytes
  const log = openSync(path, isLong ? 'w' : 'a', 0o600)
  let ended: string | undefined
  const child = spawn(process.execPath, args, {
    detached: true,
    cwd: '/',
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', log, log],
  })
  child.once('error', (error) => (ended = error.message))
  child.once('exit', (code, signal) => (ended = `it ended with ${code ?? signal}`))
  child.unref()
  closeSync(log)
  return {
    hasEnded: () => ended !== undefined,
    words: () => `${ended ?? 'no answer yet'}${lastWords(path)}; see ${path}`,
  }
}

function lastWords(path: string): string {
  try {
    const line = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)
    return line === undefined || line === '' ? '' : ` (${line})`
  } catch {
    return ''
  }
}
