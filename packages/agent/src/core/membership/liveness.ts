import type { Alert, NodeId, NodeRecord } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { type Rings, ringsOf } from './rings.ts'

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
/** The part of a view that says who is alive. */
export interface MembershipView {
  readonly self: NodeId
  /** Members, by id. */
  readonly nodes: ReadonlyMap<NodeId, unknown>
  readonly records: ReadonlyMap<NodeId, NodeRecord>
}

/** What an observer's record says of a target. `stale`: the target has published since, so that the alert may be past. */
type Say = { readonly kind: 'vouches' } | { readonly kind: 'silent' | 'refused'; readonly stale: boolean }

interface Version {
  readonly epoch: number
  readonly seq: number
}

/** Is `a` a later version than `b`? Epoch first. */
export function isNewer(a: Version, b: Version): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq)
}

/** Does this alert say that its writer cannot reach the target now? */
export function isInForce(alert: Alert | undefined): boolean {
  return alert !== undefined && alert.evidence !== 'returned'
}

function sayOf(view: MembershipView, observer: NodeId, target: NodeId): Say {
  const alert = view.records.get(observer)?.alerts.get(target)
  const record = view.records.get(target)
  if (alert === undefined || record === undefined) return { kind: 'vouches' }
  const stale = isNewer(record, alert)
  switch (alert.evidence) {
    // Whoever has only the record from before the return still has nothing that counts.
    case 'returned':
      return stale ? { kind: 'vouches' } : { kind: 'silent', stale: false }
    case 'refused':
      return { kind: 'refused', stale }
    case 'silent':
    case 'judged':
      return { kind: 'silent', stale }
  }
}

/**
 * Nodes whose word this node can use: itself, whomever it watches and reaches, whomever these watch and reach, and so
 * on. The dead and the other side of a partition are not among them, and so their missing alerts block no verdict.
 */
function trustedBy(view: MembershipView, rings: Rings): ReadonlySet<NodeId> {
  const trusted = new Set<NodeId>([view.self])
  // A Set's iterator sees what is added while it runs.
  for (const observer of trusted) {
    for (const target of rings.targets.get(observer) ?? []) {
      if (!trusted.has(target) && sayOf(view, observer, target).kind === 'vouches') trusted.add(target)
    }
  }
  return trusted
}

/** This node's own verdict stands until a newer record came, whoever vouches meanwhile (after a partition heals). */
function judgedBySelf(view: MembershipView, target: NodeId): boolean {
  const alert = view.records.get(view.self)?.alerts.get(target)
  const record = view.records.get(target)
  if (alert === undefined || record === undefined || isNewer(record, alert)) return false
  return alert.evidence === 'judged' || alert.evidence === 'returned'
}

/**
 * A verdict takes more accusers than vouchers, of those observers whose word can be used: one of one with two nodes,
 * two of two with three, three of four from five nodes on. A stale alert abstains while anybody vouches, so that after
 * a partition the alerts which the other side has yet to withdraw condemn nobody here. A refused observer proves that the
 * host lives: `down` takes more silent ones than vouching and refused ones together.
 */
function verdict(says: ReadonlyMap<NodeId, Say>): Liveness {
  const vouches = [...says.values()].filter((say) => say.kind === 'vouches').length
  const counted = [...says.values()].filter((say) => say.kind !== 'vouches' && (vouches === 0 || !say.stale))
  const silent = counted.filter((say) => say.kind === 'silent').length
  const refused = counted.length - silent
  const observers = [...says].filter(([, say]) => say.kind !== 'vouches').map(([observer]) => observer)
  if (observers.length === 0) return { kind: 'alive' }
  observers.sort()
  if (silent > vouches + refused) return { kind: 'down', observers }
  if (silent + refused > vouches) return { kind: 'agent-down', observers }
  return { kind: 'suspect', observers }
}

export interface Assessment {
  readonly liveness: LivenessMap
  /** Members that watch and are watched: with a record and not fallen. */
  readonly ring: readonly NodeId[]
}

/**
 * Liveness level by level: first with all members on the rings; then, where some have fallen, with the others alone, so
 * that the survivors of a mass failure become each other's observers.
 *
 * @param abstains targets that `self` has not heard of itself yet, so that it has nothing to say about them.
 */
export function assess(
  view: MembershipView,
  observersPerNode: number,
  abstains: ReadonlySet<NodeId> = new Set(),
): Assessment {
  const { self, nodes, records } = view
  const liveness = new Map<NodeId, Liveness>()
  let ring: NodeId[] = []
  for (const node of [...nodes.keys()].sort()) {
    if (!records.has(node)) liveness.set(node, { kind: 'unknown' })
    else if (node !== self && judgedBySelf(view, node))
      liveness.set(node, { kind: 'down', observers: [self] })
    else {
      liveness.set(node, { kind: 'alive' })
      ring.push(node)
    }
  }
  if (!anyAlerts(view)) return { liveness, ring }
  for (;;) {
    const rings = ringsOf(ring, observersPerNode)
    const trusted = trustedBy(view, rings)
    const standing: NodeId[] = []
    for (const target of ring) {
      const says = new Map<NodeId, Say>()
      for (const observer of rings.observers.get(target) ?? []) {
        if (!trusted.has(observer) || (observer === self && abstains.has(target))) continue
        says.set(observer, sayOf(view, observer, target))
      }
      const found: Liveness = target === self ? { kind: 'alive' } : verdict(says)
      liveness.set(target, found)
      if (found.kind !== 'down' && found.kind !== 'agent-down') standing.push(target)
    }
    // Each further round has fewer nodes, so the loop ends.
    if (standing.length === ring.length) return { liveness, ring }
    ring = standing
  }
}

function anyAlerts({ nodes, records }: MembershipView): boolean {
  for (const [node, record] of records) if (record.alerts.size > 0 && nodes.has(node)) return true
  return false
}

/**
 * Who is alive, as a function of the alerts in the view: nothing else, no clock, no order of arrival. `observersPerNode`
 * must be the same on all nodes.
 */
export function livenessOf(
  view: MembershipView,
  observersPerNode: number = defaults.observersPerNode,
): LivenessMap {
  return assess(view, observersPerNode).liveness
}
