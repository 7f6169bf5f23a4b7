import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestHost } from './hosts.ts'

/** One system call of an agent, on the machine's clock (which all hosts of a bed share), in seconds. */
export interface SystemCall {
  readonly name: string
  /** What the first argument stands for: a file's path, or a socket with its peer. */
  readonly file: string
  readonly startS: number
  readonly endS: number
  /** All arguments; bytes that are text stand as they are. */
  readonly text: string
}

/**
 * strace on a running agent: what it asks of the kernel, in order, and (`fault`) what the kernel does to its syncs.
 * Killing a host keeps the page cache, so that only this shows whether something was on the disk, and when.
 */
export class Trace {
  readonly #strace: ChildProcess
  readonly #directory: string

  private constructor(strace: ChildProcess, directory: string) {
    this.#strace = strace
    this.#directory = directory
  }

  /** `fault`: strace's words for it, such as `error=EIO` or `delay_enter=1000000` (microseconds). */
  static async of(host: TestHost, fault?: string): Promise<Trace> {
    const pid = host.agentPid
    if (pid === undefined) throw new Error(`${host.name}'s agent does not run`)
    const directory = await mkdtemp(join(tmpdir(), 'moot-trace-'))
    const calls = 'trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg'
    const faults = fault === undefined ? [] : ['-e', `inject=fsync,fdatasync:${fault}`]
    const output = ['-ff', '-ttt', '-T', '-yy', '-s', '6000', '-o', join(directory, 'calls')]
    const strace = spawn('strace', [...output, '-e', calls, ...faults, '-p', String(pid)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await attached(strace)
    return new Trace(strace, directory)
  }

  /** Lets the agent go, and tells what it did. */
  async end(): Promise<SystemCall[]> {
    const ended = once(this.#strace, 'exit')
    if (this.#strace.exitCode === null) this.#strace.kill('SIGTERM')
    await ended
    const files = await readdir(this.#directory)
    const texts = await Promise.all(files.map((file) => readFile(join(this.#directory, file), 'latin1')))
    await rm(this.#directory, { recursive: true })
    return texts.flatMap((text) => text.split('\n').flatMap(parsed)).toSorted((a, b) => a.startS - b.startS)
  }
}

function attached(strace: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let told = ''
    strace.stderr?.setEncoding('utf8').on('data', (text: string) => {
      told += text
      if (told.includes(' attached')) resolve()
    })
    strace.once('error', (error) =>
      reject(new Error('strace does not run: apt-get install strace', { cause: error })),
    )
    strace.once('exit', (code) => reject(new Error(`strace ended with ${code}: ${told}`)))
  })
}

function parsed(line: string): SystemCall[] {
  const match = /^(\d+\.\d+) (\w+)\((.*) = .* <(\d+\.\d+)>$/.exec(line)
  if (match === null) return []
  const [, start = '', name = '', text = '', took = ''] = match
  const file = /^\d+<([^>]*(?:->[^>]*)?)>/.exec(text)?.[1] ?? ''
  const startS = Number(start)
  return [{ name, file, startS, endS: startS + Number(took), text }]
}

/** The sync that made what was written with this text durable; undefined where the store never wrote or synced it. */
export function madeDurable(calls: readonly SystemCall[], text: string): SystemCall | undefined {
  const written = calls.find((call) => call.name === 'pwrite64' && isStore(call) && call.text.includes(text))
  if (written === undefined) return undefined
  return calls.find(
    (call) =>
      (call.name === 'fsync' || call.name === 'fdatasync') && isStore(call) && call.startS >= written.endS,
  )
}

function isStore({ file }: SystemCall): boolean {
  return /state\.db(-wal)?$/.test(file)
}
