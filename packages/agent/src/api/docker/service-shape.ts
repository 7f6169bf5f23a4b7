import type { Resource, ServiceSpec } from '@moot/crdt-state'
import type { UpdateStatus } from '../../core/reconcile/progress.ts'
import { timestamp } from '../reply.ts'

/** Docker's `Service` (Engine API `#/definitions/Service`). */
export function serviceShape(
  service: Resource<ServiceSpec>,
  options: {
    readonly insertDefaults: boolean
    readonly updateStatus: UpdateStatus | undefined
    readonly status?: {
      readonly RunningTasks: number
      readonly DesiredTasks: number
      readonly CompletedTasks: number
    }
  },
): Record<string, unknown> {
  const { spec, previous } = service
  const shown = options.insertDefaults ? withDefaults(spec) : spec
  const ports = spec.EndpointSpec?.Ports
  return {
    ID: service.id,
    Version: { Index: service.versionIndex },
    CreatedAt: timestamp(service.createdAtMs),
    UpdatedAt: timestamp(service.updatedAtMs),
    Spec: shown,
    ...(previous === undefined ? {} : { PreviousSpec: previous }),
    Endpoint: {
      Spec: spec.EndpointSpec ?? {},
      ...(ports === undefined || ports.length === 0 ? {} : { Ports: ports }),
    },
    ...(options.updateStatus === undefined ? {} : { UpdateStatus: options.updateStatus }),
    ...(options.status === undefined ? {} : { ServiceStatus: options.status }),
  }
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
