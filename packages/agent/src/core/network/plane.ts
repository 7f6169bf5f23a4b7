import type { NodeId, ResourceId, RoundKey, TaskId } from '@moot/crdt-state'

/** Dotted IPv4, `10.128.0.17`. */
export type Address = string
/** `10.128.0.0/18`. */
export type Cidr = string

/**
 * All that a node's kernel has to do for the cluster's networks, as one value: a function of the view, which a data plane
 * makes so, whatever there was before (design/network.md).
 */
export interface Plane {
  /** This node's own end of the tunnel. */
  readonly self: {
    /** An address of this host, which the others know it by. */
    readonly underlay: Address
    readonly mac: string
    /** Public keys of its ends of WireGuard, by round, no two in one lane. Absent: it has none. */
    readonly keys?: readonly RoundKey[]
  }
  /** Of all networks that have a subnet: those without a bridge here too, so that what is balanced reaches them from the host. No two overlap. */
  readonly networks: readonly PlaneNetwork[]
  readonly peers: readonly Peer[]
  readonly frontends: readonly Frontend[]
}

export interface PlaneNetwork {
  readonly id: ResourceId
  readonly subnet: Cidr
  /** The first quarter of the subnet: no container has an address there. */
  readonly virtual: Cidr
  /** No way out of it to the world. */
  readonly isInternal: boolean
  /** This node's bridge of it, where it has one: name (at most 15 characters) and its own address. */
  readonly bridge?: { readonly name: string; readonly address: Address }
  /** Blocks of other nodes. */
  readonly routes: readonly { readonly block: Cidr; readonly to: NodeId }[]
}

/** Another member, as the tunnel knows it. */
export interface Peer {
  readonly node: NodeId
  /** Its address on the way between hosts. */
  readonly underlay: Address
  /** Of its end of the tunnel, `02:…`. */
  readonly mac: string
  /** 1 to 4,095, each peer's own; steady while the peer is a member. What came in through it goes back through it. */
  readonly mark: number
  /** Absent: what goes there and comes from there is not encrypted. */
  readonly seal?: Seal
}

/** What WireGuard does between this node and a peer. */
export interface Seal {
  /** The peer's, of rounds that this node has a key of too: what comes under any of them is taken. */
  readonly keys: readonly RoundKey[]
  readonly sends:
    | { readonly kind: 'sealed'; readonly round: number }
    /** One of the two does not know yet that the other has its key. */
    | { readonly kind: 'open' }
    /** They have no round in common: rather nothing than what everybody can read. */
    | { readonly kind: 'nothing' }
  /** What comes from there unencrypted is dropped. */
  readonly isStrict: boolean
}

export type Protocol = 'tcp' | 'udp' | 'sctp'

/** Where connections arrive that are shared out among backends. */
export interface Frontend {
  readonly at:
    | { readonly kind: 'virtual'; readonly address: Address; readonly network: ResourceId }
    /** On every local address of this node. */
    | {
        readonly kind: 'published'
        readonly protocol: Protocol
        readonly port: number
        readonly target: number
      }
  /** In one order on all nodes; none: refused at once. */
  readonly backends: readonly Address[]
}

/** A published port of which connections are passed on, one by one, to where a task answers. */
export interface Forward {
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
  readonly target: number
  /** Who answers; none: refused at once. */
  readonly endpoints: readonly ForwardEndpoint[]
}

export type ForwardEndpoint =
  /** On this host, at its container's own address. */
  | { readonly kind: 'local'; readonly task: TaskId; readonly address: Address }
  /** By way of the agent there. */
  | { readonly kind: 'remote'; readonly task: TaskId; readonly node: NodeId }

/** A port of a task's container. */
export interface TaskPort {
  readonly task: TaskId
  readonly protocol: Forward['protocol']
  readonly port: number
}
