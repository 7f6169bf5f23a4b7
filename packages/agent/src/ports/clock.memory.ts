import TinyQueue from 'tinyqueue'
import { type Clock, sleepBy } from './clock.ts'

/** Time that passes only when told to. */
export interface MemoryClock extends Clock {
  /**
   * Lets `ms` pass: due timers run in order of their time (then of their setting), each with all that follows from it
   * in promises, ticks and immediates before the next one. Resolves when all of it has happened.
   */
  advance(ms: number): Promise<void>
  /** Jumps without running what comes due meanwhile: a process that was stopped. The next `advance` runs it late. */
  freeze(ms: number): void
  /** Timers that are set. */
  pending(): number
  /**
   * How many users have work under way that goes by ticks and immediates, as streams do. With none, what follows from a
   * timer is taken to be promises, whose end costs a fifth of a turn of the event loop.
   */
  streams: number
}

interface Timer {
  readonly atMs: number
  readonly order: number
  callback: (() => void) | undefined
}

/** So often the process hears of signals and of real timers, however long time passes in one go. */
const settledPerTurn = 1_000

/** @param wallStartMs what the wall clock says at the start. */
export function memoryClock(wallStartMs = 1_000_000_000_000): MemoryClock {
  let nowMs = 0
  let set = 0
  let pending = 0
  let settled = 0
  let turning = 0
  const timers = new TinyQueue<Timer>([], (a, b) => a.atMs - b.atMs || a.order - b.order)

  function nextDue(untilMs: number): (() => void) | undefined {
    for (let first = timers.peek(); first !== undefined && first.atMs <= untilMs; first = timers.peek()) {
      timers.pop()
      if (first.callback === undefined) continue
      nowMs = Math.max(nowMs, first.atMs)
      pending -= 1
      const { callback } = first
      first.callback = undefined
      return callback
    }
    return undefined
  }

  function after(ms: number, callback: () => void): () => void {
    const timer: Timer = { atMs: nowMs + Math.max(0, ms), order: set++, callback }
    timers.push(timer)
    pending += 1
    return () => {
      if (timer.callback !== undefined) pending -= 1
      timer.callback = undefined
    }
  }

  function needsTurns(): boolean {
    settled += 1
    return clock.streams > 0 || settled % settledPerTurn === 0
  }

  async function takeTurns(): Promise<void> {
    do {
      turning += 1
      await turn()
      turning -= 1
      // What somebody else lets pass meanwhile waits for turns of its own.
    } while (immediates() > turning)
  }

  const clock: MemoryClock = {
    streams: 1,
    monotonicMs: () => nowMs,
    bootMs: () => nowMs,
    wallMs: () => wallStartMs + nowMs,
    after,
    sleep: sleepBy(after),
    async advance(ms) {
      const untilMs = nowMs + ms
      await Promise.resolve()
      for (let due: (() => void) | undefined = () => undefined; due !== undefined; due = nextDue(untilMs)) {
        due()
        await endOfPromises()
        if (needsTurns()) await takeTurns()
      }
      nowMs = Math.max(nowMs, untilMs)
    },
    freeze(ms) {
      nowMs += ms
    },
    pending: () => pending,
  }
  return clock
}

/** A tick that is asked for by what a promise calls comes when all chains of promises, of any length, have ended. */
function endOfPromises(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve)
  })
}

function immediates(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Immediate').length
}

/** Chains of promises and ticks, however they alternate, end before an immediate. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
