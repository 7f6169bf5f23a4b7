import { isClaim, isTerminal, specDigest, type TaskEntry } from '@moot/crdt-state'
import type { LeaseStatus } from '../lease/lease-status.ts'
import { leasedServices } from '../lease/partition-label.ts'
import { changeTask, containerOf, isDue, isUp, wakeAt, type Draft } from './draft.ts'
import { endTask } from './end.ts'
import { keyOf, needOf } from './lease-need.ts'

// What is exclusive runs only under its slot's lease, with the fence that the lease was taken with. An image is had without
// one; a container is made with the fence in its environment, and started while that is the fence which is held.

/** May a container be made for the task, or the one that it has be started? */
export type Permission =
  /** It needs no lease, or the lease that it has is held. */
  | { readonly kind: 'may' }
  /** It has none yet, and its node holds this one. */
  | { readonly kind: 'take'; readonly fence: number }
  | { readonly kind: 'wait' }

export function permissionOf(draft: Draft, task: TaskEntry): Permission {
  const { leases } = draft.input
  const need = needOf(draft, task.service, task.slot)
  if (need === undefined && task.fence === undefined) return { kind: 'may' }
  const status = statusOf(draft, task)
  if (!leases.isReady || status === undefined) return { kind: 'wait' }
  if (task.fence !== undefined) return isHeld(status, task.fence) ? { kind: 'may' } : { kind: 'wait' }
  return need !== undefined && status.kind === 'held'
    ? { kind: 'take', fence: status.fence }
    : { kind: 'wait' }
}

function statusOf({ input }: Draft, task: TaskEntry): LeaseStatus | undefined {
  const key = keyOf(input.view, task)
  return key && input.leases.status(key)
}

/** What is loosened runs on with the fence that it has. */
function isHeld(status: LeaseStatus, fence: number): boolean {
  return status.kind === 'loosened' || (status.kind === 'held' && status.fence === fence)
}

/** Was it made under a lease that its node does not hold any more? Not known before the watchdog's word has come. */
export function hasLostLease(draft: Draft, task: TaskEntry): boolean {
  if (task.fence === undefined || !draft.input.leases.isReady) return false
  const status = statusOf(draft, task)
  return status === undefined || !isHeld(status, task.fence)
}

/**
 * A task whose lease is lost, or was lost and taken again, is over at once, and a new attempt waits for a lease. True: so it is,
 * or it cannot be told yet.
 */
export function endLeaseless(draft: Draft, task: TaskEntry, fence: number): boolean {
  const container = containerOf(draft, task)
  const hasEnded = container?.state === 'exited' || container?.state === 'dead'
  // What ended by itself says how; only a kill may have been the watchdog's.
  if (hasEnded && (container.exitCode !== 137 || container.oomKilled === true)) return false
  if (!draft.input.leases.isReady) return hasEnded
  // Not exclusive any more: what runs may run on, whatever became of its lease.
  const isFree =
    needOf(draft, task.service, task.slot) === undefined && container !== undefined && isUp(container)
  if (isFree || !hasLostLease(draft, task)) return false
  endTask(draft, task, {
    state: 'failed',
    error: `lost its lease (fence ${fence}); a new attempt runs when there is one again`,
    lostLease: true,
    ...(container !== undefined && { containerId: container.container }),
    ...(hasEnded && { exitCode: container.exitCode }),
  })
  return true
}

/** Was it made before its service was exclusive? Then it has to make way for one with a lease. */
export function isUnleased(draft: Draft, task: TaskEntry): boolean {
  if (task.fence !== undefined || isTerminal(task.state) || !isClaim(task)) return false
  const isMade = task.containerId !== undefined || containerOf(draft, task) !== undefined
  return isMade && needOf(draft, task.service, task.slot)?.as === 'exclusive'
}

/** A waiting task says in its record what it waits for, but not each second anew for how long. */
export function explainWaiting(draft: Draft, task: TaskEntry): void {
  const { leases, view, settings, nowMs } = draft.input
  const key = keyOf(view, task)
  if (key === undefined || !isDue(draft, task.stateAtMs, settings.explainWaitingAfterMs)) return
  wakeAt(draft, nowMs + settings.explainWaitingAfterMs)
  const why = withoutTimes(leases.explain(key))
  changeTask(draft, task, { error: why === '' ? undefined : why })
}

function withoutTimes(text: string): string {
  return text.replaceAll(/,? for (at most )?\d+ s\b( if it is not renewed)?/g, '')
}

/** Slots that need no lease any more, as the voters say: to be written beside the spec. */
export function concludeLoosened(draft: Draft): void {
  if (leasedServices(draft.input.view.services).size === 0) return
  for (const task of draft.tasks.values()) {
    if (isTerminal(task.state) || needOf(draft, task.service, task.slot)?.as !== 'loosening') continue
    const service = draft.input.view.services.get(task.service)
    const status = statusOf(draft, task)
    if (service === undefined || status?.kind !== 'loosened') continue
    const outcome = { kind: 'loosened', slot: task.slot, term: status.term } as const
    draft.conclusions.push({ service: task.service, digest: specDigest(service.spec), outcome })
  }
}
