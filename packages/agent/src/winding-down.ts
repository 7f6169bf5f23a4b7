import type { Logger } from 'pino'
import type { Defaults } from './defaults.ts'
import { type Clock, withinTime } from './ports/clock.ts'
import { waitFor } from './shared-call.ts'

/**
 * A node that is no member any more ends what it runs, for as long as that takes: while its engine is away, and after calls that failed.
 * What still ran would be nobody's, beside its replacements on other nodes.
 */
export interface WindingDown {
  /** Resolves once nothing is left; rejects with the signal's reason. */
  over(signal: AbortSignal): Promise<void>
  /** Why the last try failed. */
  trouble(): string | undefined
  /** What is left then stays. */
  stop(): Promise<void>
}

export function windDown(options: {
  readonly clear: (signal: AbortSignal) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Pick<Defaults, 'leaveTimeoutMs' | 'engineRetryMs' | 'relistIntervalMs'>
}): WindingDown {
  const { clear, clock, logger, settings } = options
  const stopping = new AbortController()
  let trouble: string | undefined

  async function untilCleared(): Promise<void> {
    for (let waitMs: number = settings.engineRetryMs; ;) {
      try {
        // Bounded: a call that hangs is made again.
        await withinTime(clock, settings.leaveTimeoutMs, stopping.signal, clear)
        return
      } catch (error) {
        stopping.signal.throwIfAborted()
        if (trouble === undefined)
          logger.warn(
            { err: error },
            'this node is no member any more, and some of its containers are still there: it goes on stopping them',
          )
        trouble = error instanceof Error ? error.message : String(error)
      }
      await clock.sleep(waitMs, stopping.signal)
      waitMs = Math.min(2 * waitMs, settings.relistIntervalMs)
    }
  }
  const cleared = untilCleared()
  cleared.catch(() => undefined)

  return {
    over: (signal) => waitFor(cleared, signal),
    trouble: () => trouble,
    async stop() {
      stopping.abort(new Error('what is left stays'))
      await cleared.catch(() => undefined)
    },
  }
}
