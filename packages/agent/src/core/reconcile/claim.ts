import {
  isClaim,
  parseSlotId,
  specDigest,
  updateFact,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type SlotId,
  type TaskEntry,
} from '@moot/crdt-state'
import { openSlots } from '../placement/place.ts'
import type { SlotPlacement } from '../placement/placement.ts'
import { serviceTasks } from '../service-tasks.ts'
import { putTask, tasksOfSlot, type Draft } from './draft.ts'
import { isAfterIllness, nextAttempt, notWellYet } from './restart.ts'
import { newTaskId, placedBy } from './spec.ts'
import { beginStep, progressOf } from './progress.ts'

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
  const number = Math.max(attempt, nextAttempt(draft, { service: serviceId, slot, attempt: attempt - 1 }))
  const { nowMs } = draft.input
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
    ...(where.assumed.length > 0 ? { assumed: where.assumed } : {}),
  })
  // What has proven itself nowhere yet is watched as any step is, wherever it runs first.
  if (isStep || (!isBalance && past.isUpdate && !past.proven && digest === specDigest(service.spec)))
    beginStep(draft, service, slotId)
  return true
}

/**
 * A task that must be replaced before its turn in an update gets what it ran, not a spec that no slot has proven yet
 * (DESIGN section 7): else a node that dies would carry a bad image past the pause. Once a slot of the update has
 * settled well, new tasks get the new spec.
 */
function specToClaim(draft: Draft, service: Resource<ServiceSpec>, slot: Slot, past: Past): ServiceSpec {
  const id = service.id as ServiceId
  const before = past.last.get(slot)
  if (past.proven || before === undefined || before.digest === specDigest(service.spec)) return service.spec
  // Only what ran is worth running again.
  if (before.state !== 'running' || !isClaim(before)) return service.spec
  return draft.input.specAt(id, before.digest) ?? service.spec
}

/** What the records say of a service, read once for all its slots that are claimed in one call. */
interface Past {
  /** The task with the highest attempt of each slot, on whichever node, dead ones too. */
  readonly last: ReadonlyMap<Slot, TaskEntry>
  readonly proven: boolean
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
  let isUpdate = false
  for (const record of view.records.values()) {
    if (record.updates.has(id)) isUpdate = true
    for (const task of serviceTasks(record, id)) {
      if (task.digest !== digest) isUpdate = true
      const known = last.get(task.slot)
      if (known === undefined || task.attempt > known.attempt) last.set(task.slot, task)
    }
  }
  const progress = progressOf(view, liveness, service)
  // What was gone back to has run before.
  const isKnownWell = service.failure !== undefined || service.facts.has(updateFact.completed(digest))
  const proven = isKnownWell || (!progress.paused && progress.settledWell > 0)
  return { last, proven, isUpdate }
}
