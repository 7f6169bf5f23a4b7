import type {
  ContainerId,
  GuestId,
  NodeId,
  RecordChanges,
  ResourceId,
  ServiceId,
  ServiceSpec,
  Slot,
  SpecDigest,
  TaskId,
} from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import type { HealthStanding } from '../health/standing.ts'
import type { LeaseOrders, Leases } from '../lease/orders.ts'
import type { LivenessMap } from '../membership/liveness.ts'
import type { Placement } from '../placement/placement.ts'
import type { NetworkOutlook } from '../network/network.ts'
import type { View } from '../view.ts'
import type { Action, ActionResult, ContainerObservation, GuestObservation } from './actions.ts'
import type { GuestVerdict, GuestWish } from './guests.ts'
import type { IdleBlocks } from './tidy-blocks.ts'

/** All that one reconciliation looks at. The same input gives the same output. */
export interface ReconcileInput {
  /** Includes this node's own record: the durable part of its state. */
  readonly view: View
  readonly liveness: LivenessMap
  /** Members of whom it may be clear in a moment whether they are there. */
  readonly unsettled: ReadonlySet<NodeId>
  /** Of this view. */
  readonly placement: Placement
  /** What the probes of containers say; those that have none, or of which nothing is known yet, are not there. */
  readonly health: ReadonlyMap<ContainerId, HealthStanding>
  /** What the engine shows, by task. */
  readonly containers: ReadonlyMap<TaskId, readonly ContainerObservation[]>
  readonly engine: { readonly kind: 'up' } | EngineDown
  /** The engine has been listed in full since this agent started and since the engine came back. */
  readonly listed: boolean
  /** An action for this task is under way: no other is issued for it. */
  readonly inFlight: ReadonlySet<TaskId>
  /** Actions that finished since the last call. */
  readonly results: ReadonlyMap<TaskId, { readonly action: Action['kind']; readonly result: ActionResult }>
  /** Networks that reach over hosts, by this view; undefined where this host cannot have them. */
  readonly networks: Pick<NetworkOutlook, 'subnets' | 'blocks' | 'waits'> | undefined
  readonly guests: {
    /** What people are asking for at this moment. */
    readonly wishes: readonly GuestWish[]
    /** What the engine shows; undefined where that is not known. */
    readonly seen: readonly GuestObservation[] | undefined
  }
  /** As the last call left them; none: this agent has only just started. */
  readonly idleBlocks: IdleBlocks
  /** Of slots that may run only with a lease. */
  readonly leases: Leases
  /** Boot gate: synced with a live peer since the start, or known to be alone, or waited long enough. */
  readonly synced: boolean
  /** Of what is not known: was its document lost here, and not removed? Until a peer was asked it may be wanted all the same. */
  readonly mayBeLost: (kind: 'service' | 'network', id: ResourceId) => boolean
  /** This node's wall clock, only ever compared with this node's own earlier values; it may jump back. */
  readonly nowMs: number
  /** Older specs from the history; `undefined` where it is not known here. */
  readonly specAt: (service: ServiceId, digest: SpecDigest) => ServiceSpec | undefined
  readonly settings: Defaults
}

export interface EngineDown {
  readonly kind: 'down'
  readonly forMs: number
  /** Is a container known to have ended although the engine does not say so? */
  readonly hasEnded: (container: ContainerObservation) => boolean
  /**
   * The placement of this view, had this node's claims by these tasks ended. Dear where there are many slots: asked only
   * when some may end.
   */
  readonly placementWithout: (ended: ReadonlySet<TaskId>) => Placement
}

/** What is to be written beside the spec: what became of an update, as all records together say, or that a slot needs no lease. */
export interface Conclusion {
  readonly service: ServiceId
  readonly digest: SpecDigest
  readonly outcome:
    | { readonly kind: 'completed' }
    | { readonly kind: 'failed'; readonly task: string; readonly release?: FailedRelease }
    /** In this term a majority of the voters knew that the slot is not exclusive any more. */
    | { readonly kind: 'loosened'; readonly slot: Slot; readonly term: number }
}

/** Why a service goes back that has not failed itself: it is part of the same release as this one, whose task failed. */
export interface FailedRelease {
  readonly id: string
  readonly service: string
  /** All releases that are undone, this one among them. */
  readonly undone: readonly string[]
}

export interface ReconcileOutput {
  /** Durable before any of `actions` begins. */
  readonly changes: RecordChanges
  readonly actions: readonly Action[]
  /** To be written into the documents of these services, again and again until it stands there. */
  readonly conclusions: readonly Conclusion[]
  /** Of wishes that have no entry in the record yet, and of entries that have lost their address. */
  readonly guests: ReadonlyMap<GuestId, GuestVerdict>
  /** For the next call. */
  readonly idleBlocks: IdleBlocks
  /** In force before any of `actions` begins. */
  readonly leases: LeaseOrders
  /** Call again at this time (as `nowMs` counts) even if nothing happens. */
  readonly wakeAtMs: number | undefined
}
