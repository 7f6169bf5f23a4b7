import { bootMs } from './watchdog/boot-clock.ts'
import { type Clock, sleepBy } from '../ports/clock.ts'

/** setTimeout takes 31 bits; more would fire at once. */
const timerMaxMs = 2 ** 31 - 1

export function realClock(): Clock {
  const after = (ms: number, callback: () => void): (() => void) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), timerMaxMs))
    return () => clearTimeout(timer)
  }
  return {
    monotonicMs: () => performance.now(),
    bootMs,
    wallMs: () => Date.now(),
    after,
    sleep: sleepBy(after),
  }
}
