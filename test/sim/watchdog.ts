import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Defaults } from '../../packages/agent/src/defaults.ts'
import type { Clock } from '../../packages/agent/src/ports/clock.ts'
import type { MemoryEngine } from '../../packages/agent/src/ports/engine.memory.ts'
import { type Watchdog, WatchdogUnavailableError } from '../../packages/agent/src/ports/watchdog.ts'
import { memoryWatchdog, type MemoryWatchdog } from '../../packages/agent/src/ports/watchdog.memory.ts'
import type { Cgroups } from '../../packages/agent/src/watchdog/cgroups.ts'
import type { Life } from './process.ts'
import type { Random } from './random.ts'

export interface WatchdogSetup {
  /** True time. */
  readonly world: Pick<Clock, 'after'>
  /** The host's own. */
  readonly clock: Pick<Clock, 'monotonicMs' | 'after'>
  readonly engine: Pick<MemoryEngine, 'containers' | 'crash'>
  readonly random: Random
  readonly settings: Pick<Defaults, 'leaseWatchdogMs' | 'leaseKillMs'>
  readonly onKill: (setup: TaskSetup) => void
}

/**
 * The watchdog's process on one host: it goes on whatever becomes of the agent and the engine, is now and then scheduled as
 * late as is allowed, kills as slowly as is allowed, and ends with the host's power.
 */
export class WatchdogProcess {
  readonly #setup: WatchdogSetup
  readonly #cgroups: HostCgroups
  readonly #watchdog: MemoryWatchdog
  /** Agents of which one is told. */
  #told: Life | undefined

  constructor(setup: WatchdogSetup) {
    this.#setup = setup
    this.#cgroups = new HostCgroups(setup)
    const { monotonicMs } = setup.clock
    this.#watchdog = memoryWatchdog(
      { monotonicMs: monotonicMs.bind(setup.clock), after: (ms, callback) => this.#after(ms, callback) },
      this.#cgroups,
    )
  }

  /** What the agent's process has of it. */
  client(life: Life): Watchdog {
    const watchdog = this.#watchdog
    this.#told = life
    let isClosed = false
    const ask = <T>(work: () => Promise<T>): Promise<T> => {
      if (isClosed) return Promise.reject(new WatchdogUnavailableError('the agent has let go of it'))
      return life.effect(work)
    }
    return {
      arm: (arm) =>
        ask(() => {
          this.#cgroups.name(arm.cgroup, arm.slot)
          return watchdog.arm(arm)
        }),
      disarm: (slot, fence) => ask(() => watchdog.disarm(slot, fence)),
      list: () => ask(() => watchdog.list()),
      onLost: (callback) =>
        watchdog.onLost((loss) => {
          if (this.#told === life) life.run(() => callback(loss))
        }),
      close() {
        isClosed = true
        return Promise.resolve()
      },
    }
  }

  /** No process can start in a slot whose lease is over, whoever asked for it. */
  isBlocked({ lease }: TaskSetup): boolean {
    return lease !== undefined && this.#cgroups.isBlocked(lease.slot)
  }

  /** Its process dies, and another is there at once with what was kept. */
  crash(): void {
    this.#watchdog.crash('kept')
  }

  powerOff(): void {
    this.#told = undefined
    this.#watchdog.crash('lost')
    this.#cgroups.reset()
  }

  #after(ms: number, callback: () => void): () => void {
    const { world, clock, random, settings } = this.#setup
    let cancel = clock.after(ms, () => {
      cancel = world.after(lateness(random, settings.leaseWatchdogMs), callback)
    })
    return () => cancel()
  }
}

/** Mostly none, and now and then as much as there may be. */
function lateness(random: Random, mostMs: number): number {
  return random.pick([0, 0, 0, mostMs, random.between(0, mostMs)]) ?? 0
}

/** The parent cgroups of slots on one host: which containers they have is known to the kernel, not to the engine. */
class HostCgroups implements Cgroups {
  readonly #setup: WatchdogSetup
  readonly #slots = new Map<string, SlotKey>()
  readonly #blocked = new Set<SlotKey>()
  /** Has SIGKILL, and is not gone yet. */
  #dying = new Set<string>()

  constructor(setup: WatchdogSetup) {
    this.#setup = setup
  }

  name(cgroup: string, slot: SlotKey): void {
    this.#slots.set(cgroup, slot)
  }

  open(cgroup: string): void {
    this.#blocked.delete(this.#slot(cgroup))
  }

  block(cgroup: string): void {
    this.#blocked.add(this.#slot(cgroup))
  }

  remove(cgroup: string): void {
    this.#blocked.delete(this.#slot(cgroup))
  }

  isOccupied(cgroup: string): boolean {
    return this.#running(this.#slot(cgroup)).length > 0
  }

  kill(cgroup: string): void {
    const { world, random, settings, engine, onKill } = this.#setup
    const dying = this.#dying
    const slot = this.#slot(cgroup)
    for (const { setup, observation } of this.#running(slot)) {
      const { container, task } = observation
      if (dying.has(container)) continue
      dying.add(container)
      world.after(lateness(random, settings.leaseKillMs), () => {
        // The power has failed since.
        if (!dying.delete(container)) return
        if (!this.#running(slot).some(({ observation: now }) => now.container === container)) return
        onKill(setup)
        engine.crash(task, 137)
      })
    }
  }

  isBlocked(slot: SlotKey): boolean {
    return this.#blocked.has(slot)
  }

  reset(): void {
    this.#dying.clear()
    this.#dying = new Set()
    this.#blocked.clear()
    this.#slots.clear()
  }

  #slot(cgroup: string): SlotKey {
    const slot = this.#slots.get(cgroup)
    if (slot === undefined) throw new Error(`no cgroup ${cgroup}`)
    return slot
  }

  #running(slot: SlotKey): ReturnType<MemoryEngine['containers']> {
    return this.#setup.engine
      .containers()
      .filter(({ observation: { state, lease } }) => state === 'running' && lease?.slot === slot)
  }
}
