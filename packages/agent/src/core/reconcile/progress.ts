import {
  digestOfUpdate,
  isClaim,
  isTerminal,
  parseSlotId,
  resumedTimes,
  specDigest,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type SlotId,
  type SpecDigest,
  type TaskEntry,
  updateFact,
  updateKey,
  type UpdateConfig,
  type UpdateFact,
  type UpdateFacts,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { misfit } from '../placement/misfit.ts'
import { serviceTasks } from '../service-tasks.ts'
import type { View } from '../view.ts'
import { putFacts, type Draft } from './draft.ts'
import { asksFor, compareSlots, isGlobal, slotIdOf, toMs } from './spec.ts'

/**
 * One slot that the update changes. `waiting`: it runs an older digest, or where it no longer may, and its turn has not come.
 * `absent`: nor can it, since its node's engine has been down for long. Nobody waits for that one, and it has its turn when it is back.
 */
export interface Position {
  readonly id: SlotId
  readonly slot: Slot
  readonly state: 'waiting' | 'absent' | 'begun' | 'ok' | 'failed'
  /** Some task of it is as the update wants it. */
  readonly isMade: boolean
  /** Some node says that its step failed, whether or not it has the slot now. */
  readonly hasFailed: boolean
  /** When its fact was latched, on its holder's clock. Display only. */
  readonly atMs: number | undefined
}

/** How far the update of a service to its newest digest has come, as the records in a view tell it. */
export interface Progress {
  readonly digest: SpecDigest
  /** In the order of the update. Empty: there is nothing to update. */
  readonly positions: readonly Position[]
  readonly settledWell: number
  readonly failed: number
  /** It has run before: what is gone back to, or was updated to once and ended well. */
  readonly isKnownWell: boolean
  /** Failures ÷ positions passed MaxFailureRatio: no further slot begins until the service changes. */
  readonly paused: boolean
  /** By which rules it goes: a rollback has its own. */
  readonly config: UpdateConfig | undefined
}

/** Docker: going back to the previous spec follows RollbackConfig, all else UpdateConfig. */
export function updateConfigOf(service: Resource<ServiceSpec>): UpdateConfig | undefined {
  return service.rolledBack ? service.spec.RollbackConfig : service.spec.UpdateConfig
}

/** For how long a task is watched, ms. */
export function monitorMs({ input }: Draft, service: Resource<ServiceSpec>): number {
  const monitor = updateConfigOf(service)?.Monitor
  return monitor === undefined || monitor === 0 ? input.settings.updateMonitorMs : toMs(monitor)
}

/** What of a record an update looks at; `own` stands for the record that is about to be written. */
export type UpdateRecord = Pick<NodeRecord, 'updates' | 'tasks'>

export function progressOf(
  view: View,
  liveness: LivenessMap | undefined,
  service: Resource<ServiceSpec>,
  own?: UpdateRecord,
): Progress {
  const id = service.id as ServiceId
  const digest = specDigest(service.spec)
  const slots = new Map<SlotId, Seen>()
  const asked: Asked = {
    service,
    resumed: resumedTimes(service.facts, digest),
    isOutdated: outdatedBy(view, service),
  }
  for (const [node, record] of view.records) {
    const seen = node === view.self && own !== undefined ? own : record
    const facts = seen.updates.get(id)
    const isAbsent = node !== view.self && isEngineGone(record)
    // A dead node's claims are void, and so is what it had begun. That a step failed stays true: the pause outlives
    // the node that saw the failure, else its death would carry the bad spec to the next slot.
    if (liveness?.get(node)?.kind === 'down') collect(slots, asked, node, [], failuresOf(facts))
    else {
      const tasks = seen === own ? ownTasks(own, id) : serviceTasks(record, id)
      collect(slots, asked, node, tasks, facts, isAbsent)
    }
  }
  const positions: Position[] = []
  for (const [slotId, seen] of slots) {
    const state = stateOf(seen)
    if (state === undefined) continue
    positions.push({
      id: slotId,
      slot: parseSlotId(slotId).slot,
      state,
      isMade: seen.updated,
      hasFailed: seen.hasFailed,
      atMs: seen.atMs,
    })
  }
  const failed = positions.filter(({ hasFailed }) => hasFailed).length
  const settledWell = positions.filter((position) => position.state === 'ok').length
  const config = updateConfigOf(service)
  return {
    digest,
    positions: inOrder(positions),
    settledWell,
    failed,
    isKnownWell: service.failure !== undefined || service.facts.has(updateFact.completed(digest)),
    paused: isPaused(config, failed, positions.length),
    config,
  }
}

/** Progress with what this call has decided so far, so that two of this node's slots never begin as one. */
export function ownProgress(draft: Draft, service: Resource<ServiceSpec>): Progress {
  const { view, liveness } = draft.input
  return progressOf(view, liveness, service, { tasks: draft.tasks, updates: draft.facts })
}

/** A slot's turn has come. */
export function beginStep(draft: Draft, service: Resource<ServiceSpec>, slot: SlotId): void {
  const id = service.id as ServiceId
  const update = updateKey(service.spec)
  const facts = draft.facts.get(id)
  const begun: UpdateFact = { state: 'begun', atMs: draft.input.nowMs }
  const slots = { ...(facts?.update === update && facts.slots), [slot]: begun }
  putFacts(draft, id, { service: id, update, slots, ...resumedIn(service) })
}

/** Its turn is still to come. */
export function forgetStep(draft: Draft, { id }: Resource<ServiceSpec>, slot: SlotId): void {
  const facts = draft.facts.get(id as ServiceId)
  if (facts === undefined) return
  const slots = Object.fromEntries(Object.entries(facts.slots).filter(([other]) => other !== slot))
  putFacts(draft, facts.service, Object.keys(slots).length === 0 ? undefined : { ...facts, slots })
}

/** The part of the facts of an update that begin now. */
export function resumedIn({ facts, spec }: Resource<ServiceSpec>): Pick<UpdateFacts, 'resumed'> {
  const resumed = resumedTimes(facts, specDigest(spec))
  return resumed > 0 ? { resumed } : {}
}

/** The slot's turn has come: as `beginStep`, in what is known already. */
export function begunIn(progress: Progress, slot: SlotId): Progress {
  const begin = (position: Position): Position =>
    position.id === slot ? { ...position, state: 'begun' } : position
  return { ...progress, positions: progress.positions.map(begin) }
}

/** With these slots among those that wait for their turn. */
export function withWaiting(progress: Progress, slots: readonly SlotId[]): Progress {
  const waiting = slots.map((id): Position => {
    const { slot } = parseSlotId(id)
    return { id, slot, state: 'waiting', isMade: false, hasFailed: false, atMs: undefined }
  })
  return { ...progress, positions: inOrder([...progress.positions, ...waiting]) }
}

function inOrder(positions: readonly Position[]): readonly Position[] {
  return positions.toSorted((a, b) => compareSlots(a.slot, b.slot))
}

type IsOutdated = (node: NodeId, task: TaskEntry) => boolean

/** Is the task to be replaced: does it run what is old, or where the service may not run any more? */
export function outdatedBy(view: View, { spec }: Resource<ServiceSpec>): IsOutdated {
  const digest = specDigest(spec)
  // A global service's slots do not move: they come and go with the nodes that it is wanted on.
  if (isGlobal(spec)) return (_, task) => task.digest !== digest
  return (id, task) => {
    const settings = view.nodes.get(id)
    if (task.digest !== digest || settings === undefined) return task.digest !== digest
    return misfit(spec, { id, settings, record: view.records.get(id) }, task) !== undefined
  }
}

/** Of a record that is still being changed. */
function ownTasks({ tasks }: UpdateRecord, service: ServiceId): readonly TaskEntry[] {
  return [...tasks.values()].filter((task) => task.service === service)
}

function failuresOf(facts: UpdateFacts | undefined): UpdateFacts | undefined {
  if (facts === undefined) return undefined
  const failed = Object.entries(facts.slots).filter(([, fact]) => fact.state === 'failed')
  return { ...facts, slots: Object.fromEntries(failed) }
}

/** It is no restart of Docker: what runs there goes on, and nothing of an update does. */
function isEngineGone({ status }: NodeRecord): boolean {
  return status?.engine.state === 'down' && status.engine.forLong === true
}

interface Seen {
  old: boolean
  /** As `old`, on a node that can do nothing about it. */
  oldAbsent: boolean
  updated: boolean
  fact: 'begun' | 'ok' | 'failed' | undefined
  /** Is the fact the word of a node that has a task of the slot? */
  holds: boolean
  hasFailed: boolean
  atMs: number | undefined
}

interface Asked {
  readonly service: Resource<ServiceSpec>
  /** How often people have let the update go on. */
  readonly resumed: number
  readonly isOutdated: IsOutdated
}

function collect(
  slots: Map<SlotId, Seen>,
  { service: { id: service, spec }, resumed, isOutdated }: Asked,
  node: NodeId,
  tasks: readonly TaskEntry[],
  facts: UpdateFacts | undefined,
  isAbsent = false,
): void {
  const seenAt = (id: SlotId): Seen => {
    const known = slots.get(id)
    if (known !== undefined) return known
    const fresh: Seen = {
      old: false,
      oldAbsent: false,
      updated: false,
      fact: undefined,
      holds: false,
      hasFailed: false,
      atMs: undefined,
    }
    slots.set(id, fresh)
    return fresh
  }
  const held = new Map<SlotId, readonly TaskEntry[]>()
  for (const task of tasks) {
    if (!isClaim(task) || !asksFor(spec, task.slot)) continue
    const slot = slotIdOf(service as ServiceId, task.slot)
    const seen = seenAt(slot)
    held.set(slot, [...(held.get(slot) ?? []), task])
    if (isOutdated(node, task)) seen[isAbsent ? 'oldAbsent' : 'old'] = true
    else seen.updated = true
  }
  if (facts === undefined) return
  const { update } = facts
  const isOther = update !== updateKey(spec)
  // People have let it go on since this was written.
  const isPast = (facts.resumed ?? 0) < resumed
  const wordOf = (fact: UpdateFact, live: readonly TaskEntry[]): UpdateFact['state'] | undefined => {
    if (!isOther) return isPast ? goneOn(fact, live, specDigest(spec)) : fact.state
    // A step of another update that is under way is under way: its slot is down, whatever it leads to.
    return fact.state === 'begun' || isDownStill(fact, live, digestOfUpdate(update), specDigest(spec))
      ? 'begun'
      : undefined
  }
  for (const [id, fact] of Object.entries(facts.slots)) {
    if (!asksFor(spec, parseSlotId(id as SlotId).slot)) continue
    const state = wordOf(fact, held.get(id as SlotId) ?? [])
    if (state === undefined || (state === 'begun' && isAbsent)) continue
    const seen = seenAt(id as SlotId)
    const holds = held.has(id as SlotId)
    if (state === 'failed') seen.hasFailed = true
    if (seen.fact === undefined || weightOf(state, holds) > weightOf(seen.fact, seen.holds)) {
      seen.fact = state
      seen.holds = holds
      seen.atMs = fact.atMs
    }
  }
}

/**
 * What failed before people let a paused update go on is judged once more where it runs what is wanted, or is about to; else nothing is said of
 * it (`undefined`), and what stayed as it was has its turn again.
 */
export function goneOn(
  { state }: UpdateFact,
  live: readonly TaskEntry[],
  digest: SpecDigest,
): UpdateFact['state'] | undefined {
  if (state !== 'failed') return state
  return live.some((task) => task.digest === digest && isUnended(task)) ? 'begun' : undefined
}

/**
 * The step of an update that something newer has overtaken failed, and the slot is down for its sake: what ran before does not run
 * again yet; or what failed is what is wanted still (constraints alone have changed), and is judged once more where it runs.
 */
export function isDownStill(
  { state, why }: UpdateFact,
  live: readonly TaskEntry[],
  failed: SpecDigest,
  wanted: SpecDigest,
): boolean {
  if (state !== 'failed' || live.length === 0) return false
  const tried = live.filter(({ digest }) => digest === failed)
  // What stayed because no other node took it has not failed with what it runs.
  if (tried.length > 0) return failed === wanted && why === undefined && tried.some(isUnended)
  return !live.some(isServing)
}

function isUnended({ state }: TaskEntry): boolean {
  return !isTerminal(state)
}

export function isServing(task: TaskEntry): boolean {
  return task.state === 'running' && task.desired === 'running'
}

/**
 * Where two nodes speak of one slot, the more careful word counts: what is under way with whoever has a task of it may fail yet, whatever has failed elsewhere.
 * That a step failed where the slot was before counts last.
 */
function weightOf(state: UpdateFact['state'], holds: boolean): number {
  return weight[state][holds ? 'held' : 'left']
}

const weight = {
  ok: { held: 1, left: 1 },
  begun: { held: 4, left: 2 },
  failed: { held: 3, left: 0 },
} as const

function stateOf(seen: Seen): Position['state'] | undefined {
  // A failure stands for as long as its node has the slot; where the slot went back to, it is still to be updated.
  const word = seen.fact === 'failed' && !seen.holds && seen.old ? undefined : seen.fact
  if (word === 'begun' || word === 'failed') return word
  // Also where its next task is made, and nobody says any more that its turn has come (another seemed to have the slot for a moment).
  if (seen.old && (!seen.updated || word === undefined)) return 'waiting'
  return word === undefined && seen.oldAbsent && !seen.updated ? 'absent' : word
}

function isPaused(config: UpdateConfig | undefined, failed: number, total: number): boolean {
  // `rollback` pauses until it stands in the document that all go back, and where there is nothing to go back to.
  if ((config?.FailureAction || 'pause') === 'continue') return false
  return failed > 0 && failed > (config?.MaxFailureRatio ?? 0) * total
}

/** Docker: 1 where the config is absent, 0 = all at once. */
function parallelismOf({ config, positions }: Progress): number {
  const parallelism = config?.Parallelism ?? 1
  return parallelism === 0 ? Math.max(positions.length, 1) : parallelism
}

/**
 * May this waiting slot begin? Fewer than `parallelism` others may be under way or stand before it. What is settled
 * stays settled and the order is fixed, so a stale view delays a step and never starts one too early.
 */
export function mayBegin(progress: Progress, slot: SlotId): boolean {
  if (progress.paused) return false
  let ahead = 0
  let passed = false
  for (const position of progress.positions) {
    if (position.id === slot) passed = true
    else if (position.state === 'begun' || (position.state === 'waiting' && !passed)) ahead += 1
  }
  return passed && ahead < parallelismOf(progress)
}

/**
 * May this slot, which an older update left begun, go on towards the newest spec? More such slots than `parallelism` may be down
 * (those of steps that failed, and whose former task is not back): these too get there so many at a time.
 */
export function mayGoOn(progress: Progress, slot: SlotId): boolean {
  if (progress.paused) return false
  let ahead = 0
  let passed = false
  for (const { id, state, isMade } of progress.positions) {
    if (id === slot) passed = true
    else if (state === 'begun' && (isMade || !passed)) ahead += 1
  }
  return ahead < parallelismOf(progress)
}

/** May a slot whose step failed be tried once more? Not before every other one has had its turn. */
export function mayBeginAgain(progress: Progress): boolean {
  const begun = progress.positions.filter(({ state }) => state === 'begun').length
  const isWaitedFor = progress.positions.some(({ state }) => state === 'waiting')
  return !progress.paused && !isWaitedFor && begun < parallelismOf(progress)
}

/**
 * Is the slot watched for the whole Monitor before it counts as well? The first batch is (Swarm does not, and loses
 * replicas to a bad image), those that follow until one has settled well, and a slot that none waits for: then it costs
 * nothing, and "completed" means it.
 */
export function isWatched(progress: Progress, slot: SlotId): boolean {
  if (progress.settledWell === 0 && !progress.isKnownWell) return true
  const awaited = progress.positions.filter(({ state }) => state !== 'absent')
  const index = awaited.findIndex((position) => position.id === slot)
  if (index < parallelismOf(progress)) return true
  return !progress.positions.some((position) => position.state === 'waiting')
}

/** Docker's `UpdateStatus` of a service; `undefined` where it was never updated. */
export interface UpdateStatus {
  readonly State:
    'updating' | 'paused' | 'completed' | 'rollback_started' | 'rollback_paused' | 'rollback_completed'
  readonly StartedAt?: string
  readonly CompletedAt?: string
  readonly Message: string
}

export function updateStatus(
  view: View,
  service: Resource<ServiceSpec>,
  liveness?: LivenessMap,
): UpdateStatus | undefined {
  const progress = progressOf(view, liveness, service)
  const State = updateStateOf(service, progress)
  if (State === undefined) return undefined
  const latched = progress.positions.flatMap((position) =>
    position.atMs === undefined ? [] : [position.atMs],
  )
  const times = service.failure === undefined ? latched : [...latched, service.failure.atMs]
  const StartedAt = new Date(startedAtMs(view, service, progress)).toISOString()
  switch (State) {
    case 'paused':
    case 'rollback_paused':
      return { State, StartedAt, Message: pausedMessage(view, service, progress) }
    case 'completed':
    case 'rollback_completed': {
      const CompletedAt = new Date(Math.max(...times)).toISOString()
      return { State, StartedAt, CompletedAt, Message: `${nounOf(service)} completed` }
    }
    case 'rollback_started':
      return { State, StartedAt, Message: backMessage(service) }
    case 'updating':
      return { State, StartedAt, Message: 'update in progress' }
  }
}

/** `updateStatus` without its words and times, at half the cost. Undefined: nothing was ever updated. */
export function updateStateOf(
  service: Resource<ServiceSpec>,
  { positions, paused, config }: Progress,
): UpdateStatus['State'] | undefined {
  // Where nothing had been changed yet there is nothing to change back.
  if (positions.length === 0) return service.failure === undefined ? undefined : 'rollback_completed'
  const { rolledBack, previous, spec } = service
  // Clients that wait must not take it for the end.
  if (paused && !(config?.FailureAction === 'rollback' && mayGoBack(service)))
    return rolledBack ? 'rollback_paused' : 'paused'
  if (isOver({ positions })) {
    // In Swarm what was updated has no state any more once it is written again, scaled say: clients would take it for that write's.
    const isPast = previous !== undefined && updateKey(previous) === updateKey(spec)
    if (isPast) return undefined
    return rolledBack ? 'rollback_completed' : 'completed'
  }
  return rolledBack ? 'rollback_started' : 'updating'
}

/** The update has failed, and in a moment it will stand in the document that all go back. */
export function isAboutToGoBack(draft: Draft, service: Resource<ServiceSpec>): boolean {
  // What costs nothing first: to read every record for the service is dear.
  if (service.spec.UpdateConfig?.FailureAction !== 'rollback' || !mayGoBack(service)) return false
  return ownProgress(draft, service).paused
}

/** There is something to go back to, and it has not been said yet that all do, nor that the update ended well. */
function mayGoBack({ rolledBack, previous, facts, spec }: Resource<ServiceSpec>): boolean {
  return !rolledBack && previous !== undefined && !facts.has(updateFact.completed(specDigest(spec)))
}

/** Every slot that it changes has settled, but for those that cannot. */
export function isOver({ positions }: Pick<Progress, 'positions'>): boolean {
  const awaited = positions.filter(({ state }) => state !== 'absent')
  return awaited.length > 0 && awaited.every(({ state }) => state === 'ok' || state === 'failed')
}

/** Some slot that it changes has not settled yet. */
export function isUnderWay(progress: Pick<Progress, 'positions'>): boolean {
  return progress.positions.length > 0 && !isOver(progress)
}

function nounOf(service: Resource<ServiceSpec>): string {
  return service.rolledBack ? 'rollback' : 'update'
}

/** In swarmkit's words. */
function backMessage({ failure }: Resource<ServiceSpec>): string {
  if (failure === undefined) return 'manually requested rollback'
  const why = `due to failure or early termination of task ${failure.task}`
  return failure.release === undefined
    ? `update rolled back ${why}`
    : `update rolled back with its release ${failure.release.id} ${why} of service ${failure.release.service}`
}

/**
 * The earliest that is known: the tasks that this update made in its slots, which leave the history one day; that a step was over, which
 * stays; or that all go back. For display: the clocks are different nodes'.
 */
function startedAtMs(view: View, service: Resource<ServiceSpec>, progress: Progress): number {
  const slots = new Set(progress.positions.map((position) => position.id))
  const made = tasksMade(view, service, progress).filter(([slot]) => slots.has(slot))
  // What is only begun may have been so for an update that this one has overtaken.
  const settled = progress.positions.flatMap(({ state, atMs }) =>
    atMs !== undefined && (state === 'ok' || state === 'failed') ? [atMs] : [],
  )
  const known = [...made.map(([, { createdAtMs }]) => createdAtMs), ...settled]
  if (service.failure !== undefined) known.push(service.failure.atMs)
  // Each fact beside the spec moves `updatedAtMs` on, that the update has ended well too.
  return known.length === 0 ? service.updatedAtMs : Math.min(...known)
}

/** In swarmkit's words, with the task that a person will want to look at. */
function pausedMessage(view: View, service: Resource<ServiceSpec>, progress: Progress): string {
  const homeless = whyHomeless(view, service)
  if (homeless !== undefined) return `${nounOf(service)} paused: ${homeless}`
  const culprit = culpritOf(view, service, progress)
  return `${nounOf(service)} paused due to failure or early termination of task ${culprit}`
}

/** The first slot that no node takes as the update wants it, and why. */
function whyHomeless(view: View, { id, name, spec }: Resource<ServiceSpec>): string | undefined {
  const found = [...view.records.values()].flatMap(({ updates }) => {
    const facts = updates.get(id as ServiceId)
    if (facts?.update !== updateKey(spec)) return []
    return Object.entries(facts.slots).flatMap(([slot, { state, why }]) =>
      state === 'failed' && why !== undefined ? [{ slot: parseSlotId(slot as SlotId).slot, why }] : [],
    )
  })
  const [first] = found.toSorted((a, b) => compareSlots(a.slot, b.slot))
  return first && `${name}.${first.slot} stays where it is: ${first.why}`
}

/** A task whose failure counts. */
export function culpritOf(view: View, service: Resource<ServiceSpec>, progress: Progress): string {
  const failedSlots = new Set(
    progress.positions.filter(({ hasFailed }) => hasFailed).map((position) => position.id),
  )
  const made = tasksMade(view, service, progress).filter(([slot]) => failedSlots.has(slot))
  const ended = made.find(
    ([, { state }]) => state === 'failed' || state === 'rejected' || state === 'complete',
  )
  // One that never got ready runs on.
  return (ended ?? made[0])?.[1].id ?? '(unknown)'
}

/** The tasks of the update's digest, without those of an earlier update to the same: a slot's attempts only grow. */
function tasksMade(
  view: View,
  service: Resource<ServiceSpec>,
  progress: Progress,
): readonly (readonly [SlotId, TaskEntry])[] {
  const made: (readonly [SlotId, TaskEntry])[] = []
  const lastOther = new Map<SlotId, number>()
  for (const record of view.records.values()) {
    for (const task of serviceTasks(record, service.id as ServiceId)) {
      const slot = slotIdOf(task.service, task.slot)
      if (task.digest === progress.digest) made.push([slot, task])
      else lastOther.set(slot, Math.max(task.attempt, lastOther.get(slot) ?? 0))
    }
  }
  return made.filter(([slot, task]) => task.attempt > (lastOther.get(slot) ?? 0))
}
