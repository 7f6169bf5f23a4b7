import {
  isClaim,
  isTerminal,
  digestOfUpdate,
  parseSlotId,
  specDigest,
  updateKey,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SlotId,
  type TaskEntry,
  type UpdateFact,
  type UpdateFacts,
} from '@moot/crdt-state'
import { openSlots } from '../placement/place.ts'
import type { Claim } from '../placement/placement.ts'
import { concludeUpdate, isUnproven } from './conclude.ts'
import { isLeaving, leaves, stay, stayWhereOvertaken, whyHomeless } from './leave.ts'
import {
  changeTask,
  isDue,
  isMade,
  putFacts,
  putTask,
  slotOf,
  tasksOfSlot,
  wasStarted,
  type Draft,
} from './draft.ts'
import { want } from './desire.ts'
import {
  beginStep,
  begunIn,
  forgetStep,
  goneOn,
  isDownStill,
  isServing,
  isWatched,
  mayBegin,
  mayBeginAgain,
  mayGoOn,
  monitorMs,
  outdatedBy,
  ownProgress,
  resumedIn,
  updateConfigOf,
  withWaiting,
  type Progress,
} from './progress.ts'
import { isExclusiveSlot } from './lease-need.ts'
import { isAfterIllness, nextAttempt, notWellYet } from './restart.ts'
import { asksFor, newTaskId, placedBy, slotIdOf, toMs } from './spec.ts'

/**
 * The rolling update without a coordinator (DESIGN section 7): each holder acts for its own slots, by facts latched
 * in the records. `latch` runs before the ended tasks are decided on (a restart would hide a failure), `step` after.
 */
export function latchFacts(draft: Draft): void {
  const { mayBeLost, synced, view } = draft.input
  for (const [id, facts] of draft.facts) {
    const service = view.services.get(id)
    if (service === undefined) {
      if (synced && !mayBeLost('service', id)) putFacts(draft, id, undefined)
      continue
    }
    const isOther = facts.update !== updateKey(service.spec)
    if (isOther && !synced) continue
    const current = isOther ? carryOver(draft, service, facts) : goOn(draft, service, facts)
    if (current !== undefined) settle(draft, service, current)
  }
}

/**
 * A newer update starts over. A slot whose step was under way may be down already: it goes on towards the newer one
 * as begun, so that every node keeps counting it. One that is still as it was waits for its turn again.
 */
function carryOver(
  draft: Draft,
  service: Resource<ServiceSpec>,
  facts: UpdateFacts,
): UpdateFacts | undefined {
  const id = service.id as ServiceId
  const slots: Record<string, UpdateFact> = {}
  const overtaken = digestOfUpdate(facts.update)
  const wanted = specDigest(service.spec)
  for (const [slot, fact] of Object.entries(facts.slots)) {
    const live = tasksOfSlot(draft, slot as SlotId).filter((task) => isClaim(task))
    if (isDownStill(fact, live, overtaken, wanted)) slots[slot] = { state: 'begun', atMs: draft.input.nowMs }
    if (fact.state !== 'begun' || live.length === 0) continue
    const started = live.filter(wasStarted)
    const isMixed = started.some(({ digest }) => digest !== overtaken)
    // What was to move has run what it was to run elsewhere, where constraints alone had changed.
    const isNext = ({ digest, leaves: left }: TaskEntry): boolean =>
      digest === overtaken && (isMixed || left?.update !== facts.update)
    const isAsBefore = started.some(isServing) && !started.some(isNext)
    if (!isAsBefore) slots[slot] = fact
    else for (const task of live) if (!wasStarted(task)) want(draft, task, 'remove')
  }
  const next =
    Object.keys(slots).length === 0
      ? undefined
      : { service: id, update: updateKey(service.spec), slots, ...resumedIn(service) }
  putFacts(draft, id, next)
  return next
}

/**
 * People have let a paused update go on: what runs it already is judged once more, before any other slot gets it; what stayed as it was
 * has its turn again.
 */
function goOn(draft: Draft, service: Resource<ServiceSpec>, facts: UpdateFacts): UpdateFacts {
  const { resumed = 0 } = resumedIn(service)
  if ((facts.resumed ?? 0) >= resumed) return facts
  const digest = specDigest(service.spec)
  const slots: Record<string, UpdateFact> = {}
  for (const [slot, fact] of Object.entries(facts.slots)) {
    const live = tasksOfSlot(draft, slot as SlotId).filter((task) => isClaim(task))
    const state = goneOn(fact, live, digest)
    if (state === fact.state) slots[slot] = fact
    else if (state !== undefined) slots[slot] = { state, atMs: draft.input.nowMs }
  }
  const next = { ...facts, slots, resumed }
  putFacts(draft, facts.service, Object.keys(slots).length === 0 ? undefined : next)
  return next
}

function settle(draft: Draft, service: Resource<ServiceSpec>, facts: UpdateFacts): void {
  const id = service.id as ServiceId
  let known: Progress | undefined
  const progress = (): Progress => (known ??= ownProgress(draft, service))
  const slots: Record<string, UpdateFact> = {}
  let changed = false
  for (const [slot, fact] of Object.entries(facts.slots)) {
    const wanted = asksFor(service.spec, parseSlotId(slot as SlotId).slot)
    const why = whyHomeless(draft, slot as SlotId, fact)
    const state =
      why !== undefined
        ? 'failed'
        : wanted
          ? settled(draft, service, progress, slot as SlotId, fact)
          : undefined
    // What peers said before this agent started may be long over: it still speaks for the slot, whoever seemed to have it.
    if (state === undefined && !draft.input.synced) {
      slots[slot] = fact
      continue
    }
    const isNew = state !== fact.state
    if (state !== undefined)
      slots[slot] = isNew ? { state, atMs: draft.input.nowMs, ...(why !== undefined && { why }) } : fact
    if (isNew) changed = true
  }
  if (changed) putFacts(draft, id, Object.keys(slots).length === 0 ? undefined : { ...facts, slots })
}

/** The fact as it is now; `undefined`: the slot is no longer this node's to speak for. */
function settled(
  draft: Draft,
  service: Resource<ServiceSpec>,
  progress: () => Progress,
  slot: SlotId,
  fact: UpdateFact,
): UpdateFact['state'] | undefined {
  const { spec } = service
  const tasks = tasksOfSlot(draft, slot)
  const newest = tasks.find((task) => task.digest === specDigest(spec))
  if (fact.state === 'failed') return 'failed'
  if (fact.state === 'ok') {
    // What was restarted since is the restart policy's affair.
    const isTheStep = newest !== undefined && newest.createdAtMs <= fact.atMs
    return isTheStep && failedSoon(draft, service, newest) ? 'failed' : 'ok'
  }
  // Claimed twice, and the other one keeps it: this node's task may never start, and the step is the other's.
  if (isLost(draft, slot, tasks)) return undefined
  if (tasks.some((task) => isLeaving(task, service))) return 'begun'
  // It is no failure of the spec; what comes after it goes on with the step.
  if (newest?.lostLease === true && isOurs(draft, slot)) return 'begun'
  if (newest === undefined || newest.lostLease === true || newest.state === 'shutdown' || isEnding(newest)) {
    // Not made yet, or taken away while it began (drained): then it is down until it runs where it moves to.
    return tasks.some((task) => isClaim(task)) || isOnItsWay(draft, service, slot) ? 'begun' : undefined
  }
  if (newest.state === 'complete' && endsByDesign(spec)) return 'ok'
  if (newest.state === 'complete' || newest.state === 'failed' || newest.state === 'rejected')
    return hasStood(draft, service, newest) ? afterStanding(draft, service, fact) : 'failed'
  if (newest.state !== 'running') return 'begun'
  // Whether its turn to be stopped has come or not; what it had in common with others may have made it ill after it had stood its time.
  if (newest.illness !== undefined) return hasStood(draft, service, newest) ? 'begun' : 'failed'
  const config = updateConfigOf(service)
  const watchMs = isWatched(progress(), slot) ? monitorMs(draft, service) : 0
  // The pause between two slots is part of this one's step: so it passes on one clock.
  if (!isDue(draft, newest.stateAtMs, Math.max(watchMs, toMs(config?.Delay ?? 0)))) return 'begun'
  if (newest.unready === undefined) return 'ok'
  // It was ready and is not any more: a step must not wait for that for ever.
  return isDue(draft, newest.unready.sinceMs, monitorMs(draft, service)) ? 'failed' : 'begun'
}

function isLost(draft: Draft, slot: SlotId, tasks: readonly TaskEntry[]): boolean {
  const { placement, view } = draft.input
  const where = placement.slots.get(slot)
  return where?.kind === 'held' && where.holder.node !== view.self && tasks.some((task) => isClaim(task))
}

/** Another node takes the slot over, or has done so with the newest spec, and its task does not run yet. */
function isOnItsWay(draft: Draft, { spec }: Resource<ServiceSpec>, slot: SlotId): boolean {
  const { placement, view } = draft.input
  const starts = ({ node, task }: Claim): boolean =>
    node !== view.self && task.digest === specDigest(spec) && task.state !== 'running'
  const where = placement.slots.get(slot)
  switch (where?.kind) {
    case 'held':
      return starts(where.holder)
    case 'moving':
      if (where.successor !== undefined) return starts(where.successor)
      return where.to !== undefined && where.to !== view.self
    case 'vacant':
      return where.to !== view.self
    // Of a slot that fits nowhere an update must not wait for ever.
    case 'pending':
    case undefined:
      return false
  }
}

function isEnding(task: TaskEntry): boolean {
  return !isTerminal(task.state) && !isClaim(task)
}

/** A task that is not restarted after success is meant to end. */
function endsByDesign(spec: ServiceSpec): boolean {
  const condition = spec.TaskTemplate.RestartPolicy?.Condition || 'any'
  return condition !== 'any'
}

/** Did it end or fall ill in this very call, within Monitor of running? What is ill may wait for long before it ends. */
function failedSoon(draft: Draft, service: Resource<ServiceSpec>, task: TaskEntry): boolean {
  const before = draft.own.tasks.get(task.id)
  if (before?.state !== 'running' || before.illness !== undefined || task.lostLease === true) return false
  if (task.state !== 'failed' && task.illness === undefined) return false
  const ranMs = draft.input.nowMs - before.stateAtMs
  // Less than nothing: the clock was set back, and nobody knows for how long it ran. A step that counted stays counted.
  return ranMs >= 0 && ranMs < monitorMs(draft, service)
}

/**
 * Its successor is waited for, for the rest of the Delay: but not as often as it ends. One that has none, by its restart policy, has
 * done what it was to do.
 */
function afterStanding(draft: Draft, service: Resource<ServiceSpec>, fact: UpdateFact): UpdateFact['state'] {
  const forMs = monitorMs(draft, service) + toMs(updateConfigOf(service)?.Delay ?? 0)
  const isLast = service.spec.TaskTemplate.RestartPolicy?.Condition === 'none'
  return isLast || isDue(draft, fact.atMs, forMs) ? 'ok' : 'begun'
}

/** It has run well for Monitor before it fell ill, or ended in this very call: while the step waits for its Delay that is no failure of it. */
function hasStood(draft: Draft, service: Resource<ServiceSpec>, { id }: TaskEntry): boolean {
  const before = draft.own.tasks.get(id)
  if (before?.state !== 'running') return false
  return (before.illness?.sinceMs ?? draft.input.nowMs) - before.stateAtMs >= monitorMs(draft, service)
}

/** Step 4: begins the slots whose turn it is, and takes each begun slot one step further. */
export function stepUpdates(draft: Draft): void {
  if (!draft.input.synced) return
  stayWhereOvertaken(draft)
  for (const service of servicesToStep(draft)) {
    const id = service.id as ServiceId
    begin(draft, service)
    endSurplus(draft, service)
    const facts = draft.facts.get(id)
    if (facts?.update === updateKey(service.spec)) {
      const watched = watchedIn(draft, service)
      for (const [slot, fact] of Object.entries(facts.slots))
        carryOn(draft, service, slot as SlotId, fact, watched)
    }
    concludeUpdate(draft, service)
  }
}

function servicesToStep(draft: Draft): ReadonlySet<Resource<ServiceSpec>> {
  const { view } = draft.input
  const found = new Set<Resource<ServiceSpec>>()
  for (const task of draft.tasks.values()) {
    const service = isClaim(task) ? view.services.get(task.service) : undefined
    if (service === undefined || found.has(service)) continue
    const isStepped = draft.facts.has(task.service) || isUnproven(service)
    if (isStepped || outdatedBy(view, service)(view.self, task)) found.add(service)
  }
  return found
}

function begin(draft: Draft, service: Resource<ServiceSpec>): void {
  const { view } = draft.input
  const isOutdated = outdatedBy(view, service)
  const outdated = new Set<SlotId>()
  for (const task of draft.tasks.values()) {
    if (task.service === service.id && isClaim(task) && isOutdated(view.self, task))
      outdated.add(slotOf(task))
  }
  // Reading every record for the service is dear: not done where nothing of it is left to update here.
  if (outdated.size === 0) return
  let progress = withVacant(ownProgress(draft, service), draft, service)
  for (const { id: slot, state } of progress.positions) {
    if (!outdated.has(slot) || !isOurs(draft, slot)) continue
    const isItsTurn =
      state === 'waiting'
        ? mayBegin(progress, slot)
        : state === 'begun' && isLeftToUs(draft, service, slot) && mayGoOn(progress, slot)
    if (!isItsTurn) continue
    beginStep(draft, service, slot)
    progress = begunIn(progress, slot)
  }
}

/**
 * A slot that a node is about to claim may be claimed with what it ran before the update, on which it then waits for its turn:
 * those after it wait for it already, since its node sees its own claim first.
 */
function withVacant(progress: Progress, draft: Draft, { id }: Resource<ServiceSpec>): Progress {
  const known = new Set(progress.positions.map((position) => position.id))
  const vacant = openSlots(draft.input.placement).flatMap(([slot, { kind }]) =>
    kind === 'vacant' && !known.has(slot) && parseSlotId(slot).service === id ? [slot] : [],
  )
  return vacant.length === 0 ? progress : withWaiting(progress, vacant)
}

/**
 * A step that a newer spec overtook may have left two tasks of a slot running, of which none is the newest spec's and none
 * will be replaced by it: the step to that one failed, or led back to what one of them runs.
 */
function endSurplus(draft: Draft, service: Resource<ServiceSpec>): void {
  const digest = specDigest(service.spec)
  const facts = draft.facts.get(service.id as ServiceId)
  const steps = facts?.update === updateKey(service.spec) ? facts.slots : {}
  const running = [...draft.tasks.values()].filter((task) => task.service === service.id && isServing(task))
  for (const [slot, tasks] of Map.groupBy(running, slotOf)) {
    if (tasks.length === 1) continue
    const newest = tasks.toSorted((a, b) => b.attempt - a.attempt)
    const next = newest.find((task) => task.digest === digest)
    // The step itself sees to them (`carryOn`).
    if (next !== undefined && steps[slot] !== undefined) continue
    const kept = next ?? newest[0]
    for (const task of newest) if (task !== kept) want(draft, task, 'shutdown')
  }
}

/** Only the holder acts for a slot, and not while the slot is leaving it. */
function isOurs(draft: Draft, slot: SlotId): boolean {
  const { placement, view } = draft.input
  const where = placement.slots.get(slot)
  if (where?.kind === 'held') return where.holder.node === view.self
  return where?.kind === 'moving' && where.successor?.node === view.self
}

/**
 * The node that the slot leaves has begun its step and cannot end it, and what this node took it over with has been overtaken
 * before it ran.
 */
function isLeftToUs(draft: Draft, service: Resource<ServiceSpec>, slot: SlotId): boolean {
  const facts = draft.facts.get(service.id as ServiceId)
  const isBegunHere = facts?.update === updateKey(service.spec) && facts.slots[slot] !== undefined
  return !isBegunHere && draft.input.placement.slots.get(slot)?.kind === 'moving'
}

type IsWatched = (slot: SlotId) => boolean

/** Read once for all steps of a call, and only where one asks: to read every record for the service is dear. */
function watchedIn(draft: Draft, service: Resource<ServiceSpec>): IsWatched {
  let known: Progress | undefined
  return (slot) => isWatched((known ??= ownProgress(draft, service)), slot)
}

function carryOn(
  draft: Draft,
  service: Resource<ServiceSpec>,
  slot: SlotId,
  fact: UpdateFact,
  watched: IsWatched,
): void {
  const digest = specDigest(service.spec)
  const live = tasksOfSlot(draft, slot).filter((task) => isClaim(task))
  if (fact.state !== 'begun') stay(draft, live)
  else if (leaves(draft, service, live)) return
  const made = live.find((task) => task.digest === digest)
  const olds = live.filter((task) => task.digest !== digest)
  const startFirst = isStartFirst(draft, service, slot)
  const next = made && (startFirst && olds.length > 0 ? startsBefore(draft, made) : made)
  if (next === undefined) {
    if (olds.length === 0 || !isOurs(draft, slot)) return
    const goesOn =
      fact.state === 'begun'
        ? maySetOut(draft, service, slot)
        : beginsAgain(draft, service, slot, fact) && !leaves(draft, service, live)
    if (goesOn) makeNext(draft, service, olds, startFirst)
    return
  }
  // It runs what is wanted where it may not any more, and no node has taken it: it is to move, as soon as one does.
  const { view } = draft.input
  if (fact.state === 'failed' && outdatedBy(view, service)(view.self, next))
    beginsAgain(draft, service, slot, fact)
  for (const old of olds) {
    // The old one runs until the new one's container is made: an image that cannot be had costs no replica.
    const idle =
      isTerminal(old.state) ||
      old.state === 'assigned' ||
      old.state === 'accepted' ||
      old.state === 'preparing'
    const replaced = startFirst ? hasProven(draft, service, fact, next, () => watched(slot)) : isMade(next)
    if (idle || replaced) want(draft, old, 'shutdown')
  }
  if (startFirst && fact.state === 'failed' && next.unready !== undefined && olds.some(isServing))
    want(draft, next, 'shutdown')
}

/** Its step has begun and nothing is made for it yet: where nothing more may begin, the slot keeps what it has, and waits for its turn. */
function maySetOut(draft: Draft, service: Resource<ServiceSpec>, slot: SlotId): boolean {
  const progress = ownProgress(draft, service)
  if (progress.paused) forgetStep(draft, service, slot)
  return mayGoOn(progress, slot)
}

/** Made while the older one was to end first, by another order or as an exclusive slot's: each would wait for the other. */
function startsBefore(draft: Draft, next: TaskEntry): TaskEntry {
  return next.desired === 'ready' ? changeTask(draft, next, { desired: 'running' }) : next
}

/** Only what has stood its test takes the place of what serves: one that ends in the first moments costs no replica. */
function hasProven(
  draft: Draft,
  service: Resource<ServiceSpec>,
  fact: UpdateFact,
  next: TaskEntry,
  watched: () => boolean,
): boolean {
  if (fact.state === 'ok') return true
  if (next.state !== 'running' || next.unready !== undefined || next.illness !== undefined) return false
  return !watched() || isDue(draft, next.stateAtMs, monitorMs(draft, service))
}

/** Of an exclusive slot there is one task at a time. */
function isStartFirst(draft: Draft, service: Resource<ServiceSpec>, slot: SlotId): boolean {
  const { slot: number } = parseSlotId(slot)
  return (
    updateConfigOf(service)?.Order === 'start-first' &&
    !isExclusiveSlot(draft, service.id as ServiceId, number)
  )
}

/**
 * Every slot is to get there, also where so many failures are tolerated: one whose step failed while its older task lives on is
 * tried again from time to time, as a step like any other, once no slot waits for its first.
 */
function beginsAgain(draft: Draft, service: Resource<ServiceSpec>, slot: SlotId, fact: UpdateFact): boolean {
  if (fact.state !== 'failed') return false
  if (!isDue(draft, fact.atMs, draft.input.settings.rejectionRetryMs)) return false
  if (!mayBeginAgain(ownProgress(draft, service))) return false
  beginStep(draft, service, slot)
  return true
}

function makeNext(
  draft: Draft,
  service: Resource<ServiceSpec>,
  olds: readonly TaskEntry[],
  startFirst: boolean,
): void {
  const old = olds[0]
  if (old === undefined) return
  const { nowMs } = draft.input
  const attempt = nextAttempt(draft, old)
  const serviceId = service.id as ServiceId
  putTask(draft, {
    id: newTaskId(draft, slotIdOf(serviceId, old.slot), attempt),
    service: serviceId,
    slot: old.slot,
    attempt,
    digest: specDigest(service.spec),
    serviceVersion: service.versionIndex,
    desired: startFirst ? 'running' : 'ready',
    state: 'assigned',
    createdAtMs: nowMs,
    stateAtMs: nowMs,
    ...placedBy(service.spec),
    ...(olds.some(isAfterIllness) && { restart: notWellYet(nowMs) }),
  })
}
