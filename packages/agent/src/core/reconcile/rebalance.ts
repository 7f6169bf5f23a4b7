import {
  askedMoves,
  type AskedMove,
  isClaim,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import { isOnProbation } from '../membership/liveness.ts'
import { branchesOf } from '../placement/spread.ts'
import { workloadOf } from '../placement/workload.ts'
import { pendingMoves } from '../rebalance/pending.ts'
import { changeTask, isDue, slotOf, type Draft } from './draft.ts'
import { isUnderWay, ownProgress } from './progress.ts'
import { isGlobal, replicasOf, slotIdOf } from './spec.ts'

/**
 * Step 5: tasks that were asked to move for the sake of evenness say so in the record when their turn has come, so many
 * at a time as an update replaces; another node claims the slot, and the task goes once that one runs.
 */
export function rebalance(draft: Draft): void {
  if (!draft.input.synced) return
  const { services } = draft.input.view
  for (const task of draft.tasks.values()) {
    const service = services.get(task.service)
    if (service === undefined || !isClaim(task)) continue
    if (task.balance?.kind === 'leaving') goOn(draft, service, task, task.balance)
    else begin(draft, service, task)
  }
}

function begin(draft: Draft, service: Resource<ServiceSpec>, task: TaskEntry): void {
  const moves = askedMoves(service.facts)
  if (moves.length === 0 || isGlobal(service.spec) || task.leaves !== undefined) return
  const isOfIt = ({ slot, attempt, from }: AskedMove): boolean =>
    slot === task.slot && attempt === task.attempt && from === draft.input.view.self
  const asked = Math.max(0, ...moves.filter(isOfIt).map((move) => move.asked))
  if (asked <= (task.balance?.asked ?? 0) || task.state !== 'running') return
  // An update comes first: what it has not moved yet it would move with the older spec.
  if (isUnderWay(ownProgress(draft, service)) || !isItsTurn(draft, service, task)) return
  const shares = sharesOf(draft, service)
  changeTask(draft, task, { balance: { kind: 'leaving', asked, sinceMs: draft.input.nowMs, shares } })
}

/**
 * Fewer than `parallelism` others are on their way or come before it. What has moved has moved, and the order is fixed: a
 * stale view delays a move.
 */
function isItsTurn(draft: Draft, service: Resource<ServiceSpec>, task: TaskEntry): boolean {
  const { view, liveness } = draft.input
  const tasksOf: Parameters<typeof pendingMoves>[1]['tasksOf'] = (node, id) =>
    node === view.self ? [...draft.tasks.values()].filter((own) => own.service === id) : undefined
  const pending = pendingMoves(service, { records: view.records, liveness, tasksOf })
  const ahead = pending.filter(
    ({ from, move, isUnderWay, canBegin }) =>
      (from !== view.self || move.slot !== task.slot) &&
      (isUnderWay || (canBegin && move.slot < Number(task.slot))),
  )
  const parallelism = service.spec.UpdateConfig?.Parallelism ?? 1
  return parallelism === 0 || ahead.length < parallelism
}

/** What this node and its branches have of the service, as the placement counts it, without what is leaving already. */
function sharesOf(draft: Draft, service: Resource<ServiceSpec>): readonly number[] {
  const { view, liveness, placement } = draft.input
  const own = [...draft.tasks.values()].filter((task) => task.service === service.id && isClaim(task))
  const leaving = new Set(own.filter((task) => task.balance?.kind === 'leaving').map(({ slot }) => slot))
  const staying = new Set(own.map(({ slot }) => slot)).difference(leaving)
  const share = staying.size * (isOnProbation(liveness.get(view.self)) ? 2 : 1)
  const { spread } = workloadOf(service.id as ServiceId, service)
  if (spread.length === 0) return [share]
  const branchesAt = (id: NodeId): readonly string[] => {
    const settings = view.nodes.get(id)
    return settings === undefined ? [] : branchesOf(spread, { id, settings, record: view.records.get(id) })
  }
  const counts = new Map<string, number>()
  for (let slot = 1; slot <= replicasOf(service.spec); slot += 1) {
    const where = placement.slots.get(slotIdOf(service.id as ServiceId, slot))
    const claim =
      where?.kind === 'held' ? where.holder : where?.kind === 'moving' ? where.successor : undefined
    if (claim === undefined || leaving.has(slot)) continue
    for (const branch of branchesAt(claim.node)) counts.set(branch, (counts.get(branch) ?? 0) + 1)
  }
  return [...branchesAt(view.self).map((branch) => counts.get(branch) ?? 0), share]
}

function goOn(
  draft: Draft,
  service: Resource<ServiceSpec>,
  task: TaskEntry,
  balance: NonNullable<TaskEntry['balance']>,
): void {
  const { placement, settings } = draft.input
  const where = placement.slots.get(slotOf(task))
  const isMoving = where?.kind === 'moving' && where.because.filter === 'balance'
  const isTaken = where?.kind === 'moving' && where.successor !== undefined
  if (!isTaken && isUnderWay(ownProgress(draft, service))) {
    changeTask(draft, task, { balance: undefined })
    return
  }
  const isHomeless = isMoving && !isTaken && where.to === undefined
  const waitMs = isHomeless ? settings.updateMonitorMs : settings.rebalanceMoveMaxMs
  if (isDue(draft, balance.sinceMs, waitMs))
    changeTask(draft, task, { balance: { ...balance, kind: 'staying' } })
}
