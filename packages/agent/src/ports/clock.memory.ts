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
}

/** Promise chains of any length end before an immediate; a few rounds let those end that go by way of one. */
const settleRounds = 3

async function settle(): Promise<void> {
  for (let round = 0; round < settleRounds; round++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }
}

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** @param wallStartMs what the wall clock says at the start. */
export function memoryClock(wallStartMs = 1_000_000_000_000): MemoryClock {
  let nowMs = 0
  let set = 0
  const timers = new Set<Timer>()

  function nextDue(untilMs: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of timers) {
      if (timer.atMs > untilMs) continue
      if (
        next === undefined ||
        timer.atMs < next.atMs ||
        (timer.atMs === next.atMs && timer.order < next.order)
      ) {
        next = timer
      }
    }
    return next
  }

  function after(ms: number, callback: () => void): () => void {
    const timer = { atMs: nowMs + Math.max(0, ms), order: set++, callback }
    timers.add(timer)
    return () => timers.delete(timer)
  }

  return {
    monotonicMs: () => nowMs,
    wallMs: () => wallStartMs + nowMs,
    after,
    sleep: sleepBy(after),
    async advance(ms) {
      const untilMs = nowMs + ms
      await settle()
      for (let timer = nextDue(untilMs); timer !== undefined; timer = nextDue(untilMs)) {
        timers.delete(timer)
        nowMs = Math.max(nowMs, timer.atMs)
        timer.callback()
        await settle()
      }
      nowMs = Math.max(nowMs, untilMs)
    },
    freeze(ms) {
      nowMs += ms
    },
    pending: () => timers.size,
  }
}
