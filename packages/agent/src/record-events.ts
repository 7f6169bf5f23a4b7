import type { RecordStore, TaskEntry, TaskId } from '@moot/crdt-state'
import type { ClusterEvent } from './cluster.ts'
import type { Clock } from './ports/clock.ts'

/** Tells watchers of every task that changed in any record. */
export function watchRecords(
  records: RecordStore,
  clock: Clock,
  event: (event: ClusterEvent) => void,
  changed: () => void,
): () => void {
  let known = new Map([...records.all()].map(([node, record]) => [node, record.tasks]))
  return records.subscribe((nodes) => {
    for (const node of nodes) {
      const before: ReadonlyMap<TaskId, TaskEntry> = known.get(node) ?? new Map()
      const after: ReadonlyMap<TaskId, TaskEntry> = records.all().get(node)?.tasks ?? new Map()
      if (before === after) continue
      for (const [id, task] of after) {
        if (before.get(id) !== task) {
          event({ kind: 'task', node, before: before.get(id), after: task, atMs: clock.wallMs() })
        }
      }
      for (const [id, task] of before) {
        if (!after.has(id))
          event({ kind: 'task', node, before: task, after: undefined, atMs: clock.wallMs() })
      }
      known = new Map(known).set(node, after)
    }
    changed()
  })
}
