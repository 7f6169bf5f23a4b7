import { isClaim, type TaskEntry } from '@moot/crdt-state'
import { workloadOf } from '../placement/workload.ts'
import type { EngineDown } from './input.ts'
import { changeTask, wakeAt, wasStarted, type Draft } from './draft.ts'

const downError = 'its Docker engine is down'

/**
 * An engine that does not come back: its tasks' claims end, so that they run elsewhere. A restart or an upgrade of
 * Docker is waited for; where the containers' processes live on without it, as long as for an agent whose host lives.
 * What cannot run elsewhere (a global service's task, one with a volume of this node) waits for its engine.
 */
export function giveUp(draft: Draft, { forMs, hasEnded }: EngineDown): void {
  const { synced, settings, containers, nowMs } = draft.input
  if (!synced) return
  for (const task of draft.tasks.values()) {
    if (!isClaim(task) || task.done === true) continue
    const made = containers.get(task.id) ?? []
    const lives = wasStarted(task) && !(made.length > 0 && made.every(hasEnded))
    const graceMs = lives ? settings.agentDownGraceMs : settings.engineDownGraceMs
    if (forMs < graceMs) wakeAt(draft, nowMs + graceMs - forMs)
    else if (!isTied(draft, task))
      changeTask(draft, task, { desired: wasStarted(task) ? 'shutdown' : 'remove', error: downError })
  }
}

function isTied(draft: Draft, task: TaskEntry): boolean {
  const service = draft.input.view.services.get(task.service)
  if (service === undefined) return false
  const { mode, volumes } = workloadOf(task.service, service)
  return mode.kind === 'global' || volumes.length > 0
}
