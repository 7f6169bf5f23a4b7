/** Time as the agent sees it: monotonic for decisions, wall for display. Timers belong to the clock, so that a simulator owns them. */
export interface Clock {
  /** Monotonic milliseconds since some fixed instant of this process. */
  monotonicMs(): number
  /**
   * Milliseconds since the host was started, CLOCK_BOOTTIME: it goes on while the host sleeps, nobody sets it, and every process of
   * the host reads the same. What is promised to others is counted on it.
   */
  bootMs(): number
  /** Milliseconds since the epoch. For people only; never compared between machines. */
  wallMs(): number
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, callback: () => void): () => void
}

/** `sleep` made of `after`, for all clocks alike. */
export function sleepBy(after: Clock['after']): Clock['sleep'] {
  return (ms, signal) =>
    new Promise((resolve, reject) => {
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
}

/** Does `work` with a signal that aborts after `ms` of this clock, or with `signal`. */
export async function withinTime<T>(
  clock: Pick<Clock, 'after'>,
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const cancel = clock.after(ms, () =>
    late.abort(new DOMException(`not done within ${ms} ms`, 'TimeoutError')),
  )
  try {
    return await work(AbortSignal.any([signal, late.signal]))
  } finally {
    cancel()
  }
}
