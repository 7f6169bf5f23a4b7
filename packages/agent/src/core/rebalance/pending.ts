import {
  askedMoves,
  type AskedMove,
  isClaim,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { serviceTasks } from '../service-tasks.ts'

/** A move that was asked for, of a task that is still there and has not been kept for want of another place. */
export interface PendingMove {
  readonly move: AskedMove
  readonly from: NodeId
  readonly task: TaskEntry
  readonly isUnderWay: boolean
  /** Nobody waits for the turn of one that cannot take it now. */
  readonly canBegin: boolean
}

interface Seen {
  readonly records: ReadonlyMap<NodeId, NodeRecord>
  readonly liveness: LivenessMap
  /** Stands for a record that is about to be written. */
  readonly tasksOf?: (node: NodeId, service: ServiceId) => readonly TaskEntry[] | undefined
}

/** In the order of slots. */
export function pendingMoves(
  service: Resource<ServiceSpec>,
  { records, liveness, tasksOf }: Seen,
): readonly PendingMove[] {
  const id = service.id as ServiceId
  const pending = new Map<string, PendingMove>()
  for (const move of askedMoves(service.facts)) {
    const { from, slot, attempt, asked } = move
    const record = records.get(from)
    const life = liveness.get(from)?.kind
    if (record === undefined || life === 'down') continue
    const tasks = tasksOf?.(from, id) ?? serviceTasks(record, id)
    const task = tasks.find((each) => each.slot === slot && each.attempt === attempt && isClaim(each))
    if (task === undefined || (task.balance?.kind === 'staying' && task.balance.asked >= asked)) continue
    const isUnderWay = task.balance?.kind === 'leaving'
    const canBegin = life === 'alive' && task.state === 'running' && task.leaves === undefined
    pending.set(task.id, { move, from, task, isUnderWay, canBegin })
  }
  return [...pending.values()].sort((a, b) => a.move.slot - b.move.slot)
}
