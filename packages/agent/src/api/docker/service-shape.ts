import type { Resource, ServiceId, ServiceSpec } from '@moot/crdt-state'
import type { NetworkOutlook } from '../../core/network/network.ts'
import type { UpdateStatus } from '../../core/reconcile/progress.ts'
import { timestamp } from '../reply.ts'

/** Docker's `Service` (Engine API `#/definitions/Service`). */
export function serviceShape(
  service: Resource<ServiceSpec>,
  options: {
    readonly insertDefaults: boolean
    readonly updateStatus: UpdateStatus | undefined
    readonly networks: Pick<NetworkOutlook, 'virtualIps' | 'ports' | 'subnets'> | undefined
    readonly status?: {
      readonly RunningTasks: number
      readonly DesiredTasks: number
      readonly CompletedTasks: number
    }
  },
): Record<string, unknown> {
  const { spec, previous } = service
  const shown = options.insertDefaults ? withDefaults(spec) : spec
  const ports = portsOf(service, options.networks)
  const virtualIps = virtualIpsOf(service.id as ServiceId, options.networks)
  return {
    ID: service.id,
    Version: { Index: service.versionIndex },
    CreatedAt: timestamp(service.createdAtMs),
    UpdatedAt: timestamp(service.updatedAtMs),
    Spec: shown,
    ...(previous === undefined ? {} : { PreviousSpec: previous }),
    Endpoint: {
      Spec: spec.EndpointSpec ?? {},
      ...(ports.length === 0 ? {} : { Ports: ports }),
      ...(virtualIps.length === 0 ? {} : { VirtualIPs: virtualIps }),
    },
    ...(options.updateStatus === undefined ? {} : { UpdateStatus: options.updateStatus }),
    ...(options.status === undefined ? {} : { ServiceStatus: options.status }),
  }
}

/** With the ports that were drawn where none was given. */
function portsOf(
  { id, spec }: Resource<ServiceSpec>,
  networks: Pick<NetworkOutlook, 'ports'> | undefined,
): NonNullable<NonNullable<ServiceSpec['EndpointSpec']>['Ports']> {
  const held = networks?.ports.get(id as ServiceId) ?? []
  return (spec.EndpointSpec?.Ports ?? []).map((port) => {
    if (port.PublishMode === 'host' || (port.PublishedPort ?? 0) !== 0) return port
    const drawn = held.find(
      ({ target, protocol }) => target === port.TargetPort && protocol === port.Protocol,
    )
    return drawn === undefined ? port : { ...port, PublishedPort: drawn.port }
  })
}

function virtualIpsOf(
  id: ServiceId,
  networks: Pick<NetworkOutlook, 'virtualIps' | 'subnets'> | undefined,
): readonly { readonly NetworkID: string; readonly Addr: string }[] {
  return [...(networks?.virtualIps.get(id) ?? [])].map(([network, address]) => {
    const standing = networks?.subnets.get(network)
    const bits = standing?.kind === 'has' ? standing.cidr.split('/')[1] : '32'
    return { NetworkID: network, Addr: `${address}/${bits}` }
  })
}

const updateDefaults = {
  Parallelism: 1,
  FailureAction: 'pause',
  Monitor: 5_000_000_000,
  MaxFailureRatio: 0,
  Order: 'stop-first',
} as const

/**
 * `insertDefaults=true` (swarmkit `api/defaults/service.go`). The restart delay is left out on purpose: none given
 * means that the first restart is immediate, and a shown 5 s would be stored by a client that writes back what it read.
 */
function withDefaults(spec: ServiceSpec): ServiceSpec {
  const { TaskTemplate: template } = spec
  return {
    ...spec,
    TaskTemplate: {
      ...template,
      ContainerSpec: {
        ...template.ContainerSpec,
        StopGracePeriod: template.ContainerSpec.StopGracePeriod ?? 10_000_000_000,
        DNSConfig: template.ContainerSpec.DNSConfig ?? {},
        Isolation: template.ContainerSpec.Isolation ?? 'default',
      },
      Resources: {
        Limits: template.Resources?.Limits ?? {},
        Reservations: template.Resources?.Reservations ?? {},
      },
      RestartPolicy: { Condition: 'any', MaxAttempts: 0, ...template.RestartPolicy },
      Placement: template.Placement ?? {},
      ForceUpdate: template.ForceUpdate ?? 0,
      Runtime: template.Runtime ?? 'container',
    },
    UpdateConfig: { ...updateDefaults, ...spec.UpdateConfig },
    RollbackConfig: { ...updateDefaults, ...spec.RollbackConfig },
    EndpointSpec: { Mode: 'vip', ...spec.EndpointSpec },
  }
}
