import {
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  specDigest,
  type SpecDigest,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import type { Cluster } from '../cluster.ts'
import { updateStatus as updateStatusOf, type UpdateStatus } from '../core/reconcile/progress.ts'
import { type ShownTask, taskCounts as countsOf, type TaskCounts, tasksOf } from '../core/tasks-view.ts'
import type { View } from '../core/view.ts'
import type { Api } from './call.ts'

/**
 * What the API asks of the tasks in a view, worked out once for each view: `docker service ls` over 1,000 services
 * must not read every task 1,000 times.
 */
interface TaskIndex {
  readonly tasks: readonly ShownTask[]
  readonly byService: ReadonlyMap<ServiceId, readonly ShownTask[]>
  /** The view with only this service's part of the records. */
  sliceOf(service: ServiceId): View
}

const indexes = new WeakMap<
  View,
  { readonly liveness: unknown; readonly placement: unknown; readonly index: TaskIndex }
>()

function indexOf(cluster: Cluster): TaskIndex {
  const view = cluster.view()
  const liveness = cluster.liveness()
  const placement = cluster.placement()
  const known = indexes.get(view)
  if (known !== undefined && known.liveness === liveness && known.placement === placement) return known.index
  const tasks = tasksOf(view, liveness, placement)
  const byService = new Map<ServiceId, ShownTask[]>()
  for (const shown of tasks) {
    const list = byService.get(shown.task.service)
    if (list === undefined) byService.set(shown.task.service, [shown])
    else list.push(shown)
  }
  const index = { tasks, byService, sliceOf: slicer(view) }
  indexes.set(view, { liveness, placement, index })
  return index
}

function slicer(view: View): (service: ServiceId) => View {
  const parts = new Map<ServiceId, Map<NodeId, NodeRecord & { tasks: Map<TaskId, TaskEntry> }>>()
  const partOf = (service: ServiceId, node: NodeId, record: NodeRecord): Map<TaskId, TaskEntry> => {
    const records = parts.get(service) ?? new Map<NodeId, NodeRecord & { tasks: Map<TaskId, TaskEntry> }>()
    parts.set(service, records)
    const part = records.get(node) ?? { ...record, tasks: new Map<TaskId, TaskEntry>() }
    records.set(node, part)
    return part.tasks
  }
  for (const [node, record] of view.records) {
    for (const [id, task] of record.tasks) partOf(task.service, node, record).set(id, task)
    for (const service of record.updates.keys()) partOf(service, node, record)
  }
  return (service) => ({ ...view, records: parts.get(service) ?? new Map<NodeId, NodeRecord>() })
}

export function allTasks(api: Pick<Api, 'cluster'>): readonly ShownTask[] {
  return indexOf(api.cluster).tasks
}

export function tasksOfService(api: Pick<Api, 'cluster'>, service: ServiceId): readonly ShownTask[] {
  return indexOf(api.cluster).byService.get(service) ?? []
}

export function taskCounts(api: Pick<Api, 'cluster'>, service: Resource<ServiceSpec>): TaskCounts {
  const id = service.id as ServiceId
  const slice = indexOf(api.cluster).sliceOf(id)
  return countsOf(slice, api.cluster.liveness(), id, api.cluster.placement())
}

export function updateStatus(
  api: Pick<Api, 'cluster'>,
  service: Resource<ServiceSpec>,
): UpdateStatus | undefined {
  const slice = indexOf(api.cluster).sliceOf(service.id as ServiceId)
  return updateStatusOf(slice, service, api.cluster.liveness())
}

const pastSpecs = new WeakMap<Resource<ServiceSpec>, ReadonlyMap<SpecDigest, ServiceSpec>>()

/** The spec that a task was made from: the current one, else the one of its digest in the service's history. */
export function specOfTask(
  api: Pick<Api, 'cluster'>,
  service: Resource<ServiceSpec>,
  task: TaskEntry,
): ServiceSpec {
  for (const spec of [service.spec, service.previous]) {
    if (spec !== undefined && specDigest(spec) === task.digest) return spec
  }
  let past = pastSpecs.get(service)
  if (past === undefined) {
    const history = api.cluster.history('service', service.id)
    past = new Map(history.map(({ spec }) => [specDigest(spec), spec]))
    pastSpecs.set(service, past)
  }
  return past.get(task.digest) ?? service.spec
}
