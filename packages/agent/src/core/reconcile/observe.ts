import { isTerminal, type TaskEntry } from '@moot/crdt-state'
import { isLeaving } from '../health/subjects.ts'
import type { ActionResult, ContainerObservation } from './actions.ts'
import { addressesOf } from './attach.ts'
import {
  changeTask,
  containerOf,
  isUp,
  putRejection,
  tasksOfSlot,
  slotOf,
  type Draft,
  type TaskPatch,
} from './draft.ts'
import { endTask } from './end.ts'
import { fallenIll, healthOf, unreadySince } from './health.ts'
import { endLeaseless } from './lease.ts'

/** The message of a task whose last engine call failed because the engine is unwell: it is repeated. */
export const engineWaitMessage = 'waiting for the engine'

/** Step 1: what actions answered and what the engine shows moves the tasks' states forward. */
export function observe(draft: Draft): void {
  for (const task of draft.own.tasks.values()) {
    if (!isTerminal(task.state) && task.fence !== undefined && endLeaseless(draft, task, task.fence)) continue
    const answer = draft.input.results.get(task.id)
    const current =
      answer?.result.kind === 'failed' ? actionFailed(draft, task, answer.action, answer.result) : task
    if (!isTerminal(current.state)) observeContainer(draft, current)
  }
}

function actionFailed(
  draft: Draft,
  task: TaskEntry,
  action: string,
  result: ActionResult & { readonly kind: 'failed' },
): TaskEntry {
  const retry = action === 'stop' || action === 'remove' || result.cause === 'engine'
  if (retry) {
    // The time of this failure is what the repetition counts from.
    const patch = { message: engineWaitMessage, error: result.error, stateAtMs: draft.input.nowMs }
    return changeTask(draft, task, patch)
  }
  if (isTerminal(task.state)) return task
  if (result.cause === 'rejected') return rejectTask(draft, task, result.error)
  return endTask(draft, task, { state: 'failed', error: result.error })
}

/**
 * This node cannot run the task's spec. The slot is placed elsewhere, unless another task of the slot lives here (a
 * step of an update): then that one stays, and the update has failed for this slot.
 */
export function rejectTask(draft: Draft, task: TaskEntry, reason: string, isShort = false): TaskEntry {
  const others = tasksOfSlot(draft, slotOf(task)).some(
    (other) => other.id !== task.id && !isTerminal(other.state),
  )
  if (!others && task.desired !== 'shutdown' && task.desired !== 'remove') {
    refuse(draft, task, reason, isShort)
  }
  return endTask(draft, task, { state: 'rejected', error: reason })
}

/**
 * The slots of the task's spec go elsewhere for a while.
 *
 * @param isShort for as long as there is no room for it.
 */
export function refuse(draft: Draft, { service, digest }: TaskEntry, reason: string, isShort: boolean): void {
  const rejection = { service, digest, reason, atMs: draft.input.nowMs, ...(isShort && { isShort }) }
  putRejection(draft, service, rejection)
}

function observeContainer(draft: Draft, task: TaskEntry): void {
  const container = containerOf(draft, task)
  if (container === undefined) {
    // A listing in full does not show it: removed by hand, or lost with the host.
    if (task.containerId !== undefined && !draft.input.inFlight.has(task.id)) {
      endTask(draft, task, { state: 'failed', error: 'container is gone' })
    }
    return
  }
  if (container.state === 'exited' || container.state === 'dead') {
    exited(draft, task, container)
  } else if (container.state === 'created') {
    if (!reached(task, 'ready'))
      changeTask(draft, task, { ...shown(task, container), state: 'ready', message: 'prepared' })
    // It was ready without one, and waited for a lease.
    else if (task.containerId === undefined) changeTask(draft, task, shown(task, container))
  } else if (isUp(container)) {
    up(draft, task, container)
  }
}

function reached(task: TaskEntry, state: 'ready' | 'starting'): boolean {
  if (task.state === 'running') return true
  return state === 'ready' ? task.state === 'ready' || task.state === 'starting' : task.state === 'starting'
}

function up(draft: Draft, task: TaskEntry, container: ContainerObservation): void {
  const health = healthOf(draft, task, container)
  const seen = { ...shown(task, container), seenEpoch: draft.own.epoch }
  // It goes, whatever it says of itself in the end.
  if (isLeaving(task)) {
    changeTask(draft, task, seen)
    return
  }
  switch (health.kind) {
    case 'starting':
      if (task.state !== 'running')
        changeTask(draft, task, {
          ...shown(task, container),
          state: 'starting',
          message: 'starting',
          error: health.why,
        })
      return
    case 'ill':
      changeTask(draft, task, { ...shown(task, container), ...fallenIll(draft, task, health.why) })
      return
    case 'unready':
      changeTask(draft, task, {
        ...seen,
        ...isUpAndWell(task),
        unready: unreadySince(draft, task, health.why),
      })
      return
    case 'well':
      changeTask(draft, task, { ...seen, ...isUpAndWell(task), unready: undefined })
  }
}

function isUpAndWell(task: TaskEntry): TaskPatch {
  const { afterIllness: _, ...restart } = task.restart ?? { afterIllness: undefined }
  return {
    state: 'running',
    message: 'started',
    error: undefined,
    illness: undefined,
    ...('count' in restart && { restart }),
  }
}

function shown(task: TaskEntry, container: ContainerObservation): TaskPatch {
  return {
    containerId: container.container,
    pid: container.pid === undefined || container.pid === 0 ? undefined : container.pid,
    ...(container.ports === undefined ? {} : { ports: container.ports }),
    ...(container.addresses === undefined ? {} : { addresses: addressesOf(task, container.addresses) }),
  }
}

function exited(draft: Draft, task: TaskEntry, container: ContainerObservation): void {
  const exitCode = container.exitCode ?? 0
  const seen = { containerId: container.container, exitCode }
  if (task.illness?.kind === 'stopping') {
    endTask(draft, task, { ...seen, state: 'failed', error: task.illness.why })
  } else if (exitCode === 0 && !hasError(container)) {
    endTask(draft, task, { ...seen, state: 'complete', message: 'finished', error: undefined })
  } else {
    endTask(draft, task, { ...seen, state: 'failed', error: exitError(container, exitCode) })
  }
}

function hasError(container: ContainerObservation): boolean {
  return container.error !== undefined && container.error !== ''
}

/** In the words of swarmkit's container adapter. */
function exitError(container: ContainerObservation, exitCode: number): string {
  const why = hasError(container)
    ? `: ${container.error}`
    : container.oomKilled === true
      ? ': out of memory'
      : ''
  return `task: non-zero exit (${exitCode})${why}`
}
