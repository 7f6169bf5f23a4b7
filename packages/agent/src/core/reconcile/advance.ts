import { isClaim, isTerminal, type TaskEntry } from '@moot/crdt-state'
import type { ContainerObservation, TaskSetup } from './actions.ts'
import { admit } from './admission.ts'
import { attach } from './attach.ts'
import {
  act,
  changeTask,
  containerOf,
  dropTask,
  isBusy,
  isDue,
  isUp,
  slotOf,
  tasksOfSlot,
  wakeAt,
  type Draft,
} from './draft.ts'
import { healthOf } from './health.ts'
import { isExclusiveSlot, keyOf } from './lease-need.ts'
import { explainWaiting, hasLostLease, permissionOf } from './lease.ts'
import { isItsTurn } from './illness.ts'
import { leaveSlotToHolder } from './leave.ts'
import { engineWaitMessage, rejectTask } from './observe.ts'
import { isAfterIllness, notWellYet } from './restart.ts'
import { isBalanced, setupOf, specOfTask, stopGraceOf } from './spec.ts'

/** The message of a task that has all but a lease. */
const leaseWaitMessage = 'waiting for its lease'

/** Step 6: each task of this node takes one step towards what is desired of it. */
export function advanceTasks(draft: Draft): void {
  for (const id of draft.tasks.keys()) {
    const task = draft.tasks.get(id)
    // What this very call claimed is durable first; its life begins with the next call.
    if (task === undefined || !draft.own.tasks.has(id) || isBusy(draft, id)) continue
    if (waitsForEngine(draft, task)) continue
    const container = containerOf(draft, task)
    if (isTerminal(task.state)) afterEnd(draft, task, container)
    else if (task.desired === 'shutdown' || task.desired === 'remove') retire(draft, task, container)
    else advance(draft, task, container)
  }
}

function waitsForEngine(draft: Draft, task: TaskEntry): boolean {
  return (
    task.message === engineWaitMessage && !isDue(draft, task.stateAtMs, draft.input.settings.engineRetryMs)
  )
}

function advance(draft: Draft, task: TaskEntry, container: ContainerObservation | undefined): void {
  switch (task.state) {
    case 'assigned':
    case 'accepted':
      return accept(draft, task)
    case 'preparing':
      return make(draft, task)
    case 'ready':
      return start(draft, task, container)
    case 'starting':
    case 'running':
      return keep(draft, task, container)
    default:
      return undefined
  }
}

function accept(draft: Draft, task: TaskEntry): void {
  if (!mayPrepare(draft, task)) return
  const admission = admit(draft, task)
  if (admission.kind === 'wait') return waitForRoom(draft, task, admission.reason)
  if (admission.kind === 'refused') {
    if (!leaveSlotToHolder(draft, task, admission.reason)) rejectTask(draft, task, admission.reason, true)
    return
  }
  const needed = setupOf(draft, task)
  if (needed.kind === 'missing') {
    changeTask(draft, task, { state: 'accepted', message: 'waiting for its specs', error: needed.what })
    return
  }
  const preparing = changeTask(draft, task, { state: 'preparing', message: 'preparing', error: undefined })
  act(draft, { kind: 'prepare', task: task.id, setup: { ...needed.setup, task: preparing } })
}

/** What stops here may take its grace, which may be hours: who waits for it says so. */
function waitForRoom(draft: Draft, task: TaskEntry, reason: string): void {
  if (isDue(draft, task.createdAtMs, draft.input.settings.explainWaitingAfterMs))
    changeTask(draft, task, { message: 'waiting for another task to stop here', error: reason })
}

/**
 * A restarted task's container is made while its delay passes, as in Swarm; but where the task before it never got a
 * container, making one is what the delay is for.
 */
function mayPrepare(draft: Draft, task: TaskEntry): boolean {
  if (task.restart === undefined) return true
  const before = tasksOfSlot(draft, slotOf(task)).find((other) => other.attempt === task.attempt - 1)
  return before?.containerId !== undefined || isRestartDue(draft, task, task.restart)
}

function isRestartDue(draft: Draft, task: TaskEntry, restart: NonNullable<TaskEntry['restart']>): boolean {
  return isDue(draft, task.createdAtMs, restart.notBeforeMs - task.createdAtMs)
}

/** After a restart of the agent it is not known whether the image is here: preparing again costs an inspection. */
function make(draft: Draft, task: TaskEntry): void {
  const needed = setupOf(draft, task)
  if (needed.kind === 'missing') {
    changeTask(draft, task, { message: 'waiting for its specs', error: needed.what })
    return
  }
  const answer = draft.input.results.get(task.id)
  const prepared = answer?.action === 'prepare' && answer.result.kind === 'done'
  if (!prepared) return act(draft, { kind: 'prepare', task: task.id, setup: needed.setup })
  const permission = permissionOf(draft, task)
  if (permission.kind === 'wait') {
    changeTask(draft, task, { state: 'ready', message: leaseWaitMessage, error: undefined })
    wakeAt(draft, draft.input.nowMs + draft.input.settings.explainWaitingAfterMs)
    return
  }
  const attached = attach(draft, task, needed.setup)
  if (attached.kind === 'waits') {
    changeTask(draft, task, { message: 'waiting for an address', error: attached.why })
    return
  }
  const { setup } = attached
  switch (permission.kind) {
    case 'may':
      return act(draft, { kind: 'create', task: task.id, setup })
    case 'take':
      return makeUnder(draft, setup.task, setup, permission.fence)
  }
}

/** The fence stands in the record before there is a container with it. */
function makeUnder(draft: Draft, task: TaskEntry, setup: TaskSetup, fence: number): void {
  const slot = keyOf(draft.input.view, task)
  if (slot === undefined) return
  const leased = changeTask(draft, task, { fence, leased: slot, error: undefined })
  act(draft, { kind: 'create', task: task.id, setup: { ...setup, task: leased, lease: { slot, fence } } })
}

function start(draft: Draft, task: TaskEntry, container: ContainerObservation | undefined): void {
  if (container === undefined && task.containerId === undefined) return waitForLease(draft, task)
  if (container === undefined || container.state !== 'created' || !mayStart(draft, task)) return
  if (!takeStart(draft)) return
  changeTask(draft, task, { desired: 'running', state: 'starting', message: 'starting', error: undefined })
  act(draft, { kind: 'start', task: task.id, container: container.container })
}

/** Its image is here. It may have gone meanwhile, so it is prepared once more, which is an inspection. */
function waitForLease(draft: Draft, task: TaskEntry): void {
  if (permissionOf(draft, task).kind === 'wait') explainWaiting(draft, task)
  else make(draft, task)
}

/**
 * Every node starts so many tasks a second at most, whatever it believes of the others: who is wrong about them has then
 * not done much harm. Those that began to start lately are counted by the record, so that an agent which restarts does
 * not begin anew.
 */
function takeStart(draft: Draft): boolean {
  const { nowMs, settings } = draft.input
  draft.startsAtMs ??= [...draft.tasks.values()]
    .filter(({ state }) => state === 'starting' || state === 'running')
    .map(({ stateAtMs }) => stateAtMs)
    .filter((atMs) => atMs <= nowMs && atMs > nowMs - 1_000)
  if (draft.startsAtMs.length >= settings.startsPerSecondMax) {
    wakeAt(draft, Math.min(...draft.startsAtMs) + 1_000)
    return false
  }
  draft.startsAtMs.push(nowMs)
  return true
}

/**
 * The slot's older task of this node must be over (a start-first update made this one `running` from the outset), its
 * delay must have passed, and it must still be the slot's winning claim after the settle time.
 */
function mayStart(draft: Draft, task: TaskEntry): boolean {
  const { synced, settings, nowMs } = draft.input
  if (!synced || !isWinning(draft, task) || permissionOf(draft, task).kind !== 'may') return false
  if (isExclusiveSlot(draft, task.service, task.slot) && olderLives(draft, task)) return false
  if (task.desired === 'ready' && olderLives(draft, task)) return false
  if (olderLeaves(draft, task)) return false
  const { restart } = task
  if (restart !== undefined && !isRestartDue(draft, task, restart)) return false
  // Who restarts has held the slot all along. What only tells of ill health on another node has not.
  if (restart !== undefined && restart.count > 0) return true
  return nowMs < task.createdAtMs || isDue(draft, task.createdAtMs, settings.settleMs)
}

function isWinning(draft: Draft, task: TaskEntry): boolean {
  const { placement, view } = draft.input
  const where = placement.slots.get(slotOf(task))
  if (where?.kind === 'held') return where.holder.node === view.self
  return where?.kind === 'moving' && (where.successor?.node === view.self || where.holder.node === view.self)
}

function olderLives(draft: Draft, task: TaskEntry): boolean {
  return tasksOfSlot(draft, slotOf(task)).some((other) => {
    if (other.attempt >= task.attempt) return false
    const container = containerOf(draft, other)
    return !isTerminal(other.state) || (container !== undefined && isUp(container))
  })
}

/** A task of this slot that is being stopped may still hold its host ports. */
function olderLeaves(draft: Draft, task: TaskEntry): boolean {
  return tasksOfSlot(draft, slotOf(task)).some((other) => {
    if (other.attempt >= task.attempt || (other.desired !== 'shutdown' && other.desired !== 'remove'))
      return false
    const container = containerOf(draft, other)
    return container === undefined ? !isTerminal(other.state) : isUp(container)
  })
}

function keep(draft: Draft, task: TaskEntry, container: ContainerObservation | undefined): void {
  if (container === undefined) return
  if (container.state === 'created') {
    // The start was never carried out: the agent ended in between.
    if (permissionOf(draft, task).kind === 'may')
      act(draft, { kind: 'start', task: task.id, container: container.container })
  } else if (task.illness !== undefined && isUp(container)) {
    stopIll(draft, task, task.illness, container)
  }
}

function stopIll(
  draft: Draft,
  task: TaskEntry,
  illness: NonNullable<TaskEntry['illness']>,
  container: ContainerObservation,
): void {
  if (illness.kind !== 'stopping') {
    const health = healthOf(draft, task, container)
    // It may have got well while nobody asked.
    if (health.kind === 'ill' && health.by === 'record') return
    if (!isItsTurn(draft, task, illness)) return
    changeTask(draft, task, { illness: { ...illness, kind: 'stopping' }, error: illness.why })
  }
  passIllnessOn(draft, task)
  stop(draft, task, container)
}

/** What an update has made to take the slot over is all that is left of it: until that is well, the slot is down for ill health. */
function passIllnessOn(draft: Draft, task: TaskEntry): void {
  for (const next of tasksOfSlot(draft, slotOf(task))) {
    if (next.id === task.id || !isClaim(next) || next.state === 'running' || isAfterIllness(next)) continue
    changeTask(draft, next, {
      restart: { ...notWellYet(draft.input.nowMs), ...next.restart, afterIllness: true },
    })
  }
}

/** Towards its end: stopped if it runs; over at once if it never did. */
function retire(draft: Draft, task: TaskEntry, container: ContainerObservation | undefined): void {
  if (container !== undefined && isUp(container)) {
    return mustDrain(draft, task)
      ? act(draft, { kind: 'drain', task: task.id })
      : stop(draft, task, container)
  }
  if (container !== undefined && container.state === 'removing') return
  const ended = changeTask(draft, task, {
    state: 'shutdown',
    message: 'shutdown',
    error: undefined,
    pid: undefined,
  })
  afterEnd(draft, ended, container)
}

/**
 * A task that is sent traffic leaves balancing everywhere before it is told to stop: that its record says so is not enough,
 * the others must have read it. One that is not running, or not ready, is sent none.
 */
function mustDrain(draft: Draft, task: TaskEntry): boolean {
  if (task.state !== 'running' || task.unready !== undefined || hasLostLease(draft, task)) return false
  if (draft.input.results.get(task.id)?.action === 'drain') return false
  const spec = specOfTask(draft, task)
  // Of what was removed with its service it may not be known any more.
  return spec === undefined || isBalanced(spec)
}

/** A task that is over: nothing of it may run; once it is to be forgotten, its container goes and then its entry. */
function afterEnd(draft: Draft, task: TaskEntry, container: ContainerObservation | undefined): void {
  if (container !== undefined && isUp(container)) return stop(draft, task, container)
  // Nothing of an older lease, or of before there were leases, may be started late, when there is a newer one.
  const mayBeLate = task.fence !== undefined || isExclusiveSlot(draft, task.service, task.slot)
  const isLeftover = mayBeLate && container?.state === 'created'
  if (task.desired !== 'remove' && !isLeftover) return
  if (container === undefined) dropTask(draft, task)
  else if (container.state !== 'removing')
    act(draft, { kind: 'remove', task: task.id, container: container.container })
}

function stop(draft: Draft, task: TaskEntry, container: ContainerObservation): void {
  act(draft, { kind: 'stop', task: task.id, container: container.container, graceMs: graceMs(draft, task) })
}

function graceMs(draft: Draft, task: TaskEntry): number {
  // Its watchdog kills at this very moment: another node may have the slot two seconds later.
  if (hasLostLease(draft, task)) return 0
  return stopGraceOf(specOfTask(draft, task), draft.input.settings)
}
