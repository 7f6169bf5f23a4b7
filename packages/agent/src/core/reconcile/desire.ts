import { isClaim, isTerminal, type NodeId, type TaskEntry } from '@moot/crdt-state'
import { isUp } from '../membership/liveness.ts'
import type { Claim, SlotPlacement } from '../placement/placement.ts'
import { changeTask, isMade, slotOf, wasStarted, type Draft } from './draft.ts'
import { isExclusiveSlot } from './lease-need.ts'
import { isGlobal, leavesForOlder } from './spec.ts'

/**
 * Step 2: which of this node's claims are to end, because nobody wants the slot, because another holds it, or because
 * it moves away. Nothing is stopped before the first sync: what looks unwanted may only not be known here yet.
 */
export function withdraw(draft: Draft): void {
  if (!draft.input.synced) return
  const surplus = surplusOf(draft)
  for (const task of draft.own.tasks.values()) {
    const current = draft.tasks.get(task.id)
    // Judged by what the record said: the placement was made from it.
    if (current === undefined || !isClaim(task)) continue
    const desired = verdictOn(draft, task, surplus)
    if (desired !== undefined) want(draft, current, desired)
  }
}

function surplusOf(draft: Draft): ReadonlySet<string> {
  const { placement, view } = draft.input
  const ids = new Set<string>()
  for (const claim of placement.surplus) if (claim.node === view.self) ids.add(claim.task.id)
  return ids
}

/** A task that has ended keeps its place in the slot's history; one that only claimed leaves no trace. */
export function want(draft: Draft, task: TaskEntry, desired: 'shutdown' | 'remove'): void {
  if (task.desired === 'remove' || task.desired === desired) return
  changeTask(draft, task, { desired, done: undefined })
}

function verdictOn(
  draft: Draft,
  task: TaskEntry,
  surplus: ReadonlySet<string>,
): 'shutdown' | 'remove' | undefined {
  const { mayBeLost, view, placement } = draft.input
  const service = view.services.get(task.service)
  // No member any more: nothing of the cluster is this node's to run.
  if (!view.nodes.has(view.self)) return 'remove'
  if (service === undefined) return mayBeLost('service', task.service) ? undefined : 'remove'
  // A drained node's global tasks stay in the history, as in Swarm; a slot that was scaled away goes.
  if (surplus.has(task.id)) return isGlobal(service.spec) ? 'shutdown' : 'remove'
  const where = placement.slots.get(slotOf(task))
  if (where === undefined || !mustLeave(draft, task, where)) return undefined
  return wasStarted(task) ? 'shutdown' : 'remove'
}

function mustLeave(draft: Draft, task: TaskEntry, where: SlotPlacement): boolean {
  const self = draft.input.view.self
  if (where.kind === 'held')
    return where.holder.node !== self && isLoser(where.losers, task) && yields(draft, task, [where.holder])
  if (where.kind !== 'moving') return false
  const { holder, successor, to } = where
  const survivors = successor === undefined ? [holder] : [successor, holder]
  if (isLoser(where.losers, task)) return holder.node !== self && yields(draft, task, survivors)
  if (holder.node !== self || successor?.task.id === task.id) return false
  if (successor !== undefined) return yields(draft, task, [successor])
  // Claimed and not yet started: it serves nobody, so the slot may be placed anew at once.
  if (!wasStarted(task)) return mayStop(where.because.filter)
  return to === undefined && mayStop(where.because.filter)
}

function isLoser(losers: readonly Claim[], task: TaskEntry): boolean {
  return losers.some((claim) => claim.task.id === task.id)
}

/**
 * The one that leaves goes first only if it never started; else after it sees one of the others at work, and not while
 * it may be seen otherwise elsewhere who has the better right: then both would go.
 */
function yields(draft: Draft, task: TaskEntry, survivors: readonly Claim[]): boolean {
  if (!wasStarted(task)) return true
  const { unsettled, view } = draft.input
  if (unsettled.has(view.self)) return false
  return survivors.some(
    (claim) => !mayLeave(draft, claim) && (isServing(draft, claim) || isNext(draft, claim)),
  )
}

/** Its node has not heard of the newest spec, and may be about to leave the slot to this one for an update before. */
function mayLeave({ input: { view } }: Draft, { task }: Claim): boolean {
  const service = view.services.get(task.service)
  return service !== undefined && leavesForOlder(task, service)
}

/**
 * A record that comes from before its agent's (or host's) restart still says `running` of what may be gone: only what
 * the node has seen since its last start counts. So may a node be gone that does not answer: seconds later it is known. And of one
 * whose agent is down nobody knows what became of its tasks since.
 */
function isServing(draft: Draft, { node, task }: Claim): boolean {
  if (task.done === true && isTerminal(task.state)) return true
  if (!isSettled(draft, node)) return false
  const epoch = draft.input.view.records.get(node)?.epoch
  const isWell = task.illness === undefined && task.unready === undefined
  return task.state === 'running' && task.desired === 'running' && isWell && task.seenEpoch === epoch
}

/**
 * Of an exclusive slot the one that leaves goes first: the other cannot run before it has the lease. But not before all is
 * there that it needs besides, so that the slot is down for no longer than that takes.
 */
function isNext(draft: Draft, { node, task }: Claim): boolean {
  if (!isExclusiveSlot(draft, task.service, task.slot) || !isSettled(draft, node)) return false
  return isMade(task) && (task.desired === 'running' || task.desired === 'ready')
}

function isSettled({ input: { liveness, unsettled } }: Draft, node: NodeId): boolean {
  return isUp(liveness.get(node)) && !unsettled.has(node)
}

/**
 * Filters whose "no" ends a running task even where no other node takes it: the person drained the node or took the
 * label away (Swarm's constraint enforcer does the same). Short resources or a refused newer spec do not.
 */
function mayStop(filter: string): boolean {
  return filter === 'availability' || filter === 'constraints'
}
