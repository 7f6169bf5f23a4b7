import { isClaim, isTerminal, type TaskEntry } from '@moot/crdt-state'
import type { SlotKey } from '../lease/messages.ts'
import type { Wanted } from '../lease/holder.ts'
import type { LeaseOrder, LeaseOrders } from '../lease/orders.ts'
import { leasedServices, partitionLabelOf } from '../lease/partition-label.ts'
import type { ContainerObservation } from './actions.ts'
import { containerOf, isUp, wasStarted, type Draft } from './draft.ts'
import { keyOf, needOf } from './lease-need.ts'

const none: LeaseOrders = new Map()

interface Found {
  wanted: Wanted | undefined
  fence: number | undefined
  /** Something of before it was exclusive, which has to be gone before there is a lease. */
  hasUnleased: boolean
}

/**
 * What this node needs leases for, and of which fence something may run here. A slot is named until nothing of it runs, nor
 * could: also what no record speaks of any more, and while the engine does not say how it is.
 */
export function leaseOrders(draft: Draft): LeaseOrders {
  const { view, containers } = draft.input
  const isConcerned = leasedServices(view.services).size > 0
  const slots = new Map<SlotKey, Found>()
  for (const task of draft.tasks.values()) {
    if (!isConcerned && task.fence === undefined) continue
    const key = keyOf(view, task)
    if (key !== undefined) lookAtTask(draft, task, slotIn(slots, key))
  }
  for (const all of containers.values()) {
    for (const container of all) {
      if (container.lease === undefined || !containerMayRun(draft, container)) continue
      addFence(slotIn(slots, container.lease.slot), container.lease.fence)
    }
  }
  const orders = new Map<SlotKey, LeaseOrder>()
  for (const [key, { wanted, fence, hasUnleased }] of slots) {
    const order = { wanted: hasUnleased ? undefined : wanted, fence }
    if (order.wanted !== undefined || fence !== undefined) orders.set(key, order)
  }
  return orders.size === 0 ? none : orders
}

function slotIn(slots: Map<SlotKey, Found>, key: SlotKey): Found {
  const known = slots.get(key)
  if (known !== undefined) return known
  const found: Found = { wanted: undefined, fence: undefined, hasUnleased: false }
  slots.set(key, found)
  return found
}

function addFence(found: Found, fence: number): void {
  found.fence = Math.max(found.fence ?? 0, fence)
}

function lookAtTask(draft: Draft, task: TaskEntry, found: Found): void {
  const mayRun = taskMayRun(draft, task)
  if (mayRun && task.fence === undefined) found.hasUnleased = true
  if (mayRun && task.fence !== undefined) addFence(found, task.fence)
  found.wanted ??= wantedFor(draft, task, mayRun)
}

function wantedFor(draft: Draft, task: TaskEntry, mayRun: boolean): Wanted | undefined {
  if (!isClaim(task) || isTerminal(task.state)) return undefined
  const { synced, view } = draft.input
  const need = needOf(draft, task.service, task.slot)
  const isLeased = mayRun && task.fence !== undefined
  // Before the first sync nothing is started, so nothing new is asked for.
  if (need !== undefined) return synced || isLeased ? need : undefined
  const service = view.services.get(task.service)
  if (!isLeased || service === undefined) return undefined
  // It needs none any more; what it runs in is watched until the voters have said so to this node, too.
  return { term: partitionLabelOf(service, task.slot).term, as: 'loosening' }
}

function taskMayRun(draft: Draft, task: TaskEntry): boolean {
  if (!wasStarted(task)) return false
  const container = containerOf(draft, task)
  if (container !== undefined) return containerMayRun(draft, container)
  // Not listed yet, or its start is under way.
  return !isTerminal(task.state) || draft.input.inFlight.has(task.id)
}

function containerMayRun({ input, tasks }: Draft, container: ContainerObservation): boolean {
  if (container.state === 'exited' || container.state === 'dead') return false
  if (input.engine.kind === 'down' && isUp(container)) return !input.engine.hasEnded(container)
  if (container.state !== 'created') return true
  // A start that an engine was asked for may be carried out late.
  const task = tasks.get(container.task)
  return task === undefined || wasStarted(task)
}
