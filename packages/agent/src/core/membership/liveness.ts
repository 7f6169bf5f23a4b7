import type { Alert, NodeId, NodeRecord } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { type Rings, ringsOf } from './rings.ts'

/**
 * What the view says about a node's life. `routable`: may traffic still be sent there. `claimsHold`: do its claims
 * still count as incumbency.
 *
 * - `alive`: no alert, and a record.
 * - `suspect`: some observers' alerts, not enough: claims hold, no traffic should go there and no new task is placed there.
 * - `agent-down`: enough observers were refused: its containers serve, claims hold, nothing new is placed there,
 *   and only after `agentDownGraceMs` does it become `down`.
 * - `down`: enough observers hear nothing: its claims are void until it has published a record newer than the
 *   verdict and the alerts are withdrawn. `isStale`: it has published since, as far as enough of them know.
 * - `unknown`: a member that has never published a record here.
 *
 * `isHeard`: of those who watch it at least as many have nothing to say against it as have. One alone may be slow to say so, where it
 * comes and goes.
 * `isOnProbation`: it is back after it was away for long or often. Its claims count after those of others that run, and it
 * is given half as many new tasks.
 */
export type Liveness =
  | { readonly kind: 'alive'; readonly isOnProbation?: true }
  | {
      readonly kind: 'suspect'
      readonly observers: readonly NodeId[]
      readonly isHeard?: true
      readonly isOnProbation?: true
    }
  | { readonly kind: 'agent-down'; readonly observers: readonly NodeId[]; readonly isOnProbation?: true }
  | { readonly kind: 'down'; readonly observers: readonly NodeId[]; readonly isStale?: true }
  | { readonly kind: 'unknown' }

/** In doubt, and hardly anybody who watches it hears it: it may be gone, or whoever asks is cut off from it. */
export function isUnheard(liveness: Liveness | undefined): boolean {
  return liveness?.kind === 'suspect' && liveness.isHeard !== true
}

export function isOnProbation(liveness: Liveness | undefined): boolean {
  return liveness !== undefined && 'isOnProbation' in liveness && liveness.isOnProbation
}

export function isFallen(kind: Liveness['kind']): boolean {
  return kind === 'down' || kind === 'agent-down'
}

/** It answers, or there is doubt of it: not given up, and what it does counts. */
export function isUp(liveness: Liveness | undefined): boolean {
  return liveness?.kind === 'alive' || liveness?.kind === 'suspect'
}

export type LivenessMap = ReadonlyMap<NodeId, Liveness>
/** The part of a view that says who is alive. */
export interface MembershipView {
  readonly self: NodeId
  /** Members, by id. */
  readonly nodes: ReadonlyMap<NodeId, unknown>
  readonly records: ReadonlyMap<NodeId, NodeRecord>
}

/** What an observer's record says of a target. */
interface Say {
  /** `suspects`: it has missed some answers: no traffic there, and no verdict yet. */
  readonly kind: 'vouches' | 'suspects' | 'silent' | 'refused'
  /** The target has published since, so that the alert may be past. */
  readonly stale: boolean
  readonly isProbation: boolean
}

export interface Version {
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

const vouching: Say = { kind: 'vouches', stale: false, isProbation: false }

function sayOf(view: MembershipView, observer: NodeId, target: NodeId): Say {
  const alert = view.records.get(observer)?.alerts.get(target)
  const record = view.records.get(target)
  if (alert === undefined || record === undefined) return vouching
  const stale = isNewer(record, alert)
  const isProbation = alert.probation === true
  switch (alert.evidence) {
    // Whoever has only the record from before the return still has nothing that counts.
    case 'returned':
      return { kind: stale ? 'vouches' : 'silent', stale: false, isProbation }
    case 'suspected':
      return { kind: 'suspects', stale, isProbation }
    case 'refused':
      return { kind: 'refused', stale, isProbation }
    case 'silent':
    case 'judged':
      return { kind: 'silent', stale, isProbation }
  }
}

/** This node's own verdict stands until a newer record came, whoever vouches meanwhile (after a partition heals). */
function judgedBySelf(view: MembershipView, target: NodeId): boolean {
  const alert = view.records.get(view.self)?.alerts.get(target)
  const record = view.records.get(target)
  if (alert === undefined || record === undefined || isNewer(record, alert)) return false
  return alert.evidence === 'judged' || alert.evidence === 'returned'
}

/** A say that counts. */
interface Word extends Say {
  /** It was asked to watch the target by the rings of all members, so that its not accusing it means something. */
  readonly mayVouch: boolean
}

/** Nobody is given up at the word of one alone, where another could have been asked. */
const doubtersMin = 2

/**
 * A verdict takes more accusers than vouchers: one of one with two nodes, two of two with three, three of four from
 * five nodes on. An observer that only suspects is not convinced yet, and counts with the vouchers. A stale alert abstains while anybody
 * vouches, so that after a partition the alerts which the other side has yet to withdraw condemn nobody here. A refused
 * observer proves that the host lives: `down` takes more silent ones than vouching and refused ones together.
 *
 * @param needed so many must accuse or suspect it at least.
 */
function verdict(says: ReadonlyMap<NodeId, Word>, needed: number): Liveness {
  const all = [...says.values()]
  const accusing = all.filter(accuses)
  const vouches = all.filter((say) => say.mayVouch && !accuses(say)).length
  const counted = accusing.filter((say) => vouches === 0 || !say.stale)
  const silent = counted.filter((say) => say.kind === 'silent').length
  const refused = counted.length - silent
  const observers = [...says]
    .filter(([, { kind }]) => kind !== 'vouches')
    .map(([observer]) => observer)
    .toSorted()
  const suspecting = all.filter(({ kind }) => kind === 'suspects').length
  const isEnough = counted.length + suspecting >= needed
  if (isEnough && silent > vouches + refused) {
    const fresh = counted.filter((say) => say.kind === 'silent' && !say.stale).length
    return { kind: 'down', observers, ...(fresh <= vouches + refused && { isStale: true }) }
  }
  const probation = saysProbation(says) ? ({ isOnProbation: true } as const) : {}
  if (isEnough && counted.length > vouches) return { kind: 'agent-down', observers, ...probation }
  if (observers.length === 0) return { kind: 'alive', ...probation }
  const hearing = all.filter((say) => say.mayVouch && say.kind === 'vouches').length
  const isHeard = hearing >= observers.length
  return { kind: 'suspect', observers, ...(isHeard && { isHeard }), ...probation }
}

/** At least half of those that reach it say so; of one whom nobody reaches, those that accuse it. */
function saysProbation(says: ReadonlyMap<NodeId, Word>): boolean {
  const all = [...says.values()]
  const reaching = all.filter((say) => !accuses(say))
  const asked = reaching.length > 0 ? reaching : all
  const sayingSo = asked.filter(({ isProbation }) => isProbation).length
  return sayingSo > 0 && sayingSo * 2 >= asked.length
}

/** One look at a view: what is the same for every round of `assess`. */
interface Look {
  readonly view: MembershipView
  /** Of all members that have spoken: the same for everybody who has the same records. */
  readonly rings: Rings
  /** Whoever says something other than good of the target, whether it is on the rings to watch it or not. */
  readonly accusers: ReadonlyMap<NodeId, readonly NodeId[]>
  /** What `self` says nothing about, since it has not heard for itself yet. */
  readonly abstains: ReadonlySet<NodeId>
}

function saysNothing({ kind, isProbation }: Say): boolean {
  return kind === 'vouches' && !isProbation
}

function accusersIn(view: MembershipView): ReadonlyMap<NodeId, readonly NodeId[]> {
  const accusers = new Map<NodeId, NodeId[]>()
  for (const [observer, record] of view.records) {
    if (!view.nodes.has(observer)) continue
    for (const target of record.alerts.keys()) {
      if (target === observer || saysNothing(sayOf(view, observer, target))) continue
      const known = accusers.get(target)
      if (known === undefined) accusers.set(target, [observer])
      else known.push(observer)
    }
  }
  return accusers
}

/** Some of the members. */
interface Trusted {
  has(node: NodeId): boolean
}

/**
 * Whose vouching counts: this node itself, whomever it watches and reaches, whomever these watch and reach, and so on.
 * The dead and the other side of a partition are not among them: that their records hold no alert means nothing.
 *
 * @param orInDoubt those too who would be among them if whoever has not been found gone yet were there.
 */
function trustedBy(
  { view, rings, accusers }: Look,
  standing: Standing,
  ownTargets: readonly NodeId[],
  { orInDoubt = false }: { readonly orInDoubt?: boolean } = {},
): Trusted {
  const { nodes, placeOf, targetPlaces } = rings
  const isTrusted = new Uint8Array(nodes.length)
  const queue = new Uint32Array(nodes.length)
  let queued = 0
  const isAccused = new Uint8Array(nodes.length)
  for (const target of accusers.keys()) isAccused[placeOf.get(target) ?? nodes.length] = 1
  const reach = (observer: NodeId, place: number): void => {
    const target = nodes[place]
    if (target === undefined || isTrusted[place] === 1 || standing.isGone[place] === 1) return
    if (isAccused[place] === 1) {
      const say = sayOf(view, observer, target)
      if (orInDoubt ? accuses(say) : say.kind !== 'vouches') return
    }
    isTrusted[place] = 1
    queue[queued++] = place
  }
  const self = placeOf.get(view.self)
  if (self !== undefined) {
    isTrusted[self] = 1
    queue[queued++] = self
  }
  // Some of these may not have been asked yet: this node's silence about them is no word against anybody's. `returned` is one.
  for (const target of ownTargets) {
    const place = placeOf.get(target) ?? nodes.length
    const hasSpoken = view.records.get(view.self)?.alerts.get(target)?.evidence === 'returned'
    if (orInDoubt || hasSpoken || isAccused[place] !== 1) reach(view.self, place)
  }
  for (let next = 0; next < queued; next++) {
    const observer = queue[next] ?? 0
    for (const place of targetPlaces[observer] ?? []) {
      if (isTrusted[place] !== 1) reach(nodes[observer] ?? view.self, place)
    }
  }
  return { has: (node) => node === view.self || isTrusted[placeOf.get(node) ?? nodes.length] === 1 }
}

function accuses({ kind }: Say): boolean {
  return kind === 'silent' || kind === 'refused'
}

/**
 * All that counts about one target. Vouchers: its observers on the rings of all members, as far as they are trusted (a
 * node that was not asked to watch has no alert either). Accusers: every standing node that no trusted one accuses.
 */
function saysAbout(
  { view, rings, accusers, abstains }: Look,
  target: NodeId,
  { standing, trusted }: Round,
): ReadonlyMap<NodeId, Word> {
  const { self } = view
  const says = new Map<NodeId, Word>()
  const observers = rings.observers.get(target) ?? []
  for (const observer of observers) {
    if (trusted.has(observer)) says.set(observer, { ...sayOf(view, observer, target), mayVouch: true })
  }
  for (const accuser of accusers.get(target) ?? []) {
    if (says.has(accuser)) continue
    const isAccused = (accusers.get(accuser) ?? []).some(
      (by) => trusted.has(by) && accuses(sayOf(view, by, accuser)),
    )
    const counts = trusted.has(accuser) || (standing.has(accuser) && !isAccused)
    const say = sayOf(view, accuser, target)
    // Only that the target came and went is known of one that nobody trusted hears: it does not vouch for it now.
    const mayVouch = observers.includes(accuser) && say.kind !== 'vouches'
    if (counts) says.set(accuser, { ...say, mayVouch })
  }
  if (abstains.has(target)) says.delete(self)
  return says
}

/** Members that have spoken and not fallen. */
class Standing {
  readonly isGone: Uint8Array
  readonly #rings: Rings
  #members: readonly NodeId[] | undefined

  constructor(rings: Rings) {
    this.#rings = rings
    this.isGone = new Uint8Array(rings.nodes.length)
  }
  has(node: NodeId): boolean {
    return this.isGone[this.#rings.placeOf.get(node) ?? this.isGone.length] === 0
  }
  delete(node: NodeId): void {
    this.isGone[this.#rings.placeOf.get(node) ?? this.isGone.length] = 1
    this.#members = undefined
  }
  get members(): readonly NodeId[] {
    this.#members ??= this.#rings.nodes.filter((_, place) => this.isGone[place] === 0)
    return this.#members
  }
}

interface Round {
  readonly standing: Standing
  /** Of those that stand. */
  readonly rings: Rings
  readonly trusted: Trusted
}

export interface Assessment {
  readonly liveness: LivenessMap
  /** Members that have not fallen: the rings of these tell a node whom to watch besides its own on the full rings. */
  readonly ring: readonly NodeId[]
  /** Does anybody accuse anybody? If not, nobody's abstaining changes anything. */
  readonly isDisputed: boolean
}

/**
 * Liveness round by round: whoever falls neither vouches nor accuses in the next round, and those that were watched by
 * the fallen alone get new observers, so that after a mass failure the survivors learn of all of the dead.
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
  const spoken: NodeId[] = []
  for (const node of nodes.keys()) {
    if (records.has(node)) spoken.push(node)
    liveness.set(node, records.has(node) ? { kind: 'alive' } : { kind: 'unknown' })
  }
  const accusers = accusersIn(view)
  if (accusers.size === 0) return { liveness, ring: spoken, isDisputed: false }
  const look: Look = { view, rings: ringsOf(spoken, observersPerNode), accusers, abstains }
  const standing = new Standing(look.rings)
  for (const target of accusers.keys()) {
    if (target === self || !standing.has(target) || !judgedBySelf(view, target)) continue
    standing.delete(target)
    liveness.set(target, { kind: 'down', observers: [self] })
  }
  for (;;) {
    const rings = ringsOf(standing.members, observersPerNode)
    const round: Round = {
      standing,
      rings,
      trusted: trustedBy(look, standing, rings.targets.get(self) ?? []),
    }
    const found = verdictsOf(look, round)
    for (const [target, verdictOn] of found) liveness.set(target, verdictOn)
    const fallen = [...found].filter(([, { kind }]) => isFallen(kind))
    // Each further round has fewer nodes standing, so the loop ends.
    if (fallen.length === 0) {
      // Of itself a node believes the others all but that it is gone: so all place alike, and have one order of claims.
      if (standing.has(self)) liveness.set(self, verdict(saysAbout(look, self, round), Infinity))
      return { liveness, ring: standing.members, isDisputed: true }
    }
    for (const [node] of fallen) standing.delete(node)
  }
}

/** On all that are accused and stand. Whom several accuse fall first: only then is it clear who could be asked of the others. */
function verdictsOf(look: Look, round: Round): ReadonlyMap<NodeId, Liveness> {
  const { self } = look.view
  const says = new Map<NodeId, ReadonlyMap<NodeId, Word>>()
  for (const target of look.accusers.keys()) {
    if (target !== self && round.standing.has(target)) says.set(target, saysAbout(look, target, round))
  }
  const verdicts = new Map([...says].map(([target, about]) => [target, verdict(about, doubtersMin)]))
  if ([...verdicts.values()].some(({ kind }) => isFallen(kind))) return verdicts
  // Whoever is trusted is askable too: for most, nothing more has to be worked out.
  const few = [...says].filter(([target]) => askedOf(look, target, round.rings, round.trusted) < doubtersMin)
  if (few.length === 0) return verdicts
  const ownTargets = round.rings.targets.get(self) ?? []
  const askable = trustedBy(look, round.standing, ownTargets, { orInDoubt: true })
  const alone = new Map<NodeId, Liveness>()
  for (const [target, about] of few) {
    const asked = askedOf(look, target, round.rings, askable)
    if (asked >= doubtersMin) continue
    const found = verdict(about, asked)
    if (isFallen(found.kind)) alone.set(target, found)
  }
  // Those that this node itself misses first: of the next ones it may be there to be asked then.
  const own = [...alone].filter(([target]) => says.get(target)?.has(self) === true)
  for (const [target, found] of own.length > 0 ? own : alone) verdicts.set(target, found)
  return verdicts
}

/**
 * How many watch this target, on the rings of all or of those that stand, whose word may yet count: whoever doubts all whom it
 * watches has a bad link itself, for all it knows, and judges nobody alone.
 */
function askedOf(look: Look, target: NodeId, rings: Rings, askable: Trusted): number {
  const asked = new Set([...(look.rings.observers.get(target) ?? []), ...(rings.observers.get(target) ?? [])])
  if (look.abstains.has(target)) asked.delete(look.view.self)
  return [...asked].filter((node) => askable.has(node)).length
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
