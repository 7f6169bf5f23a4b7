import type { NodeId, RecordStore, TaskEntry, TaskId } from '@moot/crdt-state'
import type { ClusterEvent } from './cluster.ts'
import type { Clock } from './ports/clock.ts'

const none: ReadonlyMap<TaskId, TaskEntry> = new Map()

/** Tells watchers of every task that changed in any record. */
export function watchRecords(
  records: RecordStore,
  clock: Clock,
  event: (event: ClusterEvent) => void,
  changed: (nodes: ReadonlySet<NodeId>) => void,
): () => void {
  const known = new Map([...records.all()].map(([node, record]) => [node, record.tasks]))
  return records.subscribe((nodes) => {
    const all = records.all()
    for (const node of nodes) {
      const before = known.get(node) ?? none
      const after = all.get(node)?.tasks
      if (after === undefined) known.delete(node)
      else known.set(node, after)
      if (before === after) continue
      for (const [id, task] of after ?? none) {
        if (before.get(id) !== task) {
          event({ kind: 'task', node, before: before.get(id), after: task, atMs: clock.wallMs() })
        }
      }
      for (const [id, task] of before) {
        if (after?.has(id) !== true) {
          event({ kind: 'task', node, before: task, after: undefined, atMs: clock.wallMs() })
        }
      }
    }
    changed(nodes)
  })
}
