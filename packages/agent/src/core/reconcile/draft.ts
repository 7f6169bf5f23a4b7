import {
  canonicalJson,
  isTerminal,
  recordKey,
  slotId,
  type BlockClaims,
  type GuestEntry,
  type GuestId,
  type NodeRecord,
  type RecordChanges,
  type RecordKey,
  type Rejection,
  type ResourceId,
  type ServiceId,
  type SlotId,
  type TaskEntry,
  type TaskId,
  type UpdateFacts,
} from '@moot/crdt-state'
import type { Action, ContainerObservation } from './actions.ts'
import type { GuestVerdict } from './guests.ts'
import type { Conclusion, ReconcileInput, ReconcileOutput } from './input.ts'

/**
 * One reconciliation under way: this node's record as it will be, and the actions so far. Lives for one call; the
 * steps of `reconcile` change it in order, and its difference from the record is the output.
 */
export interface Draft {
  readonly input: ReconcileInput
  readonly own: NodeRecord
  readonly tasks: Map<TaskId, TaskEntry>
  readonly slots: Map<SlotId, Set<TaskId>>
  readonly facts: Map<ServiceId, UpdateFacts>
  readonly rejections: Map<ServiceId, Rejection>
  readonly blocks: Map<ResourceId, BlockClaims>
  readonly guests: Map<GuestId, GuestEntry>
  /** In the order in which they were made: claims are published in the placement's order. */
  readonly touched: Set<RecordKey>
  readonly actions: Map<TaskId, Action>
  readonly conclusions: Conclusion[]
  readonly guestVerdicts: Map<GuestId, GuestVerdict>
  readonly idleBlocks: Map<ResourceId, ReadonlyMap<number, number>>
  /** When tasks here began to start within the last second, by the record and by this call; counted when first asked. */
  startsAtMs: number[] | undefined
  wakeAtMs: number | undefined
}

export function openDraft(input: ReconcileInput, own: NodeRecord): Draft {
  const draft: Draft = {
    input,
    own,
    tasks: new Map(own.tasks),
    slots: new Map(),
    facts: new Map(own.updates),
    rejections: new Map(own.rejections),
    blocks: new Map(own.blocks),
    guests: new Map(own.guests),
    touched: new Set(),
    actions: new Map(),
    conclusions: [],
    guestVerdicts: new Map(),
    idleBlocks: new Map(),
    startsAtMs: undefined,
    wakeAtMs: undefined,
  }
  for (const task of own.tasks.values()) indexSlot(draft, task)
  return draft
}

function indexSlot(draft: Draft, task: TaskEntry): void {
  const slot = slotOf(task)
  const ids = draft.slots.get(slot)
  if (ids === undefined) draft.slots.set(slot, new Set([task.id]))
  else ids.add(task.id)
}

export function slotOf(task: TaskEntry): SlotId {
  return slotId(task.service, task.slot)
}

/** This node's tasks of a slot, newest attempt first. */
export function tasksOfSlot(draft: Draft, slot: SlotId): readonly TaskEntry[] {
  const found: TaskEntry[] = []
  for (const id of draft.slots.get(slot) ?? []) {
    const task = draft.tasks.get(id)
    if (task !== undefined) found.push(task)
  }
  return found.sort((a, b) => b.attempt - a.attempt || (a.id < b.id ? -1 : 1))
}

export function putTask(draft: Draft, task: TaskEntry): void {
  draft.tasks.set(task.id, task)
  indexSlot(draft, task)
  draft.touched.add(recordKey.task(task.id))
}

/** Changes some fields of a task, if they differ; `undefined` removes a field. */
export function changeTask(draft: Draft, task: TaskEntry, patch: TaskPatch): TaskEntry {
  const before = draft.tasks.get(task.id) ?? task
  if (isSaidAlready(before, patch)) return before
  const next = applyPatch(before, patch, draft.input.nowMs)
  putTask(draft, next)
  return next
}

/** Field by field: every running task is asked this in every reconciliation, and almost always nothing is new. */
function isSaidAlready(task: TaskEntry, patch: TaskPatch): boolean {
  const fields = task as unknown as Readonly<Record<string, unknown>>
  return Object.entries(patch).every(([key, value]) => sameJson(fields[key], value))
}

export type TaskPatch = { readonly [K in keyof TaskEntry]?: TaskEntry[K] | undefined }

function applyPatch(task: TaskEntry, patch: TaskPatch, nowMs: number): TaskEntry {
  const merged: Record<string, unknown> = { ...task }
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) delete merged[key]
    else merged[key] = value
  }
  if (patch.state !== undefined && patch.state !== task.state) merged['stateAtMs'] = nowMs
  return merged as unknown as TaskEntry
}

export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  return isObject(a) && isObject(b) && canonicalJson(a) === canonicalJson(b)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}

export function dropTask(draft: Draft, task: TaskEntry): void {
  draft.tasks.delete(task.id)
  draft.slots.get(slotOf(task))?.delete(task.id)
  draft.touched.add(recordKey.task(task.id))
}

export function putFacts(draft: Draft, service: ServiceId, facts: UpdateFacts | undefined): void {
  if (facts === undefined) draft.facts.delete(service)
  else draft.facts.set(service, facts)
  draft.touched.add(recordKey.update(service))
}

export function putRejection(draft: Draft, service: ServiceId, rejection: Rejection | undefined): void {
  if (rejection === undefined) draft.rejections.delete(service)
  else draft.rejections.set(service, rejection)
  draft.touched.add(recordKey.rejection(service))
}

export function putBlocks(draft: Draft, network: ResourceId, claims: BlockClaims | undefined): void {
  if (claims === undefined) draft.blocks.delete(network)
  else draft.blocks.set(network, claims)
  draft.touched.add(recordKey.block(network))
}

export function putGuest(draft: Draft, id: GuestId, guest: GuestEntry | undefined): void {
  if (guest === undefined) draft.guests.delete(id)
  else draft.guests.set(id, guest)
  draft.touched.add(recordKey.guest(id))
}

/** Is an action for this task under way or just decided? */
export function isBusy(draft: Draft, task: TaskId): boolean {
  return draft.input.inFlight.has(task) || draft.actions.has(task)
}

export function act(draft: Draft, action: Action): void {
  if (!isBusy(draft, action.task)) draft.actions.set(action.task, action)
}

export function wakeAt(draft: Draft, atMs: number): void {
  if (draft.wakeAtMs === undefined || atMs < draft.wakeAtMs) draft.wakeAtMs = atMs
}

/**
 * Has a time that was noted as `sinceMs` + `waitMs` come? If not, a wake-up is arranged. A clock that was set back
 * to before `sinceMs` would keep us waiting for ever: then the time counts as come.
 */
export function isDue(draft: Draft, sinceMs: number, waitMs: number): boolean {
  const { nowMs } = draft.input
  if (nowMs < sinceMs || nowMs >= sinceMs + waitMs) return true
  wakeAt(draft, sinceMs + waitMs)
  return false
}

/**
 * The container of a task: the one that its entry names, else one that runs, else the last. What an action just
 * answered counts even if the engine's listing does not show it yet.
 */
export function containerOf(draft: Draft, task: TaskEntry): ContainerObservation | undefined {
  const known = draft.input.containers.get(task.id) ?? []
  const answer = draft.input.results.get(task.id)?.result
  const answered = answer?.kind === 'done' ? answer.container : undefined
  const all =
    answered === undefined || known.some((other) => other.container === answered.container)
      ? known
      : [...known, answered]
  return (
    all.find((container) => container.container === task.containerId) ??
    all.find((container) => isUp(container)) ??
    all.at(-1)
  )
}

/** Does it have processes? */
export function isUp(container: ContainerObservation): boolean {
  return container.state === 'running' || container.state === 'paused' || container.state === 'restarting'
}

/** Has it all that it needs to be started? */
export function isMade(task: TaskEntry): boolean {
  return task.state === 'ready' || task.state === 'starting' || task.state === 'running'
}

/** Has its container been asked to start? What was not started may be withdrawn at no cost. */
export function wasStarted(task: TaskEntry): boolean {
  return task.state === 'starting' || task.state === 'running' || isTerminal(task.state)
}

export function closeDraft(draft: Draft, leases: ReconcileOutput['leases']): ReconcileOutput {
  const changes = new Map<RecordKey, RecordChangeValue>()
  for (const key of draft.touched) {
    const [kind, id] = key.split('/', 2) as [string, string]
    const [before, after] = beforeAndAfter(draft, kind, id)
    if (!sameJson(before, after)) changes.set(key, after)
  }
  return {
    changes,
    actions: [...draft.actions.values()],
    conclusions: draft.conclusions,
    guests: draft.guestVerdicts,
    idleBlocks: draft.idleBlocks,
    leases,
    wakeAtMs: draft.wakeAtMs,
  }
}

type RecordChangeValue = RecordChanges extends ReadonlyMap<RecordKey, infer V> ? V : never

function beforeAndAfter(draft: Draft, kind: string, id: string): [RecordChangeValue, RecordChangeValue] {
  if (kind === 'task') return [draft.own.tasks.get(id as TaskId), draft.tasks.get(id as TaskId)]
  if (kind === 'update') return [draft.own.updates.get(id as ServiceId), draft.facts.get(id as ServiceId)]
  if (kind === 'block') return [draft.own.blocks.get(id as ResourceId), draft.blocks.get(id as ResourceId)]
  if (kind === 'guest') return [draft.own.guests.get(id as GuestId), draft.guests.get(id as GuestId)]
  return [draft.own.rejections.get(id as ServiceId), draft.rejections.get(id as ServiceId)]
}
