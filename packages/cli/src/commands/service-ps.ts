import type { Context } from '../context.ts'
import type { NodeAnswer, ServiceAnswer, TaskAnswer } from '../docker-types.ts'
import { ago } from '../table.ts'

/** Tasks as `docker service ps` shows them: newest of each slot first. */
export function showTasks(
  context: Context,
  tasks: readonly TaskAnswer[],
  services: readonly ServiceAnswer[],
  nodes: readonly NodeAnswer[],
  truncate: boolean,
): void {
  const serviceNames = new Map(services.map((service) => [service.ID, service.Spec.Name]))
  const nodeNames = new Map(
    nodes.map((node) => [node.ID, node.Spec.Name ?? node.Description?.Hostname ?? node.ID]),
  )
  const nameOf = (task: TaskAnswer): string =>
    `${serviceNames.get(task.ServiceID) ?? task.ServiceID}.${task.Slot ?? task.NodeID ?? ''}`
  const sorted = tasks.toSorted(
    (a, b) =>
      nameOf(a).localeCompare(nameOf(b), 'en', { numeric: true }) ||
      b.Status.Timestamp.localeCompare(a.Status.Timestamp),
  )
  context.show(
    sorted,
    [
      { title: 'ID', value: (task) => (truncate ? task.ID.slice(0, 12) : task.ID), optional: true },
      { title: 'NAME', value: nameOf },
      { title: 'IMAGE', value: (task) => task.Spec?.ContainerSpec?.Image ?? '', optional: true },
      { title: 'NODE', value: (task) => nodeNames.get(task.NodeID ?? '') ?? task.NodeID ?? '' },
      { title: 'DESIRED', value: (task) => task.DesiredState },
      { title: 'STATE', value: (task) => `${task.Status.State} ${ago(task.Status.Timestamp)}` },
      { title: 'ERROR', value: (task) => oneLine(task.Status.Err ?? '', truncate) },
    ],
    sorted,
  )
}

function oneLine(text: string, truncate: boolean): string {
  const line = text.replaceAll('\n', ' ')
  return truncate && line.length > 60 ? `${line.slice(0, 59)}…` : line
}
