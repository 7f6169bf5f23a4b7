import type { NodeId, ResourceId, ServiceId } from '@moot/crdt-state'
import type { Address, Cidr } from './plane.ts'

/** Why a network does not reach anybody (yet). */
export type SubnetWait =
  /** Its steward is about to write one. */
  | { readonly kind: 'not-drawn' }
  /** What was drawn for it is another's; it is about to get another. */
  | { readonly kind: 'drawn-taken'; readonly subnet: Cidr; readonly by: ResourceId }
  /** What a person gave it overlaps with another's that comes first: until a person changes one. */
  | { readonly kind: 'given-taken'; readonly subnet: Cidr; readonly by: ResourceId }
  | { readonly kind: 'too-small'; readonly subnet: Cidr }
  /** It is no range of addresses for hosts: loopback, multicast, … */
  | { readonly kind: 'not-for-hosts'; readonly subnet: Cidr; readonly what: string }
  | { readonly kind: 'pool-full'; readonly pool: readonly Cidr[]; readonly bits: number }

/** Why a node cannot give a container of this network an address. */
export type BlockWait =
  | { readonly kind: 'no-subnet'; readonly network: ResourceId }
  | {
      readonly kind: 'no-block-free'
      readonly network: ResourceId
      readonly subnet: Cidr
      readonly blocks: number
      readonly nodes: number
    }

/** Why a service does not answer, in whole or in part. */
export type ServiceWait =
  /** A network that it is on is not known here. */
  | { readonly kind: 'no-network'; readonly target: string }
  /** It publishes ports, and the network `ingress`, over which it is to be reached, is not made yet. */
  | { readonly kind: 'no-ingress' }
  | { readonly kind: 'no-subnet'; readonly network: ResourceId }
  /** Its steward is about to write one. */
  | { readonly kind: 'vip-not-drawn'; readonly network: ResourceId }
  | {
      readonly kind: 'vip-taken'
      readonly network: ResourceId
      readonly address: Address
      readonly by: ServiceId
    }
  | { readonly kind: 'vips-full'; readonly network: ResourceId; readonly virtual: Cidr }
  /** `port`: `8080/tcp`. */
  | {
      readonly kind: 'port-taken'
      readonly port: string
      readonly by: ServiceId
      readonly mode: 'ingress' | 'host'
    }
  /** `port`: the target's, `80/tcp`. */
  | { readonly kind: 'port-not-drawn'; readonly port: string }
  | { readonly kind: 'ports-full'; readonly first: number; readonly last: number }

/** What this node cannot reach, although the networks are as they should be. */
export type PeerTrouble =
  /** Neither its record nor its settings say an IPv4 address. */
  | { readonly kind: 'no-underlay'; readonly node: NodeId }
  /** There are more members than marks for connections. */
  | { readonly kind: 'no-mark'; readonly node: NodeId }
  /** The member joined later, or a person gave the subnet: where the network has a bridge, that host is not reached. */
  | {
      readonly kind: 'inside-subnet'
      readonly node: NodeId
      readonly address: Address
      readonly network: ResourceId
      readonly subnet: Cidr
    }
