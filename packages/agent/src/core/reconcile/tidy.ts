import { isClaim, isTerminal, specDigest, type TaskEntry, type TaskId } from '@moot/crdt-state'
import { roomHere } from './admission.ts'
import { want } from './desire.ts'
import {
  act,
  containerOf,
  isBusy,
  isDue,
  isUp,
  putRejection,
  tasksOfSlot,
  wakeAt,
  type Draft,
} from './draft.ts'
import { asksFor, isGlobal } from './spec.ts'

/**
 * Ended tasks stay with their containers (so that a crashed task's logs can be read), as many per slot as the cluster
 * says, the live one counted, as in Swarm; those of slots that nobody wants go.
 */
export function trimHistory(draft: Draft): void {
  const { view, settings, synced } = draft.input
  if (!synced) return
  const limit = view.cluster?.spec.TaskHistoryRetentionLimit ?? settings.taskHistoryLimit
  for (const slot of draft.slots.keys()) {
    const tasks = tasksOfSlot(draft, slot)
    let room = Math.max(0, limit - (tasks.some((task) => isClaim(task)) ? 1 : 0))
    for (const task of tasks) {
      if (!isTerminal(task.state) || task.desired !== 'shutdown') continue
      if (room > 0 && isWanted(draft, task)) room -= 1
      else want(draft, task, 'remove')
    }
  }
}

function isWanted(draft: Draft, task: TaskEntry): boolean {
  const { mayBeLost, view } = draft.input
  const service = view.services.get(task.service)
  if (service === undefined) return mayBeLost('service', task.service)
  return asksFor(service.spec, task.slot) && (!isGlobal(service.spec) || task.slot === view.self)
}

/**
 * A refusal holds for one digest and for a bounded time (images appear), or until there is room. Also of a digest that is not the newest:
 * while an update is unproven a slot may be claimed with an older one.
 */
export function withdrawRejections(draft: Draft): void {
  const { view, settings } = draft.input
  const hasRoomFor = roomHere(draft)
  for (const [id, rejection] of draft.rejections) {
    const service = view.services.get(id)
    const current = service !== undefined && specDigest(service.spec) === rejection.digest
    const hasRoom = current && rejection.isShort === true && hasRoomFor(service.spec)
    if (service === undefined || hasRoom || isDue(draft, rejection.atMs, settings.rejectionRetryMs))
      putRejection(draft, id, undefined)
  }
}

/**
 * Containers of ours that no entry of the record speaks of (their claim never became durable, or was forgotten), and
 * second containers of one task: stopped and removed. Only after the first sync, and never while the engine has not
 * been listed in full.
 */
export function removeOrphans(draft: Draft): void {
  const { containers, synced, settings } = draft.input
  if (!synced) return
  for (const [id, all] of containers) {
    if (isBusy(draft, id)) continue
    const task = draft.tasks.get(id)
    if (task === undefined && draft.own.tasks.has(id)) continue
    const kept = task === undefined ? undefined : containerOf(draft, task)?.container
    const extra = all.find((container) => container.container !== kept && container.state !== 'removing')
    if (extra === undefined) continue
    if (failedNow(draft, id)) continue
    if (isUp(extra))
      act(draft, { kind: 'stop', task: id, container: extra.container, graceMs: settings.stopGraceMs })
    else act(draft, { kind: 'remove', task: id, container: extra.container })
  }
}

/** An orphan has no entry to note a failure in: the repetition waits for a wake-up. */
function failedNow(draft: Draft, id: TaskId): boolean {
  if (draft.input.results.get(id)?.result.kind !== 'failed') return false
  wakeAt(draft, draft.input.nowMs + draft.input.settings.engineRetryMs)
  return true
}
