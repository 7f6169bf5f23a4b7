import {
  networkSpecSchema,
  serviceSpecSchema,
  type NetworkSpec,
  type NodeId,
  type Resource,
  type ResourceId,
  type ServiceId,
  type Slot,
  type SpecDigest,
  type TaskId,
} from '@moot/crdt-state'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'

export const testNode = 'nodeaaaaaaaaaaaaaaaaaaaaa' as NodeId
export const testService = 'serviceaaaaaaaaaaaaaaaaaa' as ServiceId
export const testCluster = 'clusteraaaaaaaaaaaaaaaaaa'

let made = 0
/** 25 characters, another each time: leftovers of an earlier run on the same engine have other ids. */
const salt = process.pid.toString(36).padStart(5, '0')
export function freshId(prefix: string): string {
  made++
  return `${prefix}${salt}${made}`.padEnd(25, 'x')
}

export interface SetupParts {
  readonly name?: string
  readonly slot?: Slot
  readonly task?: TaskId
  readonly service?: ServiceId
  /** Parts of the ServiceSpec, as a client sends them. */
  readonly container?: object
  readonly template?: object
  readonly spec?: object
  readonly networks?: readonly Resource<NetworkSpec>[]
  /** On networks that are among these. */
  readonly overlays?: TaskSetup['overlays']
}

/** A task ready to be made, of a spec that went through the schema as a client's would. */
export function taskSetup(parts: SetupParts = {}): TaskSetup {
  const spec = serviceSpecSchema.parse({
    Name: parts.name ?? 'web',
    ...parts.spec,
    TaskTemplate: {
      ...(parts.networks !== undefined && { Networks: parts.networks.map(({ id }) => ({ Target: id })) }),
      ...parts.template,
      ContainerSpec: { Image: 'moot/test:1', ...parts.container },
    },
  })
  const service = parts.service ?? testService
  return {
    task: {
      id: parts.task ?? (freshId('task') as TaskId),
      service,
      slot: parts.slot ?? 1,
      attempt: 1,
      digest: 'digestaaaaaaaaaaaaaaaaaaa' as SpecDigest,
      serviceVersion: 1,
      desired: 'running',
      state: 'preparing',
      createdAtMs: 0,
      stateAtMs: 0,
    },
    service: resource('service', service, spec.Name, spec),
    spec,
    overlays: parts.overlays ?? [],
    networks: parts.networks ?? [],
  }
}

export function testNetwork(spec: object = {}, id = freshId('net')): Resource<NetworkSpec> {
  const parsed = networkSpecSchema.parse({ Name: `n-${id.replace(/x+$/, '')}`, ...spec })
  return resource('network', id as ResourceId, parsed.Name, parsed)
}

function resource<S>(kind: Resource<S>['kind'], id: ResourceId, name: string, spec: S): Resource<S> {
  return {
    kind,
    id,
    name,
    incarnation: 1,
    spec,
    previous: undefined,
    rolledBack: false,
    facts: new Map(),
    conflicts: [],
    versionIndex: 1,
    heads: [],
    createdAtMs: 0,
    updatedAtMs: 0,
  }
}
