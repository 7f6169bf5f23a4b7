import {
  isClaim,
  isTerminal,
  parseSlotId,
  specDigest,
  updateKey,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SlotId,
  type TaskEntry,
  type UpdateFact,
} from '@moot/crdt-state'
import { summarizeRefusals } from '../explain/explain.ts'
import { explainRequirement } from '../placement/filters/constraints.ts'
import { isUp } from '../membership/liveness.ts'
import { misfit } from '../placement/misfit.ts'
import { serviceTasks } from '../service-tasks.ts'
import { want } from './desire.ts'
import { changeTask, isDue, slotOf, tasksOfSlot, type Draft } from './draft.ts'
import { refuse } from './observe.ts'
import { isGlobal, leavesForOlder, stopGraceOf } from './spec.ts'

// A step of an update that its node cannot take, because the service may not run there any more, or asks for more than is
// left, moves the slot: the task says so in its record, another node claims the slot as the update wants it, and the task
// goes once that one runs. It costs no replica.

/** Is the begun slot on its way to another node? Where the service may not run any more that is decided here. */
export function leaves(draft: Draft, service: Resource<ServiceSpec>, live: readonly TaskEntry[]): boolean {
  if (live.some((task) => isLeaving(task, service))) return true
  const { self, nodes, records } = draft.input.view
  const settings = nodes.get(self)
  if (settings === undefined || isGlobal(service.spec)) return false
  const node = { id: self, settings, record: records.get(self) }
  for (const task of live) {
    const unmet = misfit(service.spec, node, task)
    if (unmet === undefined) continue
    leave(draft, service, task, explainRequirement(unmet, node))
    return true
  }
  return false
}

export function isLeaving(task: TaskEntry, { spec }: Resource<ServiceSpec>): boolean {
  return isClaim(task) && task.leaves?.update === updateKey(spec)
}

/** Whoever else has the slot gives it up only once it is told that this node stays. */
export function stayWhereOvertaken(draft: Draft): void {
  const { services } = draft.input.view
  for (const task of draft.tasks.values()) {
    const service = services.get(task.service)
    if (service !== undefined && leavesForOlder(task, service)) stay(draft, [task])
  }
}

function leave(draft: Draft, { spec }: Resource<ServiceSpec>, task: TaskEntry, reason: string): void {
  changeTask(draft, task, { leaves: { update: updateKey(spec), reason } })
}

/**
 * The node has refused a task that it was to run beside, or instead of, another one of its slot, or for which it was to take
 * the slot over: who has the slot keeps it. False: nobody has it.
 */
export function leaveSlotToHolder(draft: Draft, task: TaskEntry, reason: string): boolean {
  const { view, placement } = draft.input
  const service = view.services.get(task.service)
  if (service === undefined || isGlobal(service.spec) || task.digest !== specDigest(service.spec))
    return false
  const own = tasksOfSlot(draft, slotOf(task)).find((other) => other.id !== task.id && isClaim(other))
  const where = placement.slots.get(slotOf(task))
  const isElsewhere = where?.kind === 'moving' && where.holder.node !== view.self
  if (own === undefined && !isElsewhere) return false
  refuse(draft, task, reason, true)
  if (own !== undefined) leave(draft, service, own, reason)
  want(draft, task, 'remove')
  return true
}

/** No other node took the slot: what runs stays. */
export function stay(draft: Draft, live: readonly TaskEntry[]): void {
  for (const task of live) if (task.leaves !== undefined) changeTask(draft, task, { leaves: undefined })
}

/**
 * Why a slot that is to move stays: no other node takes it, and has not for a while. Then its step has failed. The last step's
 * older task makes room for the next one's, and may take its time to stop.
 */
export function whyHomeless(draft: Draft, slot: SlotId, fact: UpdateFact): string | undefined {
  const { placement, view, settings, synced } = draft.input
  const where = placement.slots.get(slot)
  if (!synced || fact.state !== 'begun' || where?.kind !== 'moving' || where.because.filter !== 'update')
    return undefined
  if (where.holder.node !== view.self || where.successor !== undefined || where.to !== undefined)
    return undefined
  const service = view.services.get(parseSlotId(slot).service)
  const graceMs =
    service === undefined || !isMakingRoom(draft, service) ? 0 : stopGraceOf(service.spec, settings)
  if (!isDue(draft, fact.atMs, settings.updateMonitorMs + graceMs)) return undefined
  return `${where.because.reason}; ${summarizeRefusals(where.refusals)}`
}

function isMakingRoom({ input: { view, liveness } }: Draft, { id }: Resource<ServiceSpec>): boolean {
  return [...view.records].some(
    ([node, record]) =>
      isUp(liveness.get(node)) &&
      serviceTasks(record, id as ServiceId).some((task) => !isTerminal(task.state) && !isClaim(task)),
  )
}
