import type { Logger } from 'pino'
import type { View } from './core/view.ts'
import type { Defaults } from './defaults.ts'
import { type Clock, withinTime } from './ports/clock.ts'
import type { Engine } from './ports/engine.ts'

/** Networks outlive the containers on them; those of what is gone are removed a little after the last container. */
export function createNetworkSweeper(options: {
  readonly engine: Engine
  readonly view: () => View
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Pick<Defaults, 'sweepDelayMs' | 'relistIntervalMs' | 'engineCallTimeoutMs'>
  readonly stopping: AbortSignal
}): { soon(): void; stop(): void } {
  const { engine, clock, logger, settings, stopping } = options
  let cancel: (() => void) | undefined

  function after(ms: number): void {
    if (stopping.aborted) return
    cancel ??= clock.after(ms, () => {
      cancel = undefined
      sweep().catch((error: unknown) => {
        if (stopping.aborted) return
        logger.warn({ err: error }, 'old networks could not be removed; it is tried again')
        after(settings.relistIntervalMs)
      })
    })
  }

  async function sweep(): Promise<void> {
    const view = options.view()
    const wanted = {
      services: new Set(view.services.keys()),
      networks: new Set([...view.networks.values()].map((network) => network.id as string)),
    }
    await withinTime(clock, settings.engineCallTimeoutMs, stopping, (signal) => engine.sweep(wanted, signal))
  }

  return { soon: () => after(settings.sweepDelayMs), stop: () => cancel?.() }
}
