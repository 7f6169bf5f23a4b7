import type { Clock } from '../ports/clock.ts'

/** setTimeout takes 31 bits; more would fire at once. */
const timerMaxMs = 2 ** 31 - 1

export function realClock(): Clock {
  const after = (ms: number, callback: () => void): (() => void) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), timerMaxMs))
    return () => clearTimeout(timer)
  }
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    after,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason as Error)
          return
        }
        const aborted = (): void => {
          cancel()
          reject(signal?.reason as Error)
        }
        const cancel = after(ms, () => {
          signal?.removeEventListener('abort', aborted)
          resolve()
        })
        signal?.addEventListener('abort', aborted, { once: true })
      })
    },
  }
}
