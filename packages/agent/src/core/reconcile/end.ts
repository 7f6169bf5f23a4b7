import type { TaskEntry } from '@moot/crdt-state'
import { changeTask, type Draft, type TaskPatch } from './draft.ts'

/**
 * The task is over. One that was asked to stop ends as `shutdown`, however it went. One that ran for long starts its
 * back-off anew.
 */
export function endTask(
  draft: Draft,
  task: TaskEntry,
  end: TaskPatch & { readonly state: 'complete' | 'failed' | 'rejected' },
): TaskEntry {
  const { nowMs, settings } = draft.input
  const ranForMs = task.state === 'running' ? nowMs - task.stateAtMs : 0
  const calmed =
    task.restart !== undefined && ranForMs >= settings.restartBackoffResetMs
      ? { restart: { ...task.restart, count: 0 } }
      : {}
  const stopped = task.desired === 'shutdown' || task.desired === 'remove'
  const outcome: TaskPatch = stopped
    ? { ...end, state: 'shutdown', message: 'shutdown', error: undefined }
    : end
  // Of what it ended is not what it might have been stopped for.
  const illness = task.illness?.kind === 'stopping' ? task.illness : undefined
  return changeTask(draft, task, { ...outcome, ...calmed, illness, unready: undefined, pid: undefined })
}
