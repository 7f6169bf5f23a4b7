import type { NodeId, Resource, ServiceSpec, TaskEntry } from '@moot/crdt-state'
import { timestamp } from '../reply.ts'

type TaskAddress = NonNullable<TaskEntry['addresses']>[number]

/** Docker's `Task`. `spec` is what this task runs, which need not be the service's newest. */
export function taskShape(
  shown: { readonly node: NodeId | undefined; readonly task: TaskEntry },
  service: Resource<ServiceSpec> | undefined,
  spec: ServiceSpec | undefined,
  networkShape: (address: TaskAddress) => object | undefined,
): Record<string, unknown> {
  const { node, task } = shown
  const attachments = (task.addresses ?? []).flatMap((each) => {
    const network = networkShape(each)
    return network === undefined ? [] : [{ Network: network, Addresses: [each.address] }]
  })
  return {
    ID: task.id,
    Version: { Index: task.serviceVersion },
    CreatedAt: timestamp(task.createdAtMs),
    UpdatedAt: timestamp(task.stateAtMs),
    Labels: {},
    Spec: spec?.TaskTemplate ?? service?.spec.TaskTemplate ?? {},
    ServiceID: task.service,
    // A global service's tasks have no number in Docker: the node names them.
    ...(typeof task.slot === 'number' ? { Slot: task.slot } : {}),
    ...(node === undefined ? {} : { NodeID: node }),
    Status: statusShape(task, spec),
    DesiredState: task.desired,
    ...(attachments.length === 0 ? {} : { NetworksAttachments: attachments }),
    GenericResources: null,
  }
}

function statusShape(task: TaskEntry, spec: ServiceSpec | undefined): Record<string, unknown> {
  const configured = spec?.EndpointSpec?.Ports ?? []
  const ports = (task.ports ?? []).map(({ protocol, target, published }) => {
    const port = configured.find(({ TargetPort, Protocol }) => TargetPort === target && Protocol === protocol)
    return {
      ...(port?.Name === undefined ? {} : { Name: port.Name }),
      Protocol: protocol,
      TargetPort: target,
      PublishedPort: published,
      PublishMode: 'host',
    }
  })
  return {
    Timestamp: timestamp(task.stateAtMs),
    State: task.state,
    ...(task.message === undefined ? {} : { Message: task.message }),
    ...errorShape(task),
    ...(task.containerId === undefined
      ? {}
      : {
          ContainerStatus: {
            ContainerID: task.containerId,
            PID: task.pid ?? 0,
            ExitCode: task.exitCode ?? 0,
          },
        }),
    PortStatus: ports.length === 0 ? {} : { Ports: ports },
  }
}

/** What runs and gets no traffic says why where Docker's clients show what is wrong with a task. */
function errorShape({ error, unready }: TaskEntry): { readonly Err?: string } {
  const Err = error ?? unready?.why
  return Err === undefined ? {} : { Err }
}

/** `web.1.<task>`, or `agent.<node>.<task>` for a global service (swarmkit `api/naming`). */
export function taskName(service: Resource<ServiceSpec> | undefined, task: TaskEntry): string {
  return `${service?.name ?? task.service}.${task.slot}.${task.id}`
}
