import type { Author, Resource, ServiceId, ServiceSpec } from '@moot/crdt-state'
import type { Logger } from 'pino'
import { autoMoves, type AutoInput, isAuto, type QuietTimes } from './core/rebalance/auto.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'

export interface AutoBalance {
  /** Services may have changed: it looks now and then, for as long as one is to be evened out by itself. */
  wake(): void
  stop(): Promise<void>
}

/** Evens out services that are labelled `moot.rebalance=auto`: looks now and then, and writes what is to move beside them. */
export function createAutoBalance(options: {
  readonly self: string
  readonly services: () => readonly Resource<ServiceSpec>[]
  readonly decide: () => Omit<AutoInput, 'nowMs' | 'settings'>
  /** Nothing is decided while this node does not know enough. */
  readonly mayDecide: () => boolean
  readonly write: (
    service: ServiceId,
    facts: ReadonlyMap<string, unknown>,
    author: Author,
  ) => Promise<unknown>
  readonly clock: Clock
  readonly settings: Defaults
  readonly logger: Logger
}): AutoBalance {
  const { self, clock, settings, logger } = options
  let quiet: QuietTimes = new Map()
  let cancel: (() => void) | undefined
  let writing: Promise<void> | undefined
  let isStopped = false

  async function write(ask: ReadonlyMap<ServiceId, ReadonlyMap<string, unknown>>): Promise<void> {
    for (const [service, facts] of ask) {
      logger.info({ service, moves: facts.size }, 'a service is uneven and is evened out')
      try {
        await options.write(service, facts, { node: self, client: 'moot-agent', atMs: clock.wallMs() })
      } catch (error) {
        logger.error({ err: error, service }, 'what is to move could not be written')
      }
    }
  }

  function look(): void {
    cancel = undefined
    wake()
    if (writing !== undefined || !options.mayDecide()) return
    const output = autoMoves({ ...options.decide(), nowMs: clock.monotonicMs(), settings }, quiet)
    quiet = output.quiet
    if (output.ask.size === 0) return
    writing = write(output.ask).finally(() => (writing = undefined))
  }

  function wake(): void {
    if (isStopped || cancel !== undefined) return
    if (options.services().some(isAuto)) cancel = clock.after(settings.rebalanceLookMs, look)
  }

  return {
    wake,
    async stop() {
      isStopped = true
      cancel?.()
      await writing
    },
  }
}
