import { type Alert, type NodeId, recordKey } from '@moot/crdt-state'
import { assess, isInForce, isNewer, type MembershipView } from './liveness.ts'
import { onceMore, pauseAfter } from './flaps.ts'
import {
  type AlertChanges,
  type DetectorInput,
  type DetectorSettings,
  type DetectorState,
  type DetectorStep,
  Draft,
  type Instant,
} from './detector-state.ts'
import { heardOther, heardWitness, type WitnessWord } from './island.ts'
import { isAway, learn, lookAround, nothingToAsk } from './own-solitude.ts'
import { targetsOf } from './rings.ts'
import { estimated, lossAfter, missedOnceMore, newWatch } from './watch.ts'

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
    case 'connected':
      return onConnected(state, input, settings)
    case 'witness':
      return onWitness(state, input, settings)
    case 'view':
      return onView(state, input, settings)
  }
}

/**
 * Whom this node misses and does not say so: what comes and goes is believed ever more slowly, so that it does not become gossip for
 * ever. This node's own word for them in its record is void meanwhile.
 */
export function missedUnsaid(
  { targets, watches, alerts }: DetectorState,
  { suspectAfterProbes }: DetectorSettings,
): readonly NodeId[] {
  return targets.filter(
    (target) =>
      (watches.get(target)?.missed?.count ?? 0) >= suspectAfterProbes && !isInForce(alerts.get(target)),
  )
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
  const asks = lookAround(draft, state)
  for (const [target, alert] of draft.alerts) if (!isInForce(alert)) endMark(draft, target)
  return draft.finish(
    { lastTickMs: nowMs, distrustedBeforeMs: paused ? nowMs : state.distrustedBeforeMs },
    [...draft.ask(state.targets), ...asks.probe],
    asks.askWitness,
  )
}

function onProbeResult(
  state: DetectorState,
  input: DetectorInput & { readonly kind: 'probe-result' },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  const { target, result, sentAtMs, timeoutMs, nowMs } = input
  const known = draft.watches.get(target)
  // Whatever became of it meanwhile, it can be asked again.
  if (known !== undefined) draft.update(target, { isAsked: false })
  if (!state.view.nodes.has(target)) return draft.finish({})
  const isThere = result.kind === 'answered' || result.kind === 'refused'
  learn(draft, heardOther(draft.solitude, { node: target, isThere }, nowMs, settings))
  // Asked only because nobody else answers: it is not this node's to accuse.
  if (!state.targets.includes(target)) return draft.finish({})
  const before = draft.watch(target)
  if (result.kind === 'unasked') return draft.finish({})
  if (result.kind === 'answered') {
    draft.update(target, {
      heard: true,
      answeredAtMs: nowMs,
      answeringSinceMs:
        before.missed === undefined && before.answeredAtMs !== undefined ? before.answeringSinceMs : nowMs,
      reachable: true,
      missed: undefined,
      isTroubled: false,
      troubleAtMs: before.isTroubled ? nowMs : before.troubleAtMs,
      roundTrip: estimated(before.roundTrip, result.roundTripMs),
      loss: lossAfter(before, nowMs, settings.silentAfterMs),
      refusedSinceMs: undefined,
      graceOver: false,
    })
    withdrawIfReturned(draft, state.view, target)
    return draft.finish({})
  }
  // A time limit that fired much too late says that this agent stood still, not that the other one did.
  const isLate = nowMs - sentAtMs - timeoutMs > settings.probeIntervalMs
  let asks = nothingToAsk
  const counts = !isLate && sentAtMs >= state.distrustedBeforeMs && sentAtMs >= before.countedFromMs
  if (counts) {
    const missed = missedOnceMore(before.missed, result.kind, sentAtMs)
    draft.update(target, {
      reachable: false,
      missed,
      isTroubled: before.isTroubled || missed.count >= settings.suspectAfterProbes,
      refusedSinceMs: result.kind === 'refused' ? (before.refusedSinceMs ?? nowMs) : before.refusedSinceMs,
    })
    asks = lookAround(draft, state)
    accuse(draft, state, target)
  }
  // Whoever may be gone is asked again at once; who has been found so, or refuses, as often as all others.
  const tookItsTime = nowMs - sentAtMs >= settings.probeTimeoutMinMs
  const isUrgent = result.kind === 'silent' && tookItsTime && draft.alerts.get(target)?.evidence !== 'judged'
  return draft.finish({}, [...asks.probe, ...(isUrgent ? draft.ask([target]) : [])], asks.askWitness)
}

/** Whoever was missed is asked at once: the sooner its return is known, the less is placed anew that it still runs. */
function onConnected(
  state: DetectorState,
  input: Instant & { readonly kind: 'connected'; readonly node: NodeId },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  const isMissed = state.targets.includes(input.node) && isInForce(draft.alerts.get(input.node))
  return draft.finish({}, isMissed ? draft.ask([input.node]) : [])
}

function onWitness(
  state: DetectorState,
  input: Instant & { readonly kind: 'witness'; readonly word: WitnessWord },
  settings: DetectorSettings,
): DetectorStep {
  const draft = new Draft(state, settings, input)
  learn(draft, heardWitness(draft.solitude, input.word, input.nowMs, settings))
  return draft.finish({})
}

/** Once it has stood for long enough; a probation, without trouble for as long. */
function endMark(draft: Draft, target: NodeId): void {
  const { settings, at, before } = draft
  const { returnedAtMs, isTroubled, troubleAtMs, returns } = draft.watch(target)
  const isProbation = draft.alerts.get(target)?.probation === true
  const keepMs = isProbation ? probationMs(returns.count, settings) : settings.returnedKeepMs
  // What was said before this agent started began then at the latest.
  const sinceMs = Math.max(returnedAtMs, before.startedAtMs, isProbation ? troubleAtMs : 0)
  if (at.nowMs - sinceMs < keepMs || (isProbation && isTroubled)) return
  if (draft.watches.has(target)) draft.update(target, { mark: undefined })
  draft.withdraw(target)
}

/** What so many probes without an answer say; undefined: nothing yet. */
function evidenceOf(draft: Draft, state: DetectorState, target: NodeId): Alert['evidence'] | undefined {
  const { settings } = draft
  const { missed, graceOver } = draft.watch(target)
  if (missed === undefined || missed.count < settings.suspectAfterProbes) return undefined
  const isGone = graceOver || isSilent(draft, state, target)
  if (isGone && !isAway(draft)) return 'silent'
  return missed.silentCount < missed.count ? 'refused' : 'suspected'
}

/**
 * Nothing was heard of it for long enough: for much longer where that proves little, as the link loses much or comes and goes. Where
 * another observer has waited in full, this one need not (Lifeguard's confirmations): it may have begun to ask an interval later.
 */
function isSilent(draft: Draft, state: DetectorState, target: NodeId): boolean {
  const { settings, at } = draft
  const { missed, mark, returns, isFlapping, loss } = draft.watch(target)
  if (missed === undefined || missed.silentCount < settings.suspectAfterProbes) return false
  const patience = Math.max(
    isDeaf(draft, state) ? settings.deafPatience : 1,
    loss >= settings.lossyShare ? settings.lossyPatience : 1,
  )
  const flapMs =
    mark?.probation === true && isFlapping
      ? Math.min(probationMs(returns.count, settings) / 2, settings.flapPauseMaxMs)
      : 0
  const needsMs = Math.max(settings.silentAfterMs * patience, flapMs)
  const silentMs = at.nowMs - missed.silentSinceMs
  if (silentMs >= needsMs) return true
  const isPatient = needsMs > settings.silentAfterMs
  const isNearly = silentMs >= needsMs - settings.probeIntervalMs
  return !isPatient && isNearly && isConfirmed(draft, state.view, target)
}

/** Another observer, which this node does not doubt, has heard nothing of the target for long enough, nor has anybody since. */
function isConfirmed({ alerts }: Draft, view: MembershipView, target: NodeId): boolean {
  return someOtherSays(
    view,
    target,
    ({ evidence }, node) => (evidence === 'silent' || evidence === 'judged') && !isInForce(alerts.get(node)),
  )
}

/** Whether another member says such a thing of the target's newest record. */
function someOtherSays(
  { self, nodes, records }: MembershipView,
  target: NodeId,
  is: (alert: Alert, by: NodeId) => boolean,
): boolean {
  const record = records.get(target)
  if (record === undefined) return false
  for (const node of nodes.keys()) {
    if (node === self || node === target) continue
    const theirs = records.get(node)?.alerts.get(target)
    if (theirs !== undefined && !isNewer(record, theirs) && is(theirs, node)) return true
  }
  return false
}

/** Of whoever is back for the nth time. */
function probationMs(returns: number, { returnedKeepMs, probationMaxMs }: DetectorSettings): number {
  return Math.min(returnedKeepMs * 2 ** Math.max(0, returns - 1), probationMaxMs)
}

/**
 * Lifeguard's local health (Dadgar et al. 2018): who hears nothing of most others may be the one that is ill. Of whom another
 * hears nothing either, or who has been dead for long, says nothing about this node's ears.
 */
function isDeaf(draft: Draft, { targets, view }: DetectorState): boolean {
  const isUnheard = (target: NodeId): boolean => (draft.watch(target).missed?.silentCount ?? 0) > 0
  const telling = targets.filter(
    (target) =>
      draft.alerts.get(target)?.evidence !== 'judged' &&
      !(isUnheard(target) && isConfirmed(draft, view, target)),
  )
  return telling.length > 2 && telling.filter(isUnheard).length * 2 > telling.length
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
  if (alert === undefined || !isInForce(alert)) {
    const { suspicions } = watch
    if (evidence === 'suspected') {
      if (nowMs - suspicions.lastAtMs < pauseAfter(suspicions.count, settings)) return
      draft.update(target, { suspicions: onceMore(suspicions, nowMs, settings) })
    }
    draft.update(target, {
      mark: watch.mark ?? alert,
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
  const { settings } = draft
  const { nowMs } = draft.at
  const alert = draft.alerts.get(target)
  const record = view.records.get(target)
  const { reachable, answeringSinceMs, mark, refusals, returns, saidSilentAtMs } = draft.watch(target)
  if (alert === undefined || !isInForce(alert) || record === undefined || !reachable) return
  if (alert.evidence === 'refused' || alert.evidence === 'suspected') {
    const isFlapping = nowMs - answeringSinceMs < pauseAfter(refusals.count - 1, settings)
    if (alert.evidence === 'refused' && isFlapping) return
    if (mark === undefined) draft.withdraw(target)
    else draft.put(mark)
  } else if (isNewer(record, alert)) {
    const after = onceMore(returns, nowMs, settings)
    // Said before this agent started: long ago, for all that is known.
    const wasLong = saidSilentAtMs === undefined || nowMs - saidSilentAtMs >= settings.probationAfterMs
    // The version stays: whoever has only that old record must not count it.
    const isProbation = wasLong || after.count > 1
    const next: Alert = { ...alert, evidence: 'returned', ...(isProbation && { probation: true }) }
    const isFlapping = record.epoch === alert.epoch && !wentWithOthers(draft, target)
    draft.update(target, { returnedAtMs: nowMs, returns: after, isFlapping, mark: next })
    draft.put(next)
  }
}

/** Others went at the same time: a switch or this node's own link, and nothing that tells of the host. */
function wentWithOthers({ watches, settings }: Draft, target: NodeId): boolean {
  const atMs = watches.get(target)?.saidSilentAtMs
  return [...watches].some(
    ([other, { saidSilentAtMs }]) =>
      other !== target &&
      atMs !== undefined &&
      saidSilentAtMs !== undefined &&
      Math.abs(saidSilentAtMs - atMs) < settings.silentAfterMs,
  )
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
  for (const target of state.targets) if (!targets.includes(target)) unwatch(draft, target)
  for (const target of targets) {
    if (!draft.watches.has(target)) draft.watches.set(target, newWatch(settings))
    countAnew(draft, view, target)
    // The others need not wait for this node's next probe.
    if (draft.alerts.get(target)?.evidence === 'suspected') accuse(draft, { ...state, view, targets }, target)
    judge(draft, view, target, liveness.get(target)?.kind === 'down')
    withdrawIfReturned(draft, view, target)
  }
  answerAccusers(draft, view)
  return draft.finish({ view, targets })
}

/** What was found so far is old by the time it is watched again. */
function unwatch(draft: Draft, target: NodeId): void {
  const { heard, answeredAtMs, reachable, missed, isTroubled, refusedSinceMs, graceOver } = newWatch(
    draft.settings,
  )
  if (draft.watches.has(target))
    draft.update(target, {
      heard,
      answeredAtMs,
      reachable,
      missed,
      isTroubled,
      refusedSinceMs,
      graceOver,
    })
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
    alert === undefined && !heard && someOtherSays(view, target, ({ evidence }) => evidence === 'judged')
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
