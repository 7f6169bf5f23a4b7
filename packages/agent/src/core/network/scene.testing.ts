import {
  digestId,
  networkSpecSchema,
  resourceId,
  type BlockClaims,
  type GuestEntry,
  type NetworkSpec,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import type { Liveness, LivenessMap } from '../membership/liveness.ts'
import { node, service, task } from '../placement/fixtures.ts'
import type { View } from '../view.ts'
import { blockRange, geometryOf } from './geometry.ts'
import { formatAddress, parseRange, type Range } from './ipv4.ts'

/** Builders for the tests and the benchmark of networks. */
export function network(
  name: string,
  spec: Partial<Record<keyof NetworkSpec, unknown>> & { subnet?: string } = {},
  facts: Iterable<readonly [string, unknown]> = [],
): Resource<NetworkSpec> {
  const { subnet, ...rest } = spec
  const IPAM = subnet === undefined ? {} : { IPAM: { Config: [{ Subnet: subnet }] } }
  const { spec: _, ...resource } = service(name)
  return {
    ...resource,
    kind: 'network',
    id: resourceId('network', name, 1),
    spec: networkSpecSchema.parse({ Name: name, ...IPAM, ...rest }),
    previous: undefined,
    facts: new Map(facts),
  }
}

/** A service on these networks, with virtual IPs as they were drawn. */
export function onNetworks(
  name: string,
  networks: readonly Resource<NetworkSpec>[],
  spec: Readonly<Record<string, unknown>> = {},
  facts: Iterable<readonly [string, unknown]> = [],
): Resource<ServiceSpec> {
  const made = service(name, spec, { Networks: networks.map(({ id }) => ({ Target: id })) })
  return { ...made, facts: new Map(facts) }
}

export function claim(of: Resource<NetworkSpec>, subnet: string, ...blocks: number[]): BlockClaims {
  return { network: of.id, subnet, blocks }
}

/** The n-th address of a block. */
export function addressIn(subnet: string, block: number, n: number): string {
  return formatAddress(blockRange(geometryOf(parseRange(subnet) as Range), block).first + n)
}

/** A running task with these addresses. */
export function taskAt(
  of: Resource<ServiceSpec>,
  slot: number,
  addresses: readonly (readonly [Resource<NetworkSpec>, string])[],
  patch: Partial<TaskEntry> = {},
): TaskEntry {
  return task(of, slot, {
    seenEpoch: 1,
    addresses: addresses.map(([network, address]) => ({
      network: network.name,
      id: network.id,
      address: `${address}/18`,
    })),
    ...patch,
  })
}

export interface Host {
  readonly name: string
  readonly address: string
  readonly blocks?: readonly BlockClaims[]
  readonly guests?: readonly GuestEntry[]
  readonly tasks?: readonly TaskEntry[]
  readonly liveness?: Liveness['kind']
  readonly epoch?: number
}

export interface Scene {
  readonly networks?: readonly Resource<NetworkSpec>[]
  readonly services?: readonly Resource<ServiceSpec>[]
  /** The first is the node itself. */
  readonly hosts: readonly [Host, ...Host[]]
}

export function hostId({ name }: Pick<Host, 'name'>): NodeId {
  return node(name).id
}

export function recordOf({
  name,
  address,
  blocks = [],
  guests = [],
  tasks = [],
  epoch = 1,
}: Host): NodeRecord {
  const { record } = node(name, { tasks })
  if (record?.status === undefined) throw new Error('a host has a record')
  return {
    ...record,
    epoch,
    status: { ...record.status, addresses: [address], meshAddresses: [`/ip4/${address}/tcp/7420`] },
    blocks: new Map(blocks.map((each) => [each.network, each])),
    guests: new Map(guests.map((each) => [each.id, each])),
  }
}

export function viewOf({ networks = [], services = [], hosts }: Scene): View {
  return {
    self: hostId(hosts[0]),
    services: new Map(services.map((each) => [each.id as ServiceId, each])),
    networks: new Map(networks.map((each) => [each.id, each])),
    secrets: new Map(),
    configs: new Map(),
    nodes: new Map(hosts.map((host) => [hostId(host), node(host.name).settings])),
    cluster: undefined,
    records: new Map(hosts.map((host) => [hostId(host), recordOf(host)])),
  }
}

export function livenessOf({ hosts }: Scene): LivenessMap {
  return new Map(
    hosts.map((host) => {
      const kind = host.liveness ?? 'alive'
      const life: Liveness = kind === 'alive' || kind === 'unknown' ? { kind } : { kind, observers: [] }
      return [hostId(host), life]
    }),
  )
}

export function networkId(name: string): ResourceId {
  return resourceId('network', name, 1)
}

/** Distinct ids in no order that names give. */
export function idOf(text: string): ResourceId {
  return digestId('test', text) as ResourceId
}
