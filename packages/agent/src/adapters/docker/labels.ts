import type { NodeId, ServiceId, TaskId } from '@moot/crdt-state'
import type { SlotKey } from '../../core/lease/messages.ts'
import type { ContainerLease, TaskSetup } from '../../core/reconcile/actions.ts'

/** Labels by which the engine is the truth about what runs (DESIGN section 8). Never renamed: adoption reads them. */
export const label = {
  cluster: 'moot.cluster',
  node: 'moot.node',
  service: 'moot.service',
  slot: 'moot.slot',
  task: 'moot.task',
  attempt: 'moot.attempt',
  digest: 'moot.digest',
  /** Named generic resources that this container holds: JSON, kind → values. */
  generic: 'moot.generic',
  /** What an exclusive task's lease is of, and its fence. */
  lease: 'moot.lease',
  fence: 'moot.fence',
  network: 'moot.network',
  /** Of a network: the subnet and this node's own address in it, where it reaches over hosts. */
  subnet: 'moot.network.subnet',
} as const

/** Whose containers: this cluster's on this node. */
export interface Ownership {
  readonly cluster: string
  readonly node: NodeId
}

/** `<service>.<slot>.<task>`; Swarm writes the node id where a global service has no slot, and so do our slots. */
export function taskName(setup: TaskSetup): string {
  return `${setup.spec.Name}.${setup.task.slot}.${setup.task.id}`
}

export function containerLabels(setup: TaskSetup, own: Ownership): Record<string, string> {
  const { task, spec, lease } = setup
  // Nobody gives himself a lease.
  const { [label.lease]: _, [label.fence]: __, ...given } = spec.TaskTemplate.ContainerSpec.Labels ?? {}
  return {
    ...given,
    // Swarm's own (moby daemon/cluster/executor/container/container.go labels()): tools find a service's containers by them.
    'com.docker.swarm.node.id': own.node,
    'com.docker.swarm.service.id': task.service,
    'com.docker.swarm.service.name': spec.Name,
    'com.docker.swarm.task': '',
    'com.docker.swarm.task.id': task.id,
    'com.docker.swarm.task.name': taskName(setup),
    [label.cluster]: own.cluster,
    [label.node]: own.node,
    [label.service]: task.service,
    [label.slot]: String(task.slot),
    [label.task]: task.id,
    [label.attempt]: String(task.attempt),
    [label.digest]: task.digest,
    ...(lease?.fence !== undefined && { [label.lease]: lease.slot, [label.fence]: String(lease.fence) }),
  }
}

interface Owner {
  readonly task: TaskId
  readonly service: ServiceId
  readonly lease?: ContainerLease
}

/** Undefined where the container is not ours. */
export function readOwner(labels: Readonly<Record<string, string>>, own: Ownership): Owner | undefined {
  const { [label.task]: task, [label.service]: service } = labels
  if (labels[label.cluster] !== own.cluster || labels[label.node] !== own.node) return undefined
  if (task === undefined || service === undefined) return undefined
  const { [label.lease]: slot, [label.fence]: fence } = labels
  return {
    task: task as TaskId,
    service: service as ServiceId,
    ...(slot !== undefined &&
      fence !== undefined && { lease: { slot: slot as SlotKey, fence: Number(fence) } }),
  }
}

/** Docker's `filters` parameter: containers, volumes or networks of ours. */
export function ownFilter(own: Ownership, more: Readonly<Record<string, readonly string[]>> = {}): string {
  const { label: labels = [], ...rest } = more
  return JSON.stringify({
    ...rest,
    label: [`${label.cluster}=${own.cluster}`, `${label.node}=${own.node}`, ...labels],
  })
}
