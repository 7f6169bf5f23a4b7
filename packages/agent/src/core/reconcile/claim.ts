import {
  isClaim,
  parseSlotId,
  specDigest,
  updateFact,
  updateKey,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SpecDigest,
  type Slot,
  type SlotId,
  type TaskEntry,
} from '@moot/crdt-state'
import { openSlots } from '../placement/place.ts'
import type { SlotPlacement } from '../placement/placement.ts'
import { serviceTasks } from '../service-tasks.ts'
import { putTask, tasksOfSlot, type Draft } from './draft.ts'
import { isAfterIllness, nextAttempt, notBefore, notWellYet } from './restart.ts'
import { compareSlots, newTaskId, placedBy } from './spec.ts'
import { beginStep, isServing, progressOf } from './progress.ts'

/**
 * Step 5: claims this node's vacant slots, in the placement's order, each listing the earlier vacancies that its
 * placement assumed filled. All of one call are one write: nobody sees a part of it.
 */
export function claimVacant(draft: Draft): void {
  const { input } = draft
  if (!input.synced) return
  const memory = new Map<ServiceId, Past>()
  let claims = 0
  for (const task of draft.tasks.values()) if (isClaim(task)) claims += 1
  for (const [slot, where] of openSlots(input.placement)) {
    const mine =
      (where.kind === 'vacant' && where.to === input.view.self) ||
      (where.kind === 'moving' && where.to === input.view.self && where.successor === undefined)
    if (!mine) continue
    if (claims >= input.settings.maxTasksPerNode) return
    if (claimSlot(draft, slot, where, memory)) claims += 1
  }
}

function claimSlot(
  draft: Draft,
  slotId: SlotId,
  where: SlotPlacement & { readonly kind: 'vacant' | 'moving' },
  memory: Map<ServiceId, Past>,
): boolean {
  const { service: serviceId, slot } = parseSlotId(slotId)
  const service = draft.input.view.services.get(serviceId)
  if (service === undefined) return false
  // One that is only being stopped does not count: skipping its slot would make this node's claims something else than
  // the first part of what was placed here, which the law of half-executed placements forbids. Its successor is
  // claimed now and started once it is gone.
  if (tasksOfSlot(draft, slotId).some((task) => isClaim(task))) return false
  // It moves because its turn in the update has come.
  const isStep = where.kind === 'moving' && where.because.filter === 'update'
  const isBalance = where.kind === 'moving' && where.because.filter === 'balance'
  const past = pastOf(draft, service, memory)
  // What the holder runs, also where it is not known here yet what that is: a slot is never skipped.
  const digest = isBalance
    ? where.holder.task.digest
    : specDigest(isStep ? service.spec : specToClaim(draft, service, slot, past))
  if (draft.rejections.get(serviceId)?.digest === specDigest(service.spec)) return false
  const attempt = where.kind === 'vacant' ? where.attempt : 0
  // Placement goes by the newest spec, and does not know that this node has refused the older one.
  const refused = draft.rejections.get(serviceId)
  const number = Math.max(attempt, nextAttempt(draft, { service: serviceId, slot, attempt: attempt - 1 }))
  const { nowMs, settings } = draft.input
  putTask(draft, {
    id: newTaskId(draft, slotId, number),
    service: serviceId,
    slot,
    attempt: number,
    digest,
    serviceVersion: service.versionIndex,
    desired: 'running',
    state: 'assigned',
    createdAtMs: nowMs,
    stateAtMs: nowMs,
    ...placedBy(service.spec),
    ...(isAfterIllness(past.last.get(slot)) && { restart: notWellYet(nowMs) }),
    ...(refused?.digest === digest && {
      restart: notBefore(refused.atMs + settings.rejectionRetryMs, nowMs),
    }),
    ...(where.assumed.length > 0 ? { assumed: where.assumed } : {}),
  })
  // What has proven itself nowhere yet is watched as any step is, wherever it runs first.
  if (isStep || (!isBalance && past.isUpdate && !past.proven && digest === specDigest(service.spec)))
    beginStep(draft, service, slotId)
  return true
}

/**
 * A task that must be replaced before its turn in an update gets what it ran, not a spec that no slot has proven yet
 * (DESIGN section 7): else a node that dies would carry a bad image past the pause. Where it did not run just now (its
 * node was drained, or was without power), or nobody knows any more what it ran (its node has left), it gets what other
 * slots run on. Once a slot of the update has settled well, new tasks get the new spec.
 */
function specToClaim(draft: Draft, service: Resource<ServiceSpec>, slot: Slot, past: Past): ServiceSpec {
  const id = service.id as ServiceId
  // What runs counts, and not that its step has failed beside it.
  const before = past.running.get(slot) ?? past.last.get(slot)
  if (past.proven || before?.digest === specDigest(service.spec)) return service.spec
  if (before === undefined && !past.isPaused && !hadSlot(service, slot, past)) return service.spec
  if (before !== undefined && isServing(before)) return draft.input.specAt(id, before.digest) ?? service.spec
  const former = formerOf(service)
  const known = [before?.digest, former && specDigest(former)].find((each) => each && wasWell(service, each))
  const ran = past.serving.well ?? known ?? past.serving.any
  return (ran && draft.input.specAt(id, ran)) ?? former ?? service.spec
}

/** An update to it has ended well. */
function wasWell({ facts }: Resource<ServiceSpec>, digest: SpecDigest): boolean {
  return facts.has(updateFact.completed(digest))
}

/** What was there before the update. */
function formerOf({ spec, previous }: Resource<ServiceSpec>): ServiceSpec | undefined {
  return previous !== undefined && updateKey(previous) !== updateKey(spec) ? previous : undefined
}

/** Or has it come with the update, which asks for more replicas? Then it never had another spec. */
function hadSlot(service: Resource<ServiceSpec>, slot: Slot, { highest }: Past): boolean {
  if (typeof slot !== 'number') return false
  return slot <= Math.max(highest, formerOf(service)?.Mode.Replicated?.Replicas ?? 0)
}

/** What the records say of a service, read once for all its slots that are claimed in one call. */
interface Past {
  /** The task with the highest attempt of each slot, on whichever node, dead ones too. */
  readonly last: ReadonlyMap<Slot, TaskEntry>
  /** Likewise of those that run, as far as their nodes have told. */
  readonly running: ReadonlyMap<Slot, TaskEntry>
  readonly proven: boolean
  readonly isPaused: boolean
  /** What most of the slots run that are not as the update wants them: of what an earlier update was well with, and of all. */
  readonly serving: { readonly well: SpecDigest | undefined; readonly any: SpecDigest | undefined }
  /** The highest slot that ever had another spec; 0: none. */
  readonly highest: number
  /** Something else ran before. */
  readonly isUpdate: boolean
}

function pastOf(draft: Draft, service: Resource<ServiceSpec>, memory: Map<ServiceId, Past>): Past {
  const id = service.id as ServiceId
  const known = memory.get(id)
  if (known !== undefined) return known
  const past = readPast(draft, service)
  memory.set(id, past)
  return past
}

function readPast(draft: Draft, service: Resource<ServiceSpec>): Past {
  const { view, liveness } = draft.input
  const id = service.id as ServiceId
  const digest = specDigest(service.spec)
  const last = new Map<Slot, TaskEntry>()
  const running = new Map<Slot, TaskEntry>()
  let isUpdate = false
  let highest = 0
  const serving: TaskEntry[] = []
  for (const [node, record] of view.records) {
    if (record.updates.has(id)) isUpdate = true
    const isHere = liveness.get(node)?.kind !== 'down'
    for (const task of serviceTasks(record, id)) {
      if (task.digest !== digest) {
        isUpdate = true
        if (typeof task.slot === 'number') highest = Math.max(highest, task.slot)
        if (isHere && isServing(task)) serving.push(task)
      }
      setLater(last, task)
      if (isServing(task)) setLater(running, task)
    }
  }
  const progress = progressOf(view, liveness, service)
  const proven = progress.isKnownWell || (!progress.paused && progress.settledWell > 0)
  const well = serving.filter((task) => wasWell(service, task.digest))
  return {
    last,
    running,
    proven,
    isPaused: progress.paused,
    serving: { well: mostCommon(well), any: mostCommon(serving) },
    highest,
    isUpdate,
  }
}

function setLater(bySlot: Map<Slot, TaskEntry>, task: TaskEntry): void {
  const known = bySlot.get(task.slot)
  if (known === undefined || task.attempt > known.attempt) bySlot.set(task.slot, task)
}

/** Of several as common ones that of the lowest slot, so that all agents name the same. */
function mostCommon(tasks: readonly TaskEntry[]): SpecDigest | undefined {
  const inOrder = tasks.toSorted((a, b) => compareSlots(a.slot, b.slot))
  const groups = [...Map.groupBy(inOrder, ({ digest }) => digest)]
  return groups.toSorted(([, a], [, b]) => b.length - a.length)[0]?.[0]
}
