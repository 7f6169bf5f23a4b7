import type { NetworkSpec, NodeId, Resource, ResourceId } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import { bridgeAddress } from './allocate.ts'
import { blocksOf, type BlockTable } from './blocks.ts'
import type { Answering, ServiceEndpoints } from './endpoints.ts'
import { blockRange } from './geometry.ts'
import { formatAddress, formatRange } from './ipv4.ts'
import type { Address, Forward, ForwardEndpoint, Frontend, PlaneNetwork } from './plane.ts'
import type { PublishedPort } from './published-ports.ts'
import type { HasSubnet } from './subnets.ts'

/** Of a network's bridge on each node: interface names have at most 15 characters. */
export function bridgeName(network: ResourceId): string {
  return `moot-${network.slice(0, 10)}`
}

/** This node's own address on a network: what it has a bridge with, once it has a block. */
export function ownAddress(self: NodeId, standing: HasSubnet, table: BlockTable): Address | undefined {
  const { geometry, reserved } = standing
  const address = bridgeAddress({ geometry, blocks: blocksOf(table, self), reserved })
  return address === undefined ? undefined : formatAddress(address)
}

/** What there is to know of a network that has a subnet. */
export interface NetworkParts {
  readonly network: Resource<NetworkSpec>
  readonly standing: HasSubnet
  readonly owners: BlockTable['owners']
  readonly own: Address | undefined
  /** Who is in the tunnel: the kernel knows no way to the others. */
  readonly reached: ReadonlySet<NodeId>
}

/** A network as one node's kernel has to know it. */
export function planeNetwork({ network, standing, owners, own, reached }: NetworkParts): PlaneNetwork {
  const { geometry, cidr } = standing
  return {
    id: network.id,
    subnet: cidr,
    virtual: formatRange(geometry.virtual),
    isInternal: network.spec.Internal,
    ...(own !== undefined && { bridge: { name: bridgeName(network.id), address: own } }),
    // By block; those of others, since nobody is in the tunnel with himself.
    routes: [...owners]
      .filter(([, owner]) => reached.has(owner))
      .sort(([a], [b]) => a - b)
      .map(([block, to]) => ({ block: formatRange(blockRange(geometry, block)), to })),
  }
}

/** How far this host's own kernel sends packets. `nowhere`: it balances nothing, and other hosts' containers are out of its reach. */
export type KernelReach = 'hosts' | 'nowhere'

export interface ServiceFronts {
  readonly self: NodeId
  readonly reach: KernelReach
  readonly virtualIps: ReadonlyMap<ResourceId, Address> | undefined
  readonly ports: readonly PublishedPort[]
  readonly publishedOn: ResourceId | undefined
  readonly endpoints: ServiceEndpoints | undefined
}

export interface Fronted {
  readonly frontends: readonly Frontend[]
  readonly forwards: readonly Forward[]
}

/** Where one service is reached: its virtual IPs in the order of its networks' ids, then its ports. */
export function frontsOf(service: ServiceFronts): Fronted {
  const { reach, endpoints } = service
  const addresses = [...(service.virtualIps ?? [])].sort(([a], [b]) => compareText(a, b))
  const virtual = addresses.map(([network, address]) => ({
    at: { kind: 'virtual', address, network } as const,
    backends: endpoints?.get(network)?.ready.map((endpoint) => endpoint.address) ?? [],
  }))
  const published = publishedFronts(service)
  if (reach === 'nowhere') return { frontends: [], forwards: published.forwards }
  return { frontends: [...virtual, ...published.frontends], forwards: published.forwards }
}

/** The kernel balances a port as soon as it reaches one of those who answer; where it reaches none of them it is passed on. */
function publishedFronts({ self, reach, ports, publishedOn, endpoints }: ServiceFronts): Fronted {
  const answering = (publishedOn === undefined ? undefined : endpoints?.get(publishedOn)?.answering) ?? []
  const backends = answering.flatMap(({ address }) => (address === undefined ? [] : [address]))
  if (reach === 'hosts' && (backends.length > 0 || answering.length === 0)) {
    const frontends = ports.map(({ protocol, port, target }) => ({
      at: { kind: 'published', protocol, port, target } as const,
      backends,
    }))
    return { frontends, forwards: [] }
  }
  const passedOn = answering.flatMap((each) => forwardEndpoint(each, self))
  const forwards = ports.flatMap(({ protocol, port, target }) =>
    protocol === 'sctp' ? [] : [{ protocol, port, target, endpoints: passedOn }],
  )
  return { frontends: [], forwards }
}

function forwardEndpoint({ node, task, hostAddress }: Answering, self: NodeId): readonly ForwardEndpoint[] {
  if (node !== self) return [{ kind: 'remote', task, node }]
  return hostAddress === undefined ? [] : [{ kind: 'local', task, address: hostAddress }]
}
