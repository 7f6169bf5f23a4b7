import {
  digestId,
  isClaim,
  isTerminal,
  parseSlotId,
  specDigest,
  type NodeId,
  type ServiceId,
  type SlotId,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import { defaults } from '../defaults.ts'
import type { LivenessMap } from './membership/liveness.ts'
import { taskError } from './explain/explain.ts'
import type { Placement, SlotPlacement } from './placement/placement.ts'
import { serviceTasks } from './service-tasks.ts'
import type { View } from './view.ts'

/** A task as Docker's clients see it. `node` undefined: not assigned yet (a global service's always is). */
export interface ShownTask {
  readonly node: NodeId | undefined
  readonly task: TaskEntry
}

/**
 * All tasks: every record's entries, those of dead nodes as `orphaned`, and one pending task for each slot that no
 * node has claimed yet, with the reason of every node that refused it.
 */
export function tasksOf(view: View, liveness: LivenessMap, placement: Placement): readonly ShownTask[] {
  const shown: ShownTask[] = []
  const ended = new Map<string, ShownTask[]>()
  for (const [node, record] of view.records) {
    const down = liveness.get(node)?.kind === 'down'
    for (const task of record.tasks.values()) {
      // What ended and is being forgotten is gone for people: Swarm's reaper removes it at once too.
      if (task.desired === 'remove' && isTerminal(task.state)) continue
      const one = { node, task: down ? orphaned(task) : overAndDone(task) }
      if (!isTerminal(one.task.state)) shown.push(one)
      else append(ended, `${task.service}.${task.slot}`, one)
    }
  }
  const limit = view.cluster?.spec.TaskHistoryRetentionLimit ?? defaults.taskHistoryLimit
  for (const past of ended.values()) shown.push(...newest(past, limit))
  for (const [slot, where] of placement.slots) {
    const pending = pendingTask(view, slot, where, ended.get(slot) ?? [])
    if (pending === undefined) continue
    shown.push({ node: typeof pending.slot === 'string' ? pending.slot : undefined, task: pending })
  }
  return shown
}

function append(lists: Map<string, ShownTask[]>, key: string, item: ShownTask): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [item])
  else list.push(item)
}

/** Each node keeps a slot's history for itself; people asked for so many of a slot, not so many of every node. */
function newest(past: ShownTask[], limit: number): readonly ShownTask[] {
  if (past.length <= limit) return past
  return past.sort((a, b) => b.task.createdAtMs - a.task.createdAtMs).slice(0, limit)
}

/** It keeps its slot, so that no other node runs it again; to Docker's clients what has ended is wanted no more. */
function overAndDone(task: TaskEntry): TaskEntry {
  return isTerminal(task.state) && task.desired !== 'remove' ? { ...task, desired: 'shutdown' } : task
}

/** Nobody can say what became of it; in any case it is not wanted there any more. */
function orphaned(task: TaskEntry): TaskEntry {
  if (isTerminal(task.state)) return task.desired === 'remove' ? task : { ...task, desired: 'shutdown' }
  return { ...task, state: 'orphaned', desired: 'shutdown', message: 'node is down' }
}

function pendingTask(
  view: View,
  slotId: SlotId,
  where: SlotPlacement,
  past: readonly ShownTask[],
): TaskEntry | undefined {
  if (where.kind !== 'pending' && where.kind !== 'vacant') return undefined
  const { service: serviceId, slot } = parseSlotId(slotId)
  const service = view.services.get(serviceId)
  if (service === undefined) return undefined
  const explanation =
    where.kind === 'pending'
      ? { message: 'pending task scheduling', error: taskError(where, (node) => nodeName(view, node)) }
      : { message: `about to be claimed by ${nodeName(view, where.to)}` }
  // It came after what ended in the slot: clients show a slot's newest task as the current one.
  const sinceMs = Math.max(service.updatedAtMs, ...past.map(({ task }) => task.stateAtMs))
  return {
    id: digestId('pending', slotId) as TaskId,
    service: serviceId,
    slot,
    attempt: where.kind === 'vacant' ? where.attempt : 0,
    digest: specDigest(service.spec),
    serviceVersion: service.versionIndex,
    desired: 'running',
    state: 'pending',
    createdAtMs: sinceMs,
    stateAtMs: sinceMs,
    ...explanation,
  }
}

function nodeName(view: View, node: NodeId): string {
  return view.nodes.get(node)?.spec.Name ?? view.records.get(node)?.status?.hostname ?? node
}

/** Docker's `ServiceStatus`. */
export interface TaskCounts {
  readonly RunningTasks: number
  readonly DesiredTasks: number
  readonly CompletedTasks: number
}

/**
 * As swarmkit counts: running and wanted to run, on nodes that are not down. Of a global service as many are desired
 * as slots are placed; without a placement, as are claimed.
 */
export function taskCounts(
  view: View,
  liveness: LivenessMap,
  service: ServiceId,
  placement?: Placement,
): TaskCounts {
  const claimed = new Set<string>()
  let running = 0
  let completed = 0
  for (const [node, record] of view.records) {
    const down = liveness.get(node)?.kind === 'down'
    for (const task of serviceTasks(record, service)) {
      if (task.state === 'complete') completed += 1
      if (down || !isClaim(task)) continue
      claimed.add(String(task.slot))
      if (task.state === 'running' && task.desired === 'running') running += 1
    }
  }
  return {
    RunningTasks: running,
    DesiredTasks: desiredTasks(view, service, placement, claimed.size),
    CompletedTasks: completed,
  }
}

function desiredTasks(
  view: View,
  service: ServiceId,
  placement: Placement | undefined,
  claimed: number,
): number {
  const spec = view.services.get(service)?.spec
  if (spec === undefined) return 0
  if (spec.Mode.Global === undefined && spec.Mode.GlobalJob === undefined)
    return spec.Mode.Replicated?.Replicas ?? 1
  if (placement === undefined) return claimed
  let wanted = 0
  const prefix = `${service}.`
  for (const slot of placement.slots.keys()) if (slot.startsWith(prefix)) wanted += 1
  return wanted
}

export { updateStatus, type UpdateStatus } from './reconcile/progress.ts'
