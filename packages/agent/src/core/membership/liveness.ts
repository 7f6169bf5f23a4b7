import type { NodeId } from '@moot/crdt-state'

/**
 * What the view says about a node's life. `routable`: may traffic still be sent there. `claimsHold`: do its claims
 * still count as incumbency.
 *
 * - `alive`: no alert, and a record.
 * - `suspect`: some observers' alerts, not enough: claims hold, no new task is placed there.
 * - `agent-down`: enough observers were refused: its containers serve, claims hold, nothing new is placed there,
 *   and only after `agentDownGraceMs` does it become `down`.
 * - `down`: enough observers hear nothing: its claims are void until it has published a record newer than the
 *   verdict and the alerts are withdrawn.
 * - `unknown`: a member that has never published a record here.
 */
export type Liveness =
  | { readonly kind: 'alive' }
  | { readonly kind: 'suspect'; readonly observers: readonly NodeId[] }
  | { readonly kind: 'agent-down'; readonly observers: readonly NodeId[] }
  | { readonly kind: 'down'; readonly observers: readonly NodeId[] }
  | { readonly kind: 'unknown' }

export type LivenessMap = ReadonlyMap<NodeId, Liveness>
