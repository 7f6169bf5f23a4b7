import type { GenericResource, Mount, Resource, ServiceId, ServiceSpec } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import {
  attributeReader,
  isNodeKey,
  requirementOf,
  type AttributeReader,
  type Requirement,
} from './constraint.ts'

/** Units of one kind of generic resource: some of it, or these by name. */
export interface GenericNeed {
  readonly kind: string
  readonly count: number
  readonly names: readonly string[]
}

/** What one task of a service takes from its node. */
export interface Demand {
  readonly nanoCpus: number
  readonly memoryBytes: number
  readonly generic: readonly GenericNeed[]
  /** `8080/tcp`; ports that the engine chooses are not here. */
  readonly hostPorts: readonly string[]
}

/** A service spec as placement needs it: read once per spec. */
export interface Workload {
  readonly id: ServiceId
  readonly name: string
  readonly spec: ServiceSpec
  /** `none`: jobs, which the API refuses for now. */
  readonly mode:
    | { readonly kind: 'replicated'; readonly replicas: number }
    | { readonly kind: 'global' }
    | { readonly kind: 'none' }
  readonly demand: Demand
  /** Equal texts = equal demands: loads need no recount when only the image changed. */
  readonly demandKey: string
  readonly constraints: readonly Requirement[]
  readonly platforms: readonly {
    readonly OS?: string | undefined
    readonly Architecture?: string | undefined
  }[]
  readonly plugins: readonly { readonly type: 'Volume' | 'Log'; readonly name: string }[]
  /** 0 = any number. */
  readonly maxReplicas: number
  /** Local named volumes that tie a slot to the node that has them; none where moving was asked for. */
  readonly volumes: readonly string[]
  /** Of all its local named volumes those that it may write to. */
  readonly writes: readonly string[]
  /** What the spread preferences look at, the first counts most. */
  readonly spread: readonly AttributeReader[]
}

/** A service with this label may start on another node without the data of its local volumes. */
export const volumeMoveLabel = 'moot.volume.move'

export function workloadOf(id: ServiceId, resource: Resource<ServiceSpec>): Workload {
  const { spec } = resource
  const placement = spec.TaskTemplate.Placement
  const mounts = spec.TaskTemplate.ContainerSpec.Mounts ?? []
  const demand = demandOf(spec)
  const volumes = mounts.filter(isTiedVolume)
  return {
    id,
    name: resource.name,
    spec,
    mode: modeOf(spec),
    demand,
    demandKey: JSON.stringify(demand),
    constraints: (placement?.Constraints ?? []).map(requirementOf),
    platforms: placement?.Platforms ?? [],
    plugins: pluginsOf(spec, mounts),
    maxReplicas: placement?.MaxReplicas ?? 0,
    volumes: movesFreely(spec) ? [] : volumes.map(sourceOf),
    writes: volumes.filter((mount) => mount.ReadOnly !== true).map(sourceOf),
    // Swarm ignores what it does not know (swarmkit manager/scheduler/nodeset.go tree).
    spread: (placement?.Preferences ?? [])
      .map((item) => item.Spread.SpreadDescriptor)
      .filter(isNodeKey)
      .map(attributeReader),
  }
}

function modeOf(spec: ServiceSpec): Workload['mode'] {
  const { Mode } = spec
  if (Mode.ReplicatedJob !== undefined || Mode.GlobalJob !== undefined) return { kind: 'none' }
  if (Mode.Global !== undefined) return { kind: 'global' }
  const replicas = Mode.Replicated?.Replicas ?? 1
  return { kind: 'replicated', replicas: Math.min(replicas, defaults.maxReplicasPerService) }
}

function demandOf(spec: ServiceSpec): Demand {
  const reservations = spec.TaskTemplate.Resources?.Reservations
  const ports = (spec.EndpointSpec?.Ports ?? []).filter(
    (port) => port.PublishMode === 'host' && (port.PublishedPort ?? 0) > 0,
  )
  return {
    nanoCpus: reservations?.NanoCPUs ?? 0,
    memoryBytes: reservations?.MemoryBytes ?? 0,
    generic: genericNeeds(reservations?.GenericResources ?? []),
    hostPorts: [...new Set(ports.map((port) => portKey(port.PublishedPort ?? 0, port.Protocol)))],
  }
}

export function portKey(port: number, protocol: string): string {
  return `${port}/${protocol}`
}

function genericNeeds(resources: readonly GenericResource[]): readonly GenericNeed[] {
  const needs = new Map<string, { kind: string; count: number; names: string[] }>()
  for (const { DiscreteResourceSpec: discrete, NamedResourceSpec: named } of resources) {
    const kind = discrete?.Kind ?? named?.Kind
    if (kind === undefined) continue
    const need = needs.get(kind) ?? { kind, count: 0, names: [] }
    needs.set(kind, need)
    if (discrete !== undefined) need.count += discrete.Value
    if (named !== undefined && !need.names.includes(named.Value)) {
      need.names.push(named.Value)
      need.count += 1
    }
  }
  return [...needs.values()].filter((need) => need.count > 0)
}

function movesFreely(spec: ServiceSpec): boolean {
  return Object.hasOwn(spec.Labels, volumeMoveLabel) && spec.Labels[volumeMoveLabel] === 'true'
}

const localDrivers = new Set(['', 'local'])
/** The local driver mounts these from elsewhere: the data is not on the node. */
const networkFilesystems = /^(nfs|cifs|smb|ceph|glusterfs|lustre|ocfs2|9p|fuse\b)/

function isTiedVolume(mount: Mount): boolean {
  if (mount.Type !== 'volume' || mount.Source === undefined || mount.Source === '') return false
  const driver = mount.VolumeOptions?.DriverConfig
  return isLocalDriver(driver?.Name ?? '') && !isNetworkFilesystem(driver?.Options?.['type'])
}

function sourceOf(mount: Mount): string {
  return mount.Source ?? ''
}

export function isLocalDriver(name: string): boolean {
  return localDrivers.has(name)
}

/** `type`: the option of Docker's local driver. */
export function isNetworkFilesystem(type: string | undefined): boolean {
  return networkFilesystems.test(type ?? '')
}

/** Built into every engine (moby daemon/logger and daemon/logdrivers_linux.go). */
const builtinLogDrivers = new Set([
  '',
  'none',
  'local',
  'json-file',
  'syslog',
  'journald',
  'gelf',
  'fluentd',
  'awslogs',
  'splunk',
  'gcplogs',
  'etwlogs',
])

function pluginsOf(spec: ServiceSpec, mounts: readonly Mount[]): Workload['plugins'] {
  const volumeDrivers = mounts
    .filter((mount) => mount.Type === 'volume')
    .map((mount) => mount.VolumeOptions?.DriverConfig?.Name ?? '')
    .filter((name) => !isLocalDriver(name))
  const logDriver = spec.TaskTemplate.LogDriver?.Name ?? ''
  return [
    ...[...new Set(volumeDrivers)].map((name) => ({ type: 'Volume', name }) as const),
    ...(builtinLogDrivers.has(logDriver) ? [] : [{ type: 'Log', name: logDriver } as const]),
  ]
}
