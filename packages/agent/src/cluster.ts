import type {
  Author,
  HistoryEntry,
  NodeId,
  Resource,
  ResourceId,
  Revise,
  SpecChange,
  SpecKind,
  SpecOf,
  TaskEntry,
  TaskId,
} from '@moot/crdt-state'
import type { Epoch } from './core/lease/messages.ts'
import type { VoterCandidate, VoterHealth } from './core/lease/voter-set.ts'
import type { LivenessMap } from './core/membership/liveness.ts'
import type { NetworkOutlook } from './core/network/network.ts'
import type { Placement } from './core/placement/placement.ts'
import type { Address } from './core/network/plane.ts'
import type { GuestObservation } from './core/reconcile/actions.ts'
import type { GuestWish } from './core/reconcile/guests.ts'
import type { Encryption, NetworkFindings, Networks } from './networks.ts'
import type { View } from './core/view.ts'
import type { ProbeResult } from './ports/mesh.ts'

/** A write that is fsynced here. `confirmedBy` undefined: no peer confirmed within the bound; the warning says so. */
export interface Committed<S> {
  readonly resource: Resource<S>
  readonly confirmedBy: NodeId | undefined
  readonly warnings: readonly string[]
}

export type ClusterState =
  | { readonly kind: 'inactive' }
  | { readonly kind: 'active'; readonly clusterId: string }
  /** This node was removed from its cluster: it stopped its tasks. */
  | { readonly kind: 'removed'; readonly clusterId: string; readonly by: string; readonly atMs: number }

/** What changed for watchers (`docker events`, `moot events`): a spec, or one task's or node's state. */
export type ClusterEvent =
  | { readonly kind: 'spec'; readonly change: SpecChange; readonly atMs: number }
  | {
      readonly kind: 'task'
      readonly node: NodeId
      readonly before: TaskEntry | undefined
      readonly after: TaskEntry | undefined
      readonly atMs: number
    }
  | {
      readonly kind: 'node'
      readonly node: NodeId
      readonly before: string
      readonly after: string
      readonly atMs: number
    }
  | { readonly kind: 'warning'; readonly message: string; readonly atMs: number }

/** A container that a person puts on a network. */
export type GuestWanted = Omit<GuestWish, 'id'>

/** Where it goes. */
export interface GuestPlace {
  /** The engine's name of the network. */
  readonly bridge: string
  readonly address: Address
  /** This node's own address on the network: its name server too. */
  readonly gateway: Address
}

export interface JoinToken {
  /** As in `tokens()`; the token's text is opaque. */
  readonly id: string
  readonly token: string
  readonly expiresAtMs: number
}

export interface Voters {
  readonly epoch: Epoch
  /** All members: who could vote, and who is up. */
  readonly candidates: readonly VoterCandidate[]
  readonly health: VoterHealth
}

export interface ClusterFindings extends NetworkFindings {
  /** What became of a question to each other member that is not down. */
  readonly probes: ReadonlyMap<NodeId, ProbeResult>
}

/**
 * The running agent as its API sees it: the current view and what is decided from it, and the ways to change it.
 * Writes reject with the typed errors of `@moot/crdt-state` and of this package.
 */
export interface Cluster {
  readonly self: NodeId
  state(): ClusterState
  view(): View
  liveness(): LivenessMap
  /** Of the current view; cached until it changes. */
  placement(): Placement
  /** What follows from the current view for networks that reach over hosts, as far as this host has a part in them; undefined where it has none. */
  networks(): NetworkOutlook | undefined
  /** How the network is as this node finds it now: it asks its kernel, its name server and the other agents. */
  networkFindings(signal: AbortSignal): Promise<ClusterFindings>
  /** What this host can do for networks and published ports, and what it cannot at the moment. */
  network(): Pick<Networks, 'ability' | 'troubles'>

  /**
   * A place on a network for a container of a person's, on this node; `use` puts it there. Rejects with `NetworkHereOnlyError`,
   * `AddressRefusedError` or `NoAddressError`, and with what `use` rejects with.
   */
  attach<T>(wanted: GuestWanted, signal: AbortSignal, use: (place: GuestPlace) => Promise<T>): Promise<T>
  /** Such containers on this node's networks as they are now, whoever put them there; undefined where the engine does not say. */
  guests(): Promise<readonly GuestObservation[] | undefined>
  /** Of what this host and others send to each other over networks of the cluster. */
  encryption(): Encryption | undefined
  /** All nodes' keys of that encryption are made anew, as soon as the last change of them is over. */
  changeKeys(): void

  init(options: { readonly advertise?: string | undefined; readonly author: Author }): Promise<JoinToken>
  join(
    token: string,
    options: { readonly advertise?: string | undefined; readonly author: Author },
  ): Promise<void>
  /** Stops this node's tasks, tells the others, forgets the cluster. The last node needs `force`. */
  leave(options: { readonly force: boolean; readonly author: Author }): Promise<void>
  /** One-time; expires on this node's clock. */
  createToken(options: { readonly ttlMs: number }): Promise<JoinToken>
  tokens(): readonly {
    readonly id: string
    readonly expiresAtMs: number
    readonly usedBy: NodeId | undefined
  }[]

  create<K extends SpecKind>(
    kind: K,
    name: string,
    spec: SpecOf[K],
    author: Author,
  ): Promise<Committed<SpecOf[K]>>
  update<K extends SpecKind>(
    kind: K,
    id: ResourceId,
    versionIndex: number,
    spec: SpecOf[K],
    author: Author,
    action?: 'update' | 'rollback',
    revise?: Revise<SpecOf[K]>,
  ): Promise<Committed<SpecOf[K]>>
  /** Facts beside a spec, which only grow: what is there already is left as it is. */
  addFacts(
    kind: SpecKind,
    id: ResourceId,
    facts: ReadonlyMap<string, unknown>,
    author: Author,
  ): Promise<{ readonly confirmedBy: NodeId | undefined; readonly warnings: readonly string[] }>
  remove(
    kind: SpecKind,
    id: ResourceId,
    author: Author,
  ): Promise<{ readonly confirmedBy: NodeId | undefined; readonly warnings: readonly string[] }>
  restore<K extends SpecKind>(kind: K, name: string, author: Author): Promise<Committed<SpecOf[K]>>
  history<K extends SpecKind>(kind: K, id: ResourceId): readonly HistoryEntry<SpecOf[K]>[]

  /** Who votes on leases of exclusive services, and how the voters are. */
  voters(): Voters
  /** DANGEROUS: names other voters without the present ones. Throws `NoVoterError` or `NewerVotersError`. */
  forceVoters(nodes: readonly NodeId[]): Promise<Epoch>

  subscribe(listener: (event: ClusterEvent) => void): () => void
  /** Log bytes of one task from whichever node holds its container: Docker's frames. */
  logs(
    task: { readonly node: NodeId; readonly id: TaskId },
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>
  /** Objects found damaged in this node's store. */
  damage(): readonly { readonly what: string; readonly setAsideAs: string; readonly healed: boolean }[]
  /** Figures for `moot status`: peers, last sync, queue lengths, drops. */
  status(): Readonly<Record<string, unknown>>
}
