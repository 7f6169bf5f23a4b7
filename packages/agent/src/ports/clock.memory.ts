import TinyQueue from 'tinyqueue'
import { type Clock, sleepBy } from './clock.ts'

/** Time that passes only when told to. */
export interface MemoryClock extends Clock {
  /**
   * Lets `ms` pass: due timers run in order of their time (then of their setting), each with all that follows from it
   * in promises before the next one. Resolves when all of it has happened.
   */
  advance(ms: number): Promise<void>
  /** Jumps without running what comes due meanwhile: a process that was stopped. The next `advance` runs it late. */
  freeze(ms: number): void
  /** Timers that are set. */
  pending(): number
  /** How many turns of the event loop follow each timer: where no promise waits for more than other promises, 1. */
  settleRounds: number
}

interface Timer {
  readonly atMs: number
  readonly order: number
  callback: (() => void) | undefined
}

/** @param wallStartMs what the wall clock says at the start. */
export function memoryClock(wallStartMs = 1_000_000_000_000): MemoryClock {
  let nowMs = 0
  let set = 0
  let pending = 0
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

  async function settle(): Promise<void> {
    for (let round = 0; round < clock.settleRounds; round++) {
      await new Promise<void>((resolve) => {
        setImmediate(resolve)
      })
    }
  }

  const clock: MemoryClock = {
    // Promise chains of any length end before an immediate; a few rounds let those end that go by way of one.
    settleRounds: 3,
    monotonicMs: () => nowMs,
    bootMs: () => nowMs,
    wallMs: () => wallStartMs + nowMs,
    after,
    sleep: sleepBy(after),
    async advance(ms) {
      const untilMs = nowMs + ms
      await settle()
      for (let due = nextDue(untilMs); due !== undefined; due = nextDue(untilMs)) {
        due()
        await settle()
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
