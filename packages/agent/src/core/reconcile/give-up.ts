import { isClaim, type NodeId, type TaskEntry, type TaskId } from '@moot/crdt-state'
import type { SlotPlacement } from '../placement/placement.ts'
import { workloadOf } from '../placement/workload.ts'
import type { EngineDown } from './input.ts'
import { changeTask, slotOf, wakeAt, wasStarted, type Draft } from './draft.ts'

const downError = 'its Docker engine is down'

/**
 * An engine that does not come back: its tasks' claims end, so that they run elsewhere. A restart or an upgrade of
 * Docker is waited for; where the containers' processes live on without it, as long as for an agent whose host lives.
 * Only what then has a place on another node is given up. All else would be lost for nothing (the only host, a
 * constraint to this node, a volume of it, a global service's task, all others full or without their engines too): it
 * goes on when the engine is back, or ends as soon as there is a place.
 */
export function giveUp(draft: Draft, engine: EngineDown): void {
  if (!draft.input.synced) return
  const overdue = [...draft.tasks.values()].filter((task) => isOverdue(draft, engine, task))
  if (overdue.length === 0) return
  const ended: ReadonlySet<TaskId> = new Set(overdue.map((task) => task.id))
  const { slots } = engine.placementWithout(ended)
  for (const task of overdue) {
    if (isTakenOver(draft, slots.get(slotOf(task))))
      changeTask(draft, task, { desired: wasStarted(task) ? 'shutdown' : 'remove', error: downError })
  }
}

function isOverdue(draft: Draft, { forMs, hasEnded }: EngineDown, task: TaskEntry): boolean {
  const { settings, containers, nowMs } = draft.input
  if (!isClaim(task) || task.done === true) return false
  const made = containers.get(task.id) ?? []
  const lives = wasStarted(task) && !(made.length > 0 && made.every(hasEnded))
  const graceMs = lives ? settings.agentDownGraceMs : settings.engineDownGraceMs
  if (forMs >= graceMs) return !hasItsVolume(draft, task)
  wakeAt(draft, nowMs + graceMs - forMs)
  return false
}

/** What was started has made its volumes, though placement may not know of them yet: they are listed every half minute. */
function hasItsVolume(draft: Draft, task: TaskEntry): boolean {
  const service = draft.input.view.services.get(task.service)
  return service !== undefined && wasStarted(task) && workloadOf(task.service, service).volumes.length > 0
}

/** By a node that can carry it now: one that is suspect, or whose engine is down too, may hold a claim of it as well. */
function isTakenOver({ input }: Draft, where: SlotPlacement | undefined): boolean {
  const taker = takerOf(where)
  if (taker === undefined || taker === input.view.self) return false
  const engine = input.view.records.get(taker)?.status?.engine
  return input.liveness.get(taker)?.kind === 'alive' && engine?.state === 'up'
}

function takerOf(where: SlotPlacement | undefined): NodeId | undefined {
  switch (where?.kind) {
    case 'held':
      return where.holder.node
    case 'vacant':
    case 'moving':
      return where.to
    case 'pending':
    case undefined:
      return undefined
  }
}
