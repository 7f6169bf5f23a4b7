import {
  isClaim,
  isTerminal,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type TaskEntry,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { serviceTasks } from '../service-tasks.ts'
import type { View } from '../view.ts'
import { changeTask, isDue, wakeAt, type Draft } from './draft.ts'
import { updateConfigOf } from './progress.ts'
import { asksFor, compareSlots } from './spec.ts'

type Illness = NonNullable<TaskEntry['illness']>

/** A slot whose task is ill, or has been stopped for it and is not well again. */
export interface IllSlot {
  readonly slot: Slot
  readonly state: 'waiting' | 'down'
}

/**
 * May the task of this slot be stopped for its ill health? As a step of an update: fewer than `parallelism` others are
 * down for theirs, or wait and stand before it. At least one may always go; 0 = all at once, as in Docker.
 */
export function mayBeStopped(ill: readonly IllSlot[], slot: Slot, parallelism: number): boolean {
  if (parallelism === 0) return true
  let ahead = 0
  for (const other of ill) {
    if (other.slot === slot) continue
    if (other.state === 'down' || compareSlots(other.slot, slot) < 0) ahead += 1
  }
  return ahead < Math.max(1, parallelism)
}

/** The ill slots of a service in this connected side, as the records tell; `own` is the record about to be written. */
export function illSlotsOf(
  view: View,
  liveness: LivenessMap,
  service: Resource<ServiceSpec>,
  own: Iterable<TaskEntry>,
): readonly IllSlot[] {
  const found = new Map<Slot, IllSlot>()
  const look = (task: TaskEntry, mayAct: boolean): void => {
    const state = illnessOf(task)
    // Who cannot stop its own task now has no turn that others would have to wait for.
    if (state === 'waiting' && !mayAct) return
    if (state === undefined || !asksFor(service.spec, task.slot)) return
    if (found.get(task.slot)?.state !== 'down') found.set(task.slot, { slot: task.slot, state })
  }
  for (const task of own) if (task.service === service.id) look(task, true)
  for (const [node, record] of view.records) {
    if (node === view.self || isGone(liveness, node)) continue
    const mayAct = liveness.get(node)?.kind !== 'agent-down' && record.status?.engine.state !== 'down'
    for (const task of serviceTasks(record, service.id as ServiceId)) look(task, mayAct)
  }
  return [...found.values()]
}

/** A dead node's claims are void, and so is what they were ill of. */
function isGone(liveness: LivenessMap, node: NodeId): boolean {
  return liveness.get(node)?.kind === 'down'
}

function illnessOf(task: TaskEntry): IllSlot['state'] | undefined {
  // Settled for good, or on its way out for another reason.
  if (task.done === true || (task.desired !== 'running' && task.desired !== 'ready')) return undefined
  if (task.illness?.kind === 'stopping') return 'down'
  if (isTerminal(task.state)) return undefined
  if (task.illness !== undefined) return 'waiting'
  return task.restart?.afterIllness === true ? 'down' : undefined
}

/**
 * A task that is ill and waits: is it its turn? First it has said so for a moment, so that of two who fall ill at once
 * each has heard of the other: then a stale view delays a stop and does not hasten it. Who had to wait for others is asked
 * once more how it is, for what they had in common may be over: the moment begins anew. What an update has made is no exception: its
 * step has failed without that.
 */
export function isItsTurn(draft: Draft, task: TaskEntry, illness: Illness): boolean {
  const { view, liveness, settings, synced, nowMs } = draft.input
  const service = view.services.get(task.service)
  if (!synced || service === undefined) return false
  const parallelism = updateConfigOf(service)?.Parallelism ?? 1
  const { why, sinceMs } = illness
  if (!mayBeStopped(illSlotsOf(view, liveness, service, draft.tasks.values()), task.slot, parallelism)) {
    changeTask(draft, task, { illness: { ...illness, kind: 'held' }, error: heldError(why, parallelism) })
    return false
  }
  if (parallelism === 0 || isOnly(draft, task)) return true
  if (illness.kind === 'waiting') return isDue(draft, sinceMs, settings.illnessSettleMs)
  changeTask(draft, task, { illness: { kind: 'waiting', sinceMs: nowMs, why }, error: why })
  wakeAt(draft, nowMs + settings.illnessSettleMs)
  return false
}

/** Nobody else has a task of the service: there is no one to hear of. */
function isOnly({ input: { view, liveness }, tasks }: Draft, task: TaskEntry): boolean {
  const isOther = (other: TaskEntry): boolean =>
    other.id !== task.id && other.service === task.service && isClaim(other)
  return (
    ![...tasks.values()].some(isOther) &&
    ![...view.records].some(
      ([node, record]) =>
        node !== view.self && !isGone(liveness, node) && serviceTasks(record, task.service).some(isOther),
    )
  )
}

function heldError(why: string, parallelism: number): string {
  return `${why}; it is not stopped yet: ${parallelism} of the service at a time, and others are down or stand before it`
}
