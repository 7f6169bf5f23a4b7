import type { NodeRecord, ServiceId, TaskEntry } from '@moot/crdt-state'

type Tasks = NodeRecord['tasks']
const known = new WeakMap<Tasks, ReadonlyMap<ServiceId, readonly TaskEntry[]>>()
const none: readonly TaskEntry[] = []

/**
 * A record's tasks by service. Who asks this of every record (how far is the update?) must not read all tasks of
 * the cluster each time: grouped once per version of a record's tasks, which are never changed in place.
 */
export function tasksByService({
  tasks,
}: Pick<NodeRecord, 'tasks'>): ReadonlyMap<ServiceId, readonly TaskEntry[]> {
  let groups = known.get(tasks)
  if (groups === undefined) {
    groups = Map.groupBy(tasks.values(), (task) => task.service)
    known.set(tasks, groups)
  }
  return groups
}

export function serviceTasks(record: Pick<NodeRecord, 'tasks'>, service: ServiceId): readonly TaskEntry[] {
  return tasksByService(record).get(service) ?? none
}
