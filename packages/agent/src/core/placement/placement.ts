import type {
  NodeId,
  NodeRecord,
  NodeSpec,
  Resource,
  ServiceId,
  ServiceSpec,
  SlotId,
  TaskEntry,
} from '@moot/crdt-state'
import type { Liveness } from '../membership/liveness.ts'
import type { Rules } from '../rules.ts'

/** A node as placement sees it. */
export interface PlacementNode {
  readonly id: NodeId
  readonly settings: Resource<NodeSpec>
  readonly record: NodeRecord | undefined
  readonly liveness: Liveness
}

/** Everything placement may look at: no time, no randomness, no order of arrival. */
export interface PlacementInput {
  readonly services: ReadonlyMap<ServiceId, Resource<ServiceSpec>>
  readonly nodes: ReadonlyMap<NodeId, PlacementNode>
  /** Default: the first. */
  readonly rules?: Rules
}

export interface Claim {
  readonly node: NodeId
  readonly task: TaskEntry
}

/** One node's "no", from the first filter that closed. `reason` is for people: "needs 2 GPUs, has 1". */
export interface Refusal {
  readonly node: NodeId
  readonly filter: string
  readonly reason: string
}

/**
 * Where a slot stands.
 * - `held`: `holder` keeps it. `losers` hold it too (a healed partition) and stop once they see the holder running.
 * - `moving`: its holder no longer passes the filters (drained, constraint or label changed); `to` is to claim it as
 *   the next attempt, and the holder stops once it sees the successor running. `to` may have claimed already
 *   (`successor`). Without any node that passes (`to` undefined), a drained holder stops at once.
 * - `vacant`: `to` is to claim it, assuming that the earlier vacancies `assumed` are filled.
 * - `pending`: no node passes; a refusal per node says why.
 */
export type SlotPlacement =
  | { readonly kind: 'held'; readonly holder: Claim; readonly losers: readonly Claim[] }
  | {
      readonly kind: 'moving'
      readonly holder: Claim
      readonly to: NodeId | undefined
      readonly successor: Claim | undefined
      readonly losers: readonly Claim[]
      readonly because: Refusal
      readonly refusals: readonly Refusal[]
      readonly assumed: readonly SlotId[]
    }
  | {
      readonly kind: 'vacant'
      readonly to: NodeId
      readonly attempt: number
      readonly assumed: readonly SlotId[]
    }
  | { readonly kind: 'pending'; readonly refusals: readonly Refusal[] }

/**
 * Every wanted slot of every service (for a global service: one per node that it is wanted on), in the canonical
 * order of the fold: vacancies are claimed in this order. Claims on slots that nobody wants are in `surplus`.
 */
export interface Placement {
  readonly slots: ReadonlyMap<SlotId, SlotPlacement>
  readonly surplus: readonly Claim[]
}
