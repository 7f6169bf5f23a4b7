import type { Arm, Watched } from '../core/lease/watch.ts'
import { defaults } from '../defaults.ts'
import type { Cgroups } from '../watchdog/cgroups.ts'
import { Keeper } from '../watchdog/keeper.ts'
import type { Clock } from './clock.ts'
import { type Watchdog, type WatchdogLoss, WatchdogUnavailableError } from './watchdog.ts'

export interface MemoryWatchdog extends Watchdog {
  /** Its process dies. With its state a next one is there at once; without, nobody watches any more. */
  crash(state: 'kept' | 'lost'): void
}

/** The watchdog port in memory: the clock is the boot clock. */
export function memoryWatchdog(
  clock: Pick<Clock, 'monotonicMs' | 'after'>,
  cgroups: Cgroups,
): MemoryWatchdog {
  const listeners = new Set<(loss: WatchdogLoss) => void>()
  let saved: readonly Watched[] = []
  let isClosed = false
  const start = (): Keeper => {
    const keeper = new Keeper(
      {
        cgroups,
        bootMs: () => clock.monotonicMs(),
        after: clock.after,
        save: (all) => {
          saved = all
        },
        log: () => undefined,
        settings: defaults,
      },
      saved,
    )
    keeper.start()
    return keeper
  }
  let keeper = start()
  const asked = async <T>(work: () => T): Promise<T> => {
    if (isClosed) throw new WatchdogUnavailableError('the agent has let go of it')
    const answer = work()
    keeper.flush()
    return answer
  }
  return {
    arm: (arm: Arm) => asked(() => keeper.arm(arm)),
    disarm: (slot, fence) => asked(() => keeper.disarm(slot, fence)),
    list: () => asked(() => keeper.list()),
    onLost(callback) {
      listeners.add(callback)
      return () => listeners.delete(callback)
    },
    close() {
      isClosed = true
      return Promise.resolve()
    },
    crash(state) {
      keeper.stop()
      const slots = saved.map(({ slot }) => slot)
      if (state === 'lost') saved = []
      keeper = start()
      if (state === 'kept' || slots.length === 0) return
      for (const callback of listeners) callback({ slots, why: 'its process ended' })
    },
  }
}
