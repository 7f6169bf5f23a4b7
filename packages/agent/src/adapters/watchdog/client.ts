import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Arm, ArmAnswer, DisarmAnswer, Watched } from '../../core/lease/watch.ts'
import type { SlotKey } from '../../core/lease/messages.ts'
import type { defaults } from '../../defaults.ts'
import { type Watchdog, type WatchdogLoss, WatchdogUnavailableError } from '../../ports/watchdog.ts'
import { type Detached, startDetached } from '../detached/process.ts'
import { Line, type LineSettings } from './line.ts'
import { isQuestion, type Question, type Reply } from './protocol.ts'
import { hasState } from './state-file.ts'

export type WatchdogClientSettings = LineSettings &
  Pick<typeof defaults, 'watchdogStartTimeoutMs' | 'watchdogReturnTimeoutMs'>

export interface WatchdogSetup {
  /** In memory (/run), for root alone: the socket, the state, what it said. A path of at most 90 characters. */
  readonly directory: string
  /** Where cgroups are mounted, as the engine sees them too. */
  readonly cgroupRoot: string
  readonly settings: WatchdogClientSettings
}

/** How long between two tries to reach a process that is starting. */
const knockIntervalMs = 20

/** The watchdog in a process of its own, which is started when it is needed first and found again after a restart of the agent. */
export function processWatchdog(setup: WatchdogSetup): Watchdog {
  return new WatchdogClient(setup)
}

class WatchdogClient implements Watchdog {
  readonly #setup: WatchdogSetup
  readonly #listeners = new Set<(loss: WatchdogLoss) => void>()
  /** What it has said to watch: fence by slot. */
  readonly #armed = new Map<SlotKey, number>()
  #line: Promise<Line> | undefined
  #pulse: NodeJS.Timeout | undefined
  #isReturning = false
  #isClosed = false

  constructor(setup: WatchdogSetup) {
    this.#setup = setup
  }

  async arm(arm: Arm): Promise<ArmAnswer> {
    const { slot, fence, cgroup, deadlineMs } = arm
    const question: Question = { ask: 'arm', slot, fence, cgroup, deadlineMs }
    if (!isQuestion(question))
      return {
        kind: 'refused',
        why: `${cgroup} is no cgroup of one slot, or its fence or deadline is no number`,
      }
    const reply = await this.#ask(question)
    switch (reply.kind) {
      case 'armed':
        this.#armed.set(slot, fence)
        this.#feelPulse()
        return reply
      case 'over':
      case 'older':
      case 'occupied':
      case 'refused':
        return reply
      default:
        throw unexpected(reply)
    }
  }

  async disarm(slot: SlotKey, fence: number): Promise<DisarmAnswer> {
    if (!this.#armed.has(slot) && !(await this.#isThere())) return { kind: 'disarmed' }
    const reply = await this.#ask({ ask: 'disarm', slot, fence })
    switch (reply.kind) {
      case 'disarmed':
        this.#armed.delete(slot)
        return reply
      case 'older':
      case 'occupied':
        return reply
      default:
        throw unexpected(reply)
    }
  }

  async list(): Promise<readonly Watched[]> {
    // Not started for nothing; but one that died with something to watch is.
    if (!(await this.#isThere())) return []
    const reply = await this.#ask({ ask: 'list' })
    if (reply.kind !== 'list') throw unexpected(reply)
    for (const { slot, fence } of reply.all) this.#armed.set(slot, fence)
    this.#feelPulse()
    return reply.all
  }

  onLost(callback: (loss: WatchdogLoss) => void): () => void {
    this.#listeners.add(callback)
    return () => this.#listeners.delete(callback)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#pulse)
    const line = await this.#line?.catch(() => undefined)
    line?.close()
  }

  async #isThere(): Promise<boolean> {
    if (this.#line !== undefined || hasState(this.#setup.directory)) return true
    const line = await this.#open().catch(() => undefined)
    if (line !== undefined) this.#line = Promise.resolve(line)
    return line !== undefined
  }

  /** Every question may be asked twice. */
  async #ask(question: Question): Promise<Reply> {
    try {
      const first = await this.#connected()
      return await first.ask(question).catch(async () => {
        const second = await this.#connected()
        return second.ask(question)
      })
    } catch (error) {
      throw new WatchdogUnavailableError(error instanceof Error ? error.message : String(error), {
        cause: error,
      })
    }
  }

  #connected(): Promise<Line> {
    if (this.#isClosed) return Promise.reject(new Error('the agent has let go of it'))
    if (this.#line !== undefined) return this.#line
    const line = this.#reach(this.#setup.settings.watchdogStartTimeoutMs)
    this.#line = line
    line.catch(() => {
      if (this.#line === line) this.#line = undefined
    })
    return line
  }

  #open(): Promise<Line> {
    const { directory, settings } = this.#setup
    return Line.open(join(directory, 'socket'), settings, (why) => {
      this.#line = undefined
      if (!this.#isClosed && this.#armed.size > 0) void this.#return(why)
    })
  }

  /** The connection has ended while it watched: is it, or what is started in its place, back with all deadlines in time? */
  async #return(why: string): Promise<void> {
    if (this.#isReturning) return
    this.#isReturning = true
    const expected = [...this.#armed]
    const atMs = performance.now() + this.#setup.settings.watchdogReturnTimeoutMs
    let missing: typeof expected | undefined
    let reason = why
    while (missing === undefined && performance.now() < atMs && !this.#isClosed) {
      try {
        const line = await within(this.#connected(), atMs - performance.now())
        const reply = await line.ask({ ask: 'list' })
        const back = new Map(reply.kind === 'list' ? reply.all.map(({ slot, fence }) => [slot, fence]) : [])
        missing = expected.filter(([slot, fence]) => (back.get(slot) ?? -1) < fence)
      } catch (error) {
        reason = `${why}; ${error instanceof Error ? error.message : String(error)}`
        await delay(knockIntervalMs)
      }
    }
    this.#isReturning = false
    // What was armed anew meanwhile is watched, and what was disarmed need not be.
    const lost = (missing ?? expected)
      .filter(([slot, fence]) => this.#armed.get(slot) === fence)
      .map(([slot]) => slot)
    for (const slot of lost) this.#armed.delete(slot)
    if (lost.length === 0 || this.#isClosed) return
    for (const callback of this.#listeners) callback({ slots: lost, why: reason })
  }

  async #reach(withinMs: number): Promise<Line> {
    const atMs = performance.now() + withinMs
    const first = await this.#open().catch(() => undefined)
    if (first !== undefined) return first
    let child = this.#spawn()
    for (;;) {
      await delay(knockIntervalMs)
      const line = await this.#open().catch(() => undefined)
      if (line !== undefined) return line
      if (performance.now() >= atMs)
        throw new Error(`it did not start within ${withinMs} ms: ${child.words()}`)
      // One that was about to end held the lock.
      if (child.hasEnded()) child = this.#spawn()
    }
  }

  #spawn(): Detached {
    const { directory, cgroupRoot } = this.#setup
    return startDetached([...flags, program(), '--directory', directory, '--cgroups', cgroupRoot], directory)
  }

  /** A process that is stopped keeps its connections. */
  #feelPulse(): void {
    if (this.#pulse !== undefined || this.#isClosed) return
    this.#pulse = setInterval(() => {
      if (this.#armed.size === 0) {
        clearInterval(this.#pulse)
        this.#pulse = undefined
      }
      this.#line?.then((line) => line.ask({ ask: 'ping' })).catch(() => undefined)
    }, this.#setup.settings.watchdogCallTimeoutMs)
    this.#pulse.unref()
  }
}

/** Little garbage is made, so that a small heap costs nothing. */
const flags = ['--max-semi-space-size=1', '--max-old-space-size=32']

function program(): string {
  const name = import.meta.url.endsWith('.mjs') ? './watchdog.mjs' : './main.ts'
  return fileURLToPath(new URL(name, import.meta.url))
}

function unexpected(reply: Reply): Error {
  return new WatchdogUnavailableError(reply.kind === 'failed' ? reply.why : `it answered "${reply.kind}"`)
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const abort = new AbortController()
  const late = delay(ms, undefined, { signal: abort.signal }).then(
    () => Promise.reject(new Error(`not back within ${ms} ms`)),
    () => new Promise<never>(() => undefined),
  )
  try {
    return await Promise.race([work, late])
  } finally {
    abort.abort()
  }
}
