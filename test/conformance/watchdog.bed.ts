import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { bootMs } from '../../packages/agent/src/adapters/watchdog/boot-clock.ts'
import { processWatchdog } from '../../packages/agent/src/adapters/watchdog/client.ts'
import { Line } from '../../packages/agent/src/adapters/watchdog/line.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import { memoryWatchdog } from '../../packages/agent/src/ports/watchdog.memory.ts'
import type { Watchdog, WatchdogLoss } from '../../packages/agent/src/ports/watchdog.ts'
import { isAlive } from './processes.ts'

/** A watchdog, and a slot's cgroup that a test may start processes in. */
export interface WatchdogBed {
  readonly watchdog: Watchdog
  readonly losses: readonly WatchdogLoss[]
  /** The parent cgroup of a slot's containers; each name is another. */
  cgroup(name: string): string
  nowMs(): number
  /** Starts something in a container's cgroup below; false if the system does not let it start. */
  start(cgroup: string): Promise<boolean>
  /** What runs there ends by itself. */
  end(cgroup: string): Promise<void>
  isOccupied(cgroup: string): boolean
  pass(ms: number): Promise<void>
  /** The watchdog's process dies. */
  crash(state: 'kept' | 'lost'): Promise<void>
  close(): Promise<void>
}

export function memoryBed(): Promise<WatchdogBed> {
  const clock = memoryClock()
  const running = new Set<string>()
  const blocked = new Set<string>()
  const losses: WatchdogLoss[] = []
  const watchdog = memoryWatchdog(clock, {
    open: (cgroup) => blocked.delete(cgroup),
    block: (cgroup) => blocked.add(cgroup),
    kill: (cgroup) => running.delete(cgroup),
    isOccupied: (cgroup) => running.has(cgroup),
    remove: (cgroup) => blocked.delete(cgroup),
  })
  watchdog.onLost((loss) => losses.push(loss))
  return Promise.resolve({
    watchdog,
    losses,
    cgroup: (name) => `/test/${name}`,
    nowMs: () => clock.monotonicMs(),
    start(cgroup) {
      if (!blocked.has(cgroup)) running.add(cgroup)
      return Promise.resolve(running.has(cgroup))
    },
    end(cgroup) {
      running.delete(cgroup)
      return Promise.resolve()
    },
    isOccupied: (cgroup) => running.has(cgroup),
    pass: (ms) => clock.advance(ms),
    crash(state) {
      watchdog.crash(state)
      return Promise.resolve()
    },
    close: () => watchdog.close(),
  })
}

export interface SystemCgroupTree {
  /** As the watchdog is told. */
  readonly root: string
  /** Of the hierarchy that processes are put into. */
  readonly processes: string
}

/** Where this machine has them; undefined if it has none, or does not let us make one. */
export function cgroupTree(version: 'v1' | 'v2'): SystemCgroupTree | undefined {
  const base = '/sys/fs/cgroup'
  const candidates =
    version === 'v1'
      ? [{ root: base, processes: `${base}/pids` }].filter(() => !existsSync(`${base}/cgroup.controllers`))
      : [base, `${base}/unified`].map((root) => ({ root, processes: root }))
  return candidates.find(({ root, processes }) => {
    if (version === 'v2' && !existsSync(join(root, 'cgroup.controllers'))) return false
    const probe = join(processes, `moot-test-probe-${process.pid}`)
    try {
      mkdirSync(probe)
      rmdirSync(probe)
      return true
    } catch {
      return false
    }
  })
}

export interface ProcessBed extends WatchdogBed {
  readonly directory: string
  readonly tree: SystemCgroupTree
  pid(): Promise<number>
  run(cgroup: string, script: string): Promise<ChildProcess>
  /** A second agent's client of the same watchdog. */
  another(): Watchdog
}

let beds = 0

export function processBed(tree: SystemCgroupTree): Promise<ProcessBed> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-dog-'))
  const own = `moot-test-${process.pid}-${beds++}`
  const setup = { directory, cgroupRoot: tree.root, settings: defaults }
  const watchdog = processWatchdog(setup)
  const others: Watchdog[] = []
  const losses: WatchdogLoss[] = []
  watchdog.onLost((loss) => losses.push(loss))
  const children = new Map<string, ChildProcess[]>()

  const bed: ProcessBed = {
    watchdog,
    losses,
    directory,
    tree,
    cgroup: (name) => `/${own}/${name}`,
    nowMs: bootMs,
    async start(cgroup) {
      const child = await bed.run(cgroup, 'sleep 60').catch(() => undefined)
      return child !== undefined && child.exitCode === null && child.signalCode === null
    },
    async run(cgroup, script) {
      // As an engine does: a cgroup of the container below the slot's, a process that is moved into it, and then forks.
      const container = join(tree.processes, cgroup, 'container')
      mkdirSync(container, { recursive: true })
      const child = spawn(
        'sh',
        ['-c', `echo $$ > ${container}/cgroup.procs || exit 1; (true) || exit 1; echo started; ${script}`],
        { stdio: ['ignore', 'pipe', 'ignore'], detached: true },
      )
      children.set(cgroup, [...(children.get(cgroup) ?? []), child])
      await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
      return child
    },
    async end(cgroup) {
      const freezer = join(tree.root, 'freezer', cgroup, 'container', 'freezer.state')
      if (existsSync(freezer)) writeFileSync(freezer, 'THAWED')
      for (const child of children.get(cgroup) ?? []) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        process.kill(-(child.pid ?? 0), 'SIGKILL')
        await once(child, 'exit')
      }
      while (bed.isOccupied(cgroup)) await delay(5)
    },
    isOccupied: (cgroup) => processesBelow(join(tree.processes, cgroup)).length > 0,
    pass: (ms) => delay(ms),
    async pid() {
      const line = await Line.open(join(directory, 'socket'), defaults, () => undefined)
      const reply = await line.ask({ ask: 'ping' })
      line.close()
      if (reply.kind !== 'pong') throw new Error(`the watchdog answered ${reply.kind} to a ping`)
      return reply.pid
    },
    async crash(state) {
      const pid = await bed.pid()
      if (state === 'lost') rmSync(join(directory, 'state.json'))
      await kill(pid)
    },
    another() {
      const other = processWatchdog(setup)
      others.push(other)
      return other
    },
    async close() {
      for (const each of [watchdog, ...others]) await each.close()
      for (let pids = processesOf(directory); pids.length > 0; pids = processesOf(directory))
        for (const pid of pids) await kill(pid)
      for (const cgroup of children.keys()) await bed.end(cgroup)
      for (const hierarchy of hierarchies(tree)) await removeTree(join(hierarchy, own))
      rmSync(directory, { recursive: true })
    },
  }
  return Promise.resolve(bed)
}

/** Watchdogs of this bed: also one that hangs, or that lost the race for the lock and has not ended yet. */
function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => isOf(directory, Number(name)))
    .map(Number)
}

function isOf(directory: string, pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0--directory\0${directory}\0`)
  } catch {
    return false
  }
}

async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGCONT')
  process.kill(pid, 'SIGKILL')
  while (isAlive(pid)) await delay(5)
}

function hierarchies(tree: SystemCgroupTree): string[] {
  if (tree.processes === tree.root) return [tree.root]
  return readdirSync(tree.root).map((name) => join(tree.root, name))
}

function processesBelow(directory: string): string[] {
  if (!existsSync(directory)) return []
  try {
    const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return [
      ...readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean),
      ...below.flatMap(({ name }) => processesBelow(join(directory, name))),
    ]
  } catch {
    // Removed meanwhile.
    return []
  }
}

async function removeTree(directory: string): Promise<void> {
  if (!existsSync(directory)) return
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(directory, entry.name))
  }
  for (let tries = 0; existsSync(directory); tries++) {
    try {
      rmdirSync(directory)
    } catch (error) {
      // What was killed a moment ago still counts.
      if (tries > 200) throw error
      await delay(10)
    }
  }
}

export function freeze(tree: SystemCgroupTree, cgroup: string, pid: number): void {
  const freezer = join(tree.root, 'freezer', cgroup, 'container')
  mkdirSync(freezer, { recursive: true })
  writeFileSync(join(freezer, 'cgroup.procs'), String(pid))
  writeFileSync(join(freezer, 'freezer.state'), 'FROZEN')
}
