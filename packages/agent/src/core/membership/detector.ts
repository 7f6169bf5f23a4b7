import { type Alert, type NodeId, recordKey } from '@moot/crdt-state'
import { assess, isInForce, isNewer, type MembershipView } from './liveness.ts'
import { targetsOf } from './rings.ts'

/** What a probe found, as the mesh port says it. A sign of life that was heard without asking took no time. */
export type ProbeOutcome =
  | { readonly kind: 'answered'; readonly roundTripMs?: number }
  | { readonly kind: 'refused' | 'silent' }
  /** It never got as far as the other node. */
  | { readonly kind: 'unasked' }

export interface DetectorSettings {
  readonly observersPerNode: number
  readonly probeIntervalMs: number
  readonly probeTimeoutMinMs: number
  readonly probeTimeoutMaxMs: number
  readonly suspectAfterProbes: number
  readonly silentAfterMs: number
  readonly deafPatience: number
  readonly agentDownGraceMs: number
  readonly bootSyncTimeoutMs: number
  readonly returnedKeepMs: number
  readonly alertRefreshFirstMs: number
  readonly alertRefreshMaxMs: number
}

/** `nowMs` is monotonic; `wallMs` is only shown to people. */
interface Instant {
  readonly nowMs: number
  readonly wallMs: number
}
export type DetectorInput =
  | ({
      readonly kind: 'probe-result'
      readonly result: ProbeOutcome
      readonly sentAtMs: number
    } & Probe &
      Instant)
  | ({ readonly kind: 'tick' } & Instant)
  | ({ readonly kind: 'view'; readonly view: MembershipView } & Instant)

/** Probes in a row without an answer. `silent…`: those after the last refusal among them. Times: when they were sent. */
interface Missed {
  readonly count: number
  readonly silentCount: number
  readonly silentSinceMs: number
}

/** As TCP estimates it (RFC 6298), ms. */
interface RoundTrip {
  readonly smoothedMs: number
  readonly varianceMs: number
}

/** What this node knows of one node that it watches. */
interface Watch {
  /** Has it answered since this agent started, or since it became a target? */
  readonly heard: boolean
  readonly reachable: boolean
  readonly missed: Missed | undefined
  readonly roundTrip: RoundTrip | undefined
  /** A probe is under way. */
  readonly isAsked: boolean
  /** Only the silence of probes sent since then counts. */
  readonly countedFromMs: number
  readonly refusedSinceMs: number | undefined
  /** The host lives without its agent for longer than the grace: its refusals now count as silence. */
  readonly graceOver: boolean
  readonly returnedAtMs: number
  readonly refreshAtMs: number
  readonly refreshDelayMs: number
}

export interface DetectorState {
  readonly startedAtMs: number
  readonly lastTickMs: number | undefined
  /** Probes sent before this instant prove nothing by their silence: this agent itself was paused since. */
  readonly distrustedBeforeMs: number
  readonly view: MembershipView
  readonly targets: readonly NodeId[]
  readonly watches: ReadonlyMap<NodeId, Watch>
  /** The alerts that this node's record holds once all changes so far are written. */
  readonly alerts: ReadonlyMap<NodeId, Alert>
}

/** Alerts to write (undefined: to withdraw), by target. */
export type AlertChanges = ReadonlyMap<NodeId, Alert | undefined>

/** To be sent now. */
export interface Probe {
  readonly target: NodeId
  readonly timeoutMs: number
}

export interface DetectorStep {
  readonly state: DetectorState
  readonly probe: readonly Probe[]
  readonly changes: AlertChanges
}

export function startDetector(view: MembershipView, nowMs: number): DetectorState {
  return {
    startedAtMs: nowMs,
    lastTickMs: undefined,
    distrustedBeforeMs: nowMs,
    view,
    targets: [],
    watches: new Map(),
    // What this node said before it restarted still stands.
    alerts: new Map(view.records.get(view.self)?.alerts),
  }
}

/** The changes as entries of this node's record. */
export function alertEntries(changes: AlertChanges): ReadonlyMap<string, Alert | undefined> {
  return new Map([...changes].map(([target, alert]) => [recordKey.alert(target), alert]))
}

/**
 * One observer's part in membership: from probes to alerts. A pure state machine; what it says is evidence, and what
 * all observers' evidence means is `livenessOf`'s matter.
 */
export function stepDetector(
  state: DetectorState,
  input: DetectorInput,
  settings: DetectorSettings,
): DetectorStep {
  switch (input.kind) {
    case 'tick':
      return onTick(state, input, settings)
    case 'probe-result':
      return onProbeResult(state, input, settings)
    case 'view':
      return onView(state, input, settings)
  }
}

function newWatch(settings: DetectorSettings): Watch {
  return {
    heard: false,
    reachable: false,
    missed: undefined,
    roundTrip: undefined,
    isAsked: false,
    countedFromMs: 0,
    refusedSinceMs: undefined,
    graceOver: false,
    returnedAtMs: 0,
    refreshAtMs: 0,
    refreshDelayMs: settings.alertRefreshFirstMs,
  }
}

/** A copy of the state that rules change one after the other; `finish` makes the next state of it. */
class Draft {
  readonly before: DetectorState
  readonly settings: DetectorSettings
  readonly at: Instant
  readonly watches: Map<NodeId, Watch>
  readonly alerts: Map<NodeId, Alert>
  readonly changes = new Map<NodeId, Alert | undefined>()

  constructor(before: DetectorState, settings: DetectorSettings, at: Instant) {
    this.before = before
    this.settings = settings
    this.at = at
    this.watches = new Map(before.watches)
    this.alerts = new Map(before.alerts)
  }
  watch(target: NodeId): Watch {
    return this.watches.get(target) ?? newWatch(this.settings)
  }
  update(target: NodeId, changes: Partial<Watch>): Watch {
    const watch = { ...this.watch(target), ...changes }
    this.watches.set(target, watch)
    return watch
  }
  /** Says `evidence` about the target's record as the view has it. */
  say(view: MembershipView, target: NodeId, evidence: Alert['evidence']): void {
    const record = view.records.get(target)
    if (record === undefined) return
    const { epoch, seq } = record
    this.put({ target, evidence, epoch, seq, sinceMs: this.alerts.get(target)?.sinceMs ?? this.at.wallMs })
  }
  put(alert: Alert): void {
    this.alerts.set(alert.target, alert)
    this.changes.set(alert.target, alert)
  }
  withdraw(target: NodeId): void {
    if (this.alerts.delete(target)) this.changes.set(target, undefined)
  }
  /** Asks those of whom no answer is awaited yet. */
  ask(targets: readonly NodeId[]): readonly Probe[] {
    return targets
      .filter((target) => !this.watch(target).isAsked)
      .map((target) => ({
        target,
        timeoutMs: timeoutOf(this.update(target, { isAsked: true }), this.settings),
      }))
  }
  finish(changes: Partial<DetectorState>, probe: readonly Probe[] = []): DetectorStep {
    const state = { ...this.before, ...changes, watches: this.watches, alerts: this.alerts }
    return { state, probe, changes: this.changes }
  }
}

function onTick(
  state: DetectorState,
  input: Instant & { readonly kind: 'tick' },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  const { nowMs } = input
  const lateByMs = state.lastTickMs === undefined ? 0 : nowMs - state.lastTickMs - settings.probeIntervalMs
  // Lifeguard (Dadgar et al. 2018): an agent that was paused blames itself first, and counts anew.
  const paused = lateByMs > settings.probeIntervalMs
  for (const [target, watch] of draft.watches) {
    if (paused) draft.update(target, { missed: undefined })
    const alert = draft.alerts.get(target)
    if (alert?.evidence === 'refused' && !watch.graceOver && watch.refusedSinceMs !== undefined) {
      if (nowMs - watch.refusedSinceMs >= settings.agentDownGraceMs) {
        draft.update(target, { graceOver: true })
        draft.say(state.view, target, 'silent')
      }
    }
  }
  for (const [target, alert] of draft.alerts) {
    if (alert.evidence !== 'returned') continue
    const sinceMs = Math.max(draft.watch(target).returnedAtMs, state.startedAtMs)
    if (nowMs - sinceMs >= settings.returnedKeepMs) draft.withdraw(target)
  }
  return draft.finish(
    { lastTickMs: nowMs, distrustedBeforeMs: paused ? nowMs : state.distrustedBeforeMs },
    draft.ask(state.targets),
  )
}

function onProbeResult(
  state: DetectorState,
  input: DetectorInput & { readonly kind: 'probe-result' },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  const { target, result, sentAtMs, timeoutMs, nowMs } = input
  if (!state.view.nodes.has(target)) return draft.finish({})
  const before = draft.update(target, { isAsked: false })
  if (result.kind === 'unasked') return draft.finish({})
  if (result.kind === 'answered') {
    draft.update(target, {
      heard: true,
      reachable: true,
      missed: undefined,
      roundTrip: estimated(before.roundTrip, result.roundTripMs),
      refusedSinceMs: undefined,
      graceOver: false,
    })
    withdrawIfReturned(draft, state.view, target)
    return draft.finish({})
  }
  // A time limit that fired much too late says that this agent stood still, not that the other one did.
  const isLate = nowMs - sentAtMs - timeoutMs > settings.probeIntervalMs
  const counts = !isLate && sentAtMs >= state.distrustedBeforeMs && sentAtMs >= before.countedFromMs
  if (counts) {
    draft.update(target, {
      reachable: false,
      missed: missedOnceMore(before.missed, result.kind, sentAtMs),
      refusedSinceMs: result.kind === 'refused' ? (before.refusedSinceMs ?? nowMs) : before.refusedSinceMs,
    })
    accuse(draft, state, target)
  }
  // Whoever may be gone is asked again at once; who has been found so, or refuses, as often as all others.
  const tookItsTime = nowMs - sentAtMs >= settings.probeTimeoutMinMs
  const isUrgent = result.kind === 'silent' && tookItsTime && draft.alerts.get(target)?.evidence !== 'judged'
  return draft.finish({}, isUrgent && state.targets.includes(target) ? draft.ask([target]) : [])
}

function missedOnceMore(before: Missed | undefined, outcome: 'refused' | 'silent', sentAtMs: number): Missed {
  const count = (before?.count ?? 0) + 1
  if (outcome === 'refused') return { count, silentCount: 0, silentSinceMs: sentAtMs }
  const isFirst = before === undefined || before.silentCount === 0
  return {
    count,
    silentCount: (before?.silentCount ?? 0) + 1,
    silentSinceMs: isFirst ? sentAtMs : before.silentSinceMs,
  }
}

/** RFC 6298, section 2. */
function estimated(before: RoundTrip | undefined, tookMs: number | undefined): RoundTrip | undefined {
  if (tookMs === undefined) return before
  if (before === undefined) return { smoothedMs: tookMs, varianceMs: tookMs / 2 }
  const { smoothedMs, varianceMs } = before
  return {
    smoothedMs: smoothedMs + (tookMs - smoothedMs) / 8,
    varianceMs: varianceMs + (Math.abs(tookMs - smoothedMs) - varianceMs) / 4,
  }
}

function timeoutOf({ roundTrip }: Watch, { probeTimeoutMinMs, probeTimeoutMaxMs }: DetectorSettings): number {
  // Nothing known yet: as far as it may be.
  if (roundTrip === undefined) return probeTimeoutMaxMs
  const patienceMs = Math.ceil(roundTrip.smoothedMs + 4 * roundTrip.varianceMs)
  return Math.min(Math.max(patienceMs, probeTimeoutMinMs), probeTimeoutMaxMs)
}

/** What so many probes without an answer say; undefined: nothing yet. */
function evidenceOf(draft: Draft, state: DetectorState, target: NodeId): Alert['evidence'] | undefined {
  const { settings } = draft
  const { missed, graceOver } = draft.watch(target)
  if (missed === undefined || missed.count < settings.suspectAfterProbes) return undefined
  const silentForMs = missed.silentCount === 0 ? 0 : draft.at.nowMs - missed.silentSinceMs
  const patience = isDeaf(draft, state) ? settings.deafPatience : 1
  const isSilent =
    missed.silentCount >= settings.suspectAfterProbes && silentForMs >= settings.silentAfterMs * patience
  if (graceOver || isSilent) return 'silent'
  return missed.silentCount < missed.count ? 'refused' : 'suspected'
}

/** Lifeguard's local health (Dadgar et al. 2018): who hears nothing of most others may be the one that is ill. */
function isDeaf(draft: Draft, { targets }: DetectorState): boolean {
  const missing = targets.filter((target) => draft.watch(target).missed !== undefined).length
  return targets.length > 2 && missing * 2 > targets.length
}

/** Consecutive probes failed: says so, or says so again about the newer record that came meanwhile. */
function accuse(draft: Draft, state: DetectorState, target: NodeId): void {
  const { settings } = draft
  const { nowMs } = draft.at
  const watch = draft.watch(target)
  const record = state.view.records.get(target)
  const evidence = evidenceOf(draft, state, target)
  if (record === undefined || evidence === undefined) return
  // After a start of all agents at once the others need time too.
  if (!watch.heard && nowMs - state.startedAtMs < settings.bootSyncTimeoutMs) return
  const alert = draft.alerts.get(target)
  if (alert === undefined || alert.evidence === 'returned') {
    draft.update(target, {
      refreshAtMs: nowMs + settings.alertRefreshFirstMs,
      refreshDelayMs: settings.alertRefreshFirstMs,
    })
    draft.say(state.view, target, evidence)
    return
  }
  // An older, graver word stands: less is not said until it answers.
  if (evidence === 'suspected') return
  // A host that died after its agent did, or that came back without it. A judgement stands until the agent is back.
  if (alert.evidence !== evidence && alert.evidence !== 'judged') {
    draft.say(state.view, target, evidence)
    return
  }
  if (isNewer(record, alert) && nowMs >= watch.refreshAtMs) {
    const delayMs = Math.min(watch.refreshDelayMs * 2, settings.alertRefreshMaxMs)
    draft.update(target, { refreshAtMs: nowMs + delayMs, refreshDelayMs: delayMs })
    draft.say(state.view, target, evidence)
  }
}

/** Reached again. An unreachable agent's claims held all along; a silent node's need a record newer than the alert. */
function withdrawIfReturned(draft: Draft, view: MembershipView, target: NodeId): void {
  const alert = draft.alerts.get(target)
  const record = view.records.get(target)
  if (alert === undefined || !isInForce(alert) || record === undefined) return
  if (!draft.watch(target).reachable) return
  if (alert.evidence === 'refused' || alert.evidence === 'suspected') draft.withdraw(target)
  else if (isNewer(record, alert)) {
    draft.update(target, { returnedAtMs: draft.at.nowMs })
    // The version stays: whoever has only that old record must not count it.
    draft.put({ ...alert, evidence: 'returned' })
  }
}

function onView(
  state: DetectorState,
  input: DetectorInput & { readonly kind: 'view' },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  const { view } = input
  const { self, nodes, records } = view
  for (const target of draft.alerts.keys()) if (!nodes.has(target)) draft.withdraw(target)
  for (const target of draft.watches.keys()) if (!nodes.has(target)) draft.watches.delete(target)

  const { ring, liveness: asAll, isDisputed } = assess(view, settings.observersPerNode)
  // What the others say without this node's silence being taken for a good word.
  const unheard = (): NodeId[] =>
    [...nodes.keys()].filter((node) => !draft.watch(node).heard && !draft.alerts.has(node))
  const liveness = isDisputed ? assess(view, settings.observersPerNode, new Set(unheard())).liveness : asAll
  const spoken = [...nodes.keys()].filter((node) => records.has(node))
  const accused = [...draft.alerts.values()].filter((alert) => isInForce(alert)).map((alert) => alert.target)
  // Those that the full rings say stay watched although they have fallen: their observers must tell of their return.
  const targets = [
    ...new Set([
      ...targetsOf(self, spoken, settings.observersPerNode),
      ...targetsOf(self, ring, settings.observersPerNode),
      ...accused,
    ]),
  ].filter((target) => target !== self)
  for (const target of targets) {
    if (!draft.watches.has(target)) draft.watches.set(target, newWatch(settings))
    countAnew(draft, view, target)
    judge(draft, view, target, liveness.get(target)?.kind === 'down')
    withdrawIfReturned(draft, view, target)
  }
  answerAccusers(draft, view)
  return draft.finish({ view, targets })
}

/**
 * An accused node has published: it lived since the alert, or its news came by way of others. It takes as many silent
 * probes as the first time to accuse it again. (One that was under way while a partition healed proves nothing.)
 */
function countAnew(draft: Draft, view: MembershipView, target: NodeId): void {
  const before = draft.before.view.records.get(target)
  const record = view.records.get(target)
  if (before === undefined || record === undefined || !isNewer(record, before)) return
  if (isInForce(draft.alerts.get(target))) {
    draft.update(target, { missed: undefined, countedFromMs: draft.at.nowMs })
  }
}

/** Writes this view's verdict down, so that it is not forgotten while the alerts that made it are withdrawn one by one. */
function judge(draft: Draft, view: MembershipView, target: NodeId, down: boolean): void {
  const alert = draft.alerts.get(target)
  const record = view.records.get(target)
  if (!down || record === undefined) return
  const { heard, reachable } = draft.watch(target)
  // A new observer (just started, or new on the rings) takes the others' verdict over until it has heard for itself.
  const adopts =
    alert === undefined &&
    !heard &&
    [...view.nodes.keys()].some((node) => {
      const theirs = view.records.get(node)?.alerts.get(target)
      return theirs?.evidence === 'judged' && !isNewer(record, theirs)
    })
  if (adopts || (alert?.evidence === 'silent' && !reachable)) draft.say(view, target, 'judged')
}

/**
 * An alert about this node's newest record: publishing anything makes a newer one, which is what the accuser waits for.
 * (SWIM's incarnation numbers, with the record's sequence.)
 */
function answerAccusers(draft: Draft, view: MembershipView): void {
  const own = view.records.get(view.self)
  if (own === undefined) return
  const answered = draft.alerts.get(view.self)
  // Said already, and on its way to the disk.
  if (answered !== undefined && !isNewer(own, answered)) return
  for (const [node, record] of view.records) {
    const alert = record.alerts.get(view.self)
    if (node === view.self || !view.nodes.has(node) || alert === undefined || isNewer(own, alert)) continue
    if (alert.evidence !== 'silent' && alert.evidence !== 'judged') continue
    draft.update(view.self, { returnedAtMs: draft.at.nowMs })
    draft.say(view, view.self, 'returned')
    return
  }
}
