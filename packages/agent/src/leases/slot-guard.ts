import type { SlotKey } from '../core/lease/messages.ts'
import type { Watched } from '../core/lease/watch.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Watchdog } from '../ports/watchdog.ts'

/** What the watchdog is known to watch, and what it is asked: at most one thing of a slot at a time. */
export interface SlotGuard {
  /** Is it known what an earlier agent has had watched? */
  readonly isReady: boolean
  slots(): Iterable<SlotKey>
  watched(slot: SlotKey): Watched | undefined
  /** This fence is no lease any more, whatever the voters say: the watchdog has killed its task, or has lost sight of it. */
  isVoid(slot: SlotKey, fence: number): boolean
  /** Asks for it unless something is asked already. What comes of it is told by `changed`. */
  arm(slot: SlotKey, fence: number, deadlineMs: number): void
  /** Nothing of the slot runs here, nor is a start under way. */
  disarm(slot: SlotKey, fence: number): void
  /** Nothing of the slot is left here, nor any lease. */
  forget(slot: SlotKey): void
  /** Why it is not armed. '' where nothing is to be said. */
  explain(slot: SlotKey): string
  start(): void
  stop(): Promise<void>
}

/** Where containers of the slot are; or why none of them can be watched. */
export type CgroupOf = (slot: SlotKey) => { readonly path: string } | { readonly why: string }

export function createSlotGuard(options: {
  readonly watchdog: Watchdog
  readonly cgroupOf: CgroupOf
  readonly clock: Clock
  readonly settings: Pick<Defaults, 'leaseAskIntervalMs'>
  readonly changed: () => void
}): SlotGuard {
  const { watchdog, clock, settings } = options
  const all = new Map<SlotKey, Watched>()
  const voided = new Map<SlotKey, number>()
  const troubles = new Map<SlotKey, string>()
  const busy = new Map<SlotKey, Promise<void>>()
  /** Something was wrong: not asked anew at once. */
  const resting = new Set<SlotKey>()
  let isReady = false
  let isStopped = false
  let cancelRetry: (() => void) | undefined
  let loading: Promise<void> | undefined

  function retry(work: () => void): void {
    cancelRetry ??= clock.after(settings.leaseAskIntervalMs, () => {
      cancelRetry = undefined
      resting.clear()
      if (!isStopped) work()
    })
  }

  async function load(): Promise<void> {
    try {
      for (const watched of await watchdog.list()) all.set(watched.slot, watched)
      isReady = true
      options.changed()
    } catch {
      // Asked again: until it is known, nothing exclusive is started or stopped for want of a lease.
      if (isStopped) return
      retry(() => {
        loading = load()
      })
    }
  }

  /** @param work answers with what is wrong, in words. */
  function ask(slot: SlotKey, work: () => Promise<string>): void {
    if (busy.has(slot) || resting.has(slot) || isStopped) return
    const asking = answered(slot, work)
    busy.set(slot, asking)
  }

  async function answered(slot: SlotKey, work: () => Promise<string>): Promise<void> {
    let trouble: string
    try {
      trouble = await work()
    } catch (error) {
      trouble = error instanceof Error ? error.message : String(error)
    }
    busy.delete(slot)
    if (isStopped) return
    if (trouble === '') troubles.delete(slot)
    else {
      troubles.set(slot, trouble)
      resting.add(slot)
      retry(options.changed)
    }
    options.changed()
  }

  async function armed(slot: SlotKey, fence: number, deadlineMs: number): Promise<string> {
    const cgroup = options.cgroupOf(slot)
    if ('why' in cgroup) return `cannot be watched: ${cgroup.why}`
    const arm = { slot, fence, cgroup: cgroup.path, deadlineMs }
    const answer = await watchdog.arm(arm)
    switch (answer.kind) {
      case 'armed':
        // What was lost meanwhile stays lost.
        if (voided.get(slot) !== fence)
          all.set(slot, { kind: 'armed', ...arm, deadlineMs: answer.deadlineMs })
        return ''
      case 'over':
        voided.set(slot, fence)
        return ''
      case 'older':
        // Of a lease that the voters have forgotten; what runs by it is stopped, since nobody has a lease for it.
        return disarmed(slot, answer.fence)
      case 'occupied':
        return 'waits until what an earlier lease has started here is gone'
      case 'refused':
        return `cannot be watched: ${answer.why}`
    }
  }

  async function disarmed(slot: SlotKey, fence: number): Promise<string> {
    const answer = await watchdog.disarm(slot, fence)
    switch (answer.kind) {
      case 'disarmed':
        all.delete(slot)
        return ''
      case 'older':
        return disarmed(slot, answer.fence)
      case 'occupied':
        return 'is released when its last process here is gone'
    }
  }

  const off = watchdog.onLost(({ slots, why }) => {
    for (const slot of slots) {
      const watched = all.get(slot)
      if (watched === undefined) continue
      voided.set(slot, watched.fence)
      troubles.set(slot, `is stopped, since nobody watched it: ${why}`)
      all.delete(slot)
    }
    options.changed()
  })

  return {
    get isReady() {
      return isReady
    },
    slots: () => new Set([...all.keys(), ...voided.keys()]),
    watched: (slot) => all.get(slot),
    isVoid: (slot, fence) => voided.get(slot) === fence,
    arm: (slot, fence, deadlineMs) => ask(slot, () => armed(slot, fence, deadlineMs)),
    disarm: (slot, fence) => ask(slot, () => disarmed(slot, fence)),
    forget(slot) {
      voided.delete(slot)
      troubles.delete(slot)
    },
    explain: (slot) => {
      const trouble = troubles.get(slot)
      return trouble === undefined ? '' : `${slot} is exclusive and ${trouble}`
    },
    start() {
      loading = load()
    },
    async stop() {
      isStopped = true
      off()
      cancelRetry?.()
      await watchdog.close()
      await loading
      await Promise.all(busy.values())
    },
  }
}
