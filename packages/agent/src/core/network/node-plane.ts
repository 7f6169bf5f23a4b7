import type { NetworkSpec, NodeId, Resource, ResourceId } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import { bridgeAddress } from './allocate.ts'
import { blocksOf, type BlockTable } from './blocks.ts'
import type { ServiceEndpoints } from './endpoints.ts'
import { blockRange } from './geometry.ts'
import { formatAddress, formatRange } from './ipv4.ts'
import type { Address, Frontend, PlaneNetwork } from './plane.ts'
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

export interface ServiceFronts {
  readonly virtualIps: ReadonlyMap<ResourceId, Address> | undefined
  readonly ports: readonly PublishedPort[]
  readonly publishedOn: ResourceId | undefined
  readonly endpoints: ServiceEndpoints | undefined
}

/** Where one service is reached: its virtual IPs in the order of its networks' ids, then its ports. */
export function frontendsOf({
  virtualIps,
  ports,
  publishedOn,
  endpoints,
}: ServiceFronts): readonly Frontend[] {
  const backends = (network: ResourceId | undefined): readonly Address[] =>
    (network === undefined ? undefined : endpoints?.get(network))?.ready.map(({ address }) => address) ?? []
  const addresses = [...(virtualIps ?? [])].sort(([a], [b]) => compareText(a, b))
  return [
    ...addresses.map(([network, address]) => ({
      at: { kind: 'virtual', address, network } as const,
      backends: backends(network),
    })),
    ...ports.map(({ protocol, port, target }) => ({
      at: { kind: 'published', protocol, port, target } as const,
      backends: backends(publishedOn),
    })),
  ]
}
