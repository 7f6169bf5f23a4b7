import {
  isClaim,
  parseSlotId,
  specDigest,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type SlotId,
  type SpecDigest,
  type UpdateConfig,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import type { View } from '../view.ts'
import { asksFor, compareSlots, slotIdOf } from './spec.ts'

/** One slot that the update changes. `waiting`: it runs an older digest and its turn has not come. */
export interface Position {
  readonly id: SlotId
  readonly slot: Slot
  readonly state: 'waiting' | 'begun' | 'ok' | 'failed'
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
  /** Failures ÷ positions passed MaxFailureRatio: no further slot begins until the service changes. */
  readonly paused: boolean
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
  for (const [node, record] of view.records) {
    // A dead node's claims are void, and so is what it had begun.
    if (liveness?.get(node)?.kind === 'down') continue
    collect(slots, id, service.spec, digest, node === view.self && own !== undefined ? own : record)
  }
  const positions: Position[] = []
  for (const [slotId, seen] of slots) {
    const state = stateOf(seen)
    if (state === undefined) continue
    positions.push({ id: slotId, slot: parseSlotId(slotId).slot, state, atMs: seen.atMs })
  }
  positions.sort((a, b) => compareSlots(a.slot, b.slot))
  const failed = positions.filter((position) => slots.get(position.id)?.fact === 'failed').length
  const settledWell = positions.filter((position) => position.state === 'ok').length
  return {
    digest,
    positions,
    settledWell,
    failed,
    paused: isPaused(service.spec.UpdateConfig, failed, positions.length),
  }
}

interface Seen {
  old: boolean
  updated: boolean
  fact: 'begun' | 'ok' | 'failed' | undefined
  /** Is the fact the word of a node that has a task of the slot? */
  holds: boolean
  atMs: number | undefined
}

function collect(
  slots: Map<SlotId, Seen>,
  service: ServiceId,
  spec: ServiceSpec,
  digest: SpecDigest,
  record: UpdateRecord,
): void {
  const seenAt = (id: SlotId): Seen => {
    const known = slots.get(id)
    if (known !== undefined) return known
    const fresh: Seen = { old: false, updated: false, fact: undefined, holds: false, atMs: undefined }
    slots.set(id, fresh)
    return fresh
  }
  const held = new Set<SlotId>()
  for (const task of record.tasks.values()) {
    if (task.service !== service || !isClaim(task) || !asksFor(spec, task.slot)) continue
    const slot = slotIdOf(service, task.slot)
    const seen = seenAt(slot)
    held.add(slot)
    if (task.digest === digest) seen.updated = true
    else seen.old = true
  }
  const facts = record.updates.get(service)
  if (facts === undefined) return
  for (const [id, fact] of Object.entries(facts.slots)) {
    if (!asksFor(spec, parseSlotId(id as SlotId).slot)) continue
    // A step of another update that is under way is under way: its slot is down, whatever it leads to.
    if (facts.digest !== digest && fact.state !== 'begun') continue
    const seen = seenAt(id as SlotId)
    if (seen.fact === undefined || weight[fact.state] > weight[seen.fact]) {
      seen.fact = fact.state
      seen.holds = held.has(id as SlotId)
      seen.atMs = fact.atMs
    }
  }
}

/** Where two nodes speak of one slot, the more careful word counts. */
const weight = { ok: 0, begun: 1, failed: 2 } as const

function stateOf(seen: Seen): Position['state'] | undefined {
  if (seen.fact === 'begun') return 'begun'
  // A failure stands for as long as its node has the slot; where the slot went back to, it is still to be updated.
  if (seen.fact === 'failed' && (seen.holds || !seen.old || seen.updated)) return 'failed'
  if (seen.old && !seen.updated) return 'waiting'
  return seen.fact
}

function isPaused(config: UpdateConfig | undefined, failed: number, total: number): boolean {
  // `rollback` pauses too until rolling back exists: no half thing.
  if ((config?.FailureAction || 'pause') === 'continue') return false
  return failed > 0 && failed > (config?.MaxFailureRatio ?? 0) * total
}

/** Docker: 1 where the config is absent, 0 = all at once. */
export function parallelismOf(spec: ServiceSpec, total: number): number {
  const parallelism = spec.UpdateConfig?.Parallelism ?? 1
  return parallelism === 0 ? Math.max(total, 1) : parallelism
}

/**
 * May this waiting slot begin? Fewer than `parallelism` others may be under way or stand before it. What is settled
 * stays settled and the order is fixed, so a stale view delays a step and never starts one too early.
 */
export function mayBegin(progress: Progress, spec: ServiceSpec, slot: SlotId): boolean {
  if (progress.paused) return false
  let ahead = 0
  let passed = false
  for (const position of progress.positions) {
    if (position.id === slot) passed = true
    else if (position.state === 'begun' || (position.state === 'waiting' && !passed)) ahead += 1
  }
  return passed && ahead < parallelismOf(spec, progress.positions.length)
}

/**
 * Is the slot watched for the whole Monitor before it counts as well? The first batch is (Swarm does not, and loses
 * replicas to a bad image), and so is a slot that none waits for: then it costs nothing, and "completed" means it.
 */
export function isWatched(progress: Progress, spec: ServiceSpec, slot: SlotId): boolean {
  const index = progress.positions.findIndex((position) => position.id === slot)
  if (index < parallelismOf(spec, progress.positions.length)) return true
  return !progress.positions.some((position) => position.state === 'waiting')
}

/** Docker's `UpdateStatus` of a service; `undefined` where it was never updated. */
export interface UpdateStatus {
  readonly State: 'updating' | 'paused' | 'completed'
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
  if (progress.positions.length === 0) return undefined
  const times = progress.positions.flatMap((position) => (position.atMs === undefined ? [] : [position.atMs]))
  const started = startedAtMs(view, service, progress) ?? service.updatedAtMs
  const StartedAt = new Date(started).toISOString()
  if (progress.paused) {
    return { State: 'paused', StartedAt, Message: pausedMessage(view, service, progress) }
  }
  if (progress.positions.every((position) => position.state === 'ok' || position.state === 'failed')) {
    const CompletedAt = new Date(Math.max(...times)).toISOString()
    return { State: 'completed', StartedAt, CompletedAt, Message: 'update completed' }
  }
  return { State: 'updating', StartedAt, Message: 'update in progress' }
}

/** The oldest task of the new digest in the update's slots. For display: the clocks are different nodes'. */
function startedAtMs(view: View, service: Resource<ServiceSpec>, progress: Progress): number | undefined {
  const slots = new Set(progress.positions.map((position) => position.id))
  let oldest: number | undefined
  forEachTask(view, service, progress, (task, slot) => {
    if (slots.has(slot) && (oldest === undefined || task.createdAtMs < oldest)) oldest = task.createdAtMs
  })
  return oldest
}

/** In swarmkit's words, with the task that a person will want to look at. */
function pausedMessage(view: View, service: Resource<ServiceSpec>, progress: Progress): string {
  const failedSlots = new Set(
    progress.positions.filter((position) => position.state === 'failed').map((position) => position.id),
  )
  let culprit: string | undefined
  forEachTask(view, service, progress, (task, slot) => {
    if (!failedSlots.has(slot)) return
    if (task.state === 'failed' || task.state === 'rejected' || task.state === 'complete') culprit ??= task.id
  })
  return `update paused due to failure or early termination of task ${culprit ?? '(unknown)'}`
}

function forEachTask(
  view: View,
  service: Resource<ServiceSpec>,
  progress: Progress,
  visit: (task: NonNullable<ReturnType<NodeRecord['tasks']['get']>>, slot: SlotId, node: NodeId) => void,
): void {
  for (const [node, record] of view.records) {
    for (const task of record.tasks.values()) {
      if (task.service !== service.id || task.digest !== progress.digest) continue
      visit(task, slotIdOf(task.service, task.slot), node)
    }
  }
}
