import { spawn } from 'node:child_process'
import { openSync, closeSync, readFileSync, readlinkSync, readdirSync, rmSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { waitUntil } from './shell.ts'

/** A pid alone may by now be somebody else's: with its start time (in clock ticks since boot) it names one process. */
export interface ProcessId {
  readonly pid: number
  readonly startTicks: string
}

export function identify(pid: number): ProcessId | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command in parentheses may hold anything; the fields after it are 3 (state) and on; 22 is the start time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startTicks = fields[19]
    if (fields[0] === 'Z' || startTicks === undefined) return undefined
    return { pid, startTicks }
  } catch {
    return undefined
  }
}

export function isAlive(id: ProcessId | undefined): id is ProcessId {
  return id !== undefined && identify(id.pid)?.startTicks === id.startTicks
}

/** Signals exactly that process, and says whether it was there. */
export function signal(id: ProcessId | undefined, name: NodeJS.Signals): boolean {
  if (!isAlive(id)) return false
  try {
    return process.kill(id.pid, name)
  } catch {
    return false
  }
}

export async function gone(what: string, id: ProcessId, timeoutMs = 15_000): Promise<void> {
  await waitUntil(`${what} (pid ${id.pid}) has ended`, async () => !isAlive(id), {
    timeoutMs,
    intervalMs: 10,
  })
}

export async function killed(what: string, id: ProcessId | undefined): Promise<void> {
  if (id !== undefined && signal(id, 'SIGKILL')) await gone(what, id)
}

/** A program that outlives this one: its launcher, and the process in the host's own process namespace. */
export interface Program {
  readonly launcher: ProcessId
  readonly main: ProcessId
}

export function readProgram(pidFile: string): Program | undefined {
  try {
    const program = JSON.parse(readFileSync(pidFile, 'utf8')) as Program
    return isAlive(program.main) ? program : undefined
  } catch {
    return undefined
  }
}

export function forgetProgram(pidFile: string): void {
  rmSync(pidFile, { force: true })
}

/**
 * Starts a program apart from this one (own session, output to a log), whose launcher (`unshare`, `nsenter`) forks once
 * into another process namespace, and keeps both pids in `pidFile`.
 */
export async function launch(
  what: string,
  command: string,
  args: readonly string[],
  options: { readonly pidFile: string; readonly logFile: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Program> {
  const log = openSync(options.logFile, 'a')
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: options.env ?? process.env,
  })
  closeSync(log)
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
  })
  child.unref()
  const { pid } = child
  if (pid === undefined) return failed
  const program = await Promise.race([
    failed,
    waitUntil(
      `${what} has started (its output is in ${options.logFile})`,
      async () => {
        if (child.exitCode !== null) throw new Error(`${what} ended with ${child.exitCode}`)
        const launcher = identify(pid)
        const main = childrenOf(pid)[0]
        return launcher !== undefined && main !== undefined && { launcher, main }
      },
      { timeoutMs: 10_000, intervalMs: 5 },
    ),
  ])
  await writeFile(options.pidFile, JSON.stringify(program))
  return program
}

export function childrenOf(pid: number): ProcessId[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((child) => child !== '')
      .map((child) => identify(Number(child)))
      .filter((child) => child !== undefined)
  } catch {
    return []
  }
}

/**
 * Every process inside a network namespace. This is how a bed finds what it started when a pid file was never
 * written, because somebody interrupted it in between.
 */
export function processesInNetwork(namespacePath: string): ProcessId[] {
  let inode: bigint
  try {
    inode = statSync(namespacePath, { bigint: true }).ino
  } catch {
    return []
  }
  const wanted = `net:[${inode}]`
  // A path that no namespace is mounted on (any more) is an ordinary file and equals nobody's link.
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === wanted
      } catch {
        return false
      }
    })
    .map((pid) => identify(Number(pid)))
    .filter((id) => id !== undefined)
}
