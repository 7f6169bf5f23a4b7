import type { NodeId } from '@moot/crdt-state'
import { leaseStatus, type LeaseStatus, explainLease } from '../core/lease/lease-status.ts'
import type { SlotState, Wanted } from '../core/lease/holder.ts'
import type { LeaseInput } from '../core/lease/member.ts'
import type { SlotKey } from '../core/lease/messages.ts'
import type { LeaseOrder, LeaseOrders, Leases } from '../core/lease/orders.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { LeaseRunner } from './lease-runner.ts'
import type { SlotGuard } from './slot-guard.ts'

/** What runs by a lease whose service is forgotten here: whoever knows any version of the label is heard first. */
const forgotten: Wanted = { term: 0, as: 'exclusive' }

/** No deadline: 285,000 years after the boot. */
const neverMs = 2 ** 53 - 1

export interface LeaseKeeper {
  leases(): Leases
  /**
   * What the last reconciliation has ordered.
   * @param isAll the engine has been listed: what is not named is not there. Before, it may only not have been found yet.
   */
  ordered(orders: LeaseOrders, isAll: boolean): void
  /** Leases, or what is watched, have changed. */
  follow(): void
  stop(): void
}

/**
 * Brings what is ordered, what the voters say and what the watchdog watches together: whatever changes, it looks at each
 * slot and does the next thing. The watchdog knows a deadline before the lease is said to be held; and lets go of the slot before
 * the lease is given back.
 */
export function createLeaseKeeper(options: {
  readonly runner: Pick<LeaseRunner, 'member' | 'nowMs' | 'input'>
  readonly guard: Omit<SlotGuard, 'start' | 'stop'>
  readonly clock: Pick<Clock, 'after'>
  readonly settings: Pick<Defaults, 'leaseAskIntervalMs'>
  readonly nameOf: (node: NodeId) => string
  /** The status of some slot is another. */
  readonly changed: () => void
}): LeaseKeeper {
  const { runner, guard, clock, settings } = options
  let isStopped = false
  let orders: LeaseOrders | undefined
  let isAll = false
  /** One input of a slot at a time. */
  const busy = new Set<SlotKey>()
  let told = ''

  function tell(slot: SlotKey, input: LeaseInput): void {
    if (busy.has(slot)) return
    busy.add(slot)
    const goOn = (): void => {
      busy.delete(slot)
      follow()
    }
    runner.input(input).then(goOn, () => {
      // The disk does not take it, or the agent stops.
      clock.after(settings.leaseAskIntervalMs, goOn)
    })
  }

  function status(slot: SlotKey): LeaseStatus {
    const nowMs = runner.nowMs()
    const watched = guard.watched(slot)
    const isArmed =
      watched?.kind === 'armed' && watched.deadlineMs > nowMs && !guard.isVoid(slot, watched.fence)
    const state = runner.member().holder.slots.get(slot)
    // What an earlier process of this host has left: the voters are bound to it for longer than the watchdog waits.
    if (state === undefined && isArmed) return { ...lease(watched.fence, watched.deadlineMs) }
    const said = leaseStatus(runner.member(), slot, nowMs)
    if (said.kind !== 'held') return said
    return isArmed && watched.fence === said.fence
      ? lease(said.fence, watched.deadlineMs)
      : { kind: 'waiting' }
  }

  function explain(slot: SlotKey): string {
    const state = runner.member().holder.slots.get(slot)
    if (state?.kind === 'held') return guard.explain(slot)
    return explainLease(runner.member(), slot, options.nameOf, runner.nowMs())
  }

  function follow(): void {
    if (!guard.isReady || isStopped) return
    const ordered = orders
    const { slots } = runner.member().holder
    if (ordered !== undefined)
      for (const slot of known()) followSlot(slot, ordered.get(slot), slots.get(slot))
    tellIfChanged()
  }

  /** Ordered, held or watched. */
  function known(): ReadonlySet<SlotKey> {
    return new Set([...(orders?.keys() ?? []), ...runner.member().holder.slots.keys(), ...guard.slots()])
  }

  function followSlot(slot: SlotKey, order: LeaseOrder | undefined, state: SlotState | undefined): void {
    if (order === undefined && !isAll) return
    if (order === undefined || (order.wanted === undefined && order.fence === undefined)) {
      letGo(slot, state)
      return
    }
    const { wanted, fence } = order
    if (state === undefined || state.kind === 'releasing') {
      take(slot, order)
      return
    }
    if (wanted !== undefined && !isSame(state.wanted, wanted)) {
      tell(slot, { kind: 'want', slot, wanted })
      return
    }
    if (state.kind === 'held') {
      if (!guard.isVoid(slot, state.fence)) watch(slot, state, fence)
      // Its task is gone, and only a new fence can run.
      else if (fence === undefined) letGo(slot, state)
    } else if (state.kind === 'loosened' && fence !== undefined) {
      // It runs on, without a lease.
      const watched = guard.watched(slot)
      if (watched?.kind === 'armed' && watched.fence === fence && watched.deadlineMs < neverMs)
        guard.arm(slot, fence, neverMs)
    }
  }

  function take(slot: SlotKey, { wanted, fence }: LeaseOrder): void {
    const watched = guard.watched(slot)
    const isOurs = watched?.kind === 'armed' && (fence === undefined || watched.fence === fence)
    const isValid = isOurs && watched.deadlineMs > runner.nowMs() && watched.deadlineMs < neverMs
    if (isValid && !guard.isVoid(slot, watched.fence)) {
      const { fence, deadlineMs } = watched
      tell(slot, { kind: 'adopt', slot, wanted: wanted ?? forgotten, fence, deadlineMs })
    } else if (wanted !== undefined && fence === undefined) tell(slot, { kind: 'want', slot, wanted })
  }

  /** @param running by which fence something runs here, or may. */
  function watch(slot: SlotKey, state: SlotState & { kind: 'held' }, running: number | undefined): void {
    if (running !== undefined && running !== state.fence) return
    const { fence, deadlineMs } = state
    if (deadlineMs <= runner.nowMs()) return
    const watched = guard.watched(slot)
    const isKnown = watched?.kind === 'armed' && watched.fence === fence && watched.deadlineMs >= deadlineMs
    if (!isKnown) guard.arm(slot, fence, deadlineMs)
  }

  /** Nothing of it runs here, and it is not wanted. */
  function letGo(slot: SlotKey, state: SlotState | undefined): void {
    const watched = guard.watched(slot)
    if (watched !== undefined) guard.disarm(slot, watched.fence)
    else if (state === undefined) guard.forget(slot)
    else if (state.kind !== 'releasing') tell(slot, { kind: 'drop', slot })
  }

  function tellIfChanged(): void {
    const now = [...known()].map((slot) => {
      const state = status(slot)
      return `${slot} ${state.kind} ${'fence' in state ? state.fence : ''}`
    })
    const text = now.sort().join('\n')
    if (text === told && orders !== undefined) return
    told = text
    options.changed()
  }

  return {
    leases: () => ({ isReady: guard.isReady, status, explain }),
    ordered(next, isAllNow) {
      orders = next
      isAll = isAllNow
      follow()
    },
    follow,
    stop() {
      isStopped = true
    },
  }
}

function lease(fence: number, deadlineMs: number): LeaseStatus & { readonly kind: 'held' } {
  return { kind: 'held', fence, deadlineMs }
}

function isSame(a: Wanted, b: Wanted): boolean {
  return a.term === b.term && a.as === b.as
}
