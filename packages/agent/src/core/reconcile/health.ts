import type { TaskEntry } from '@moot/crdt-state'
import { hasProbes, probesOf } from '../health/labels.ts'
import type { HealthStanding } from '../health/standing.ts'
import type { ContainerObservation } from './actions.ts'
import type { Draft, TaskPatch } from './draft.ts'
import { specOfTask } from './spec.ts'

/** In the words of swarmkit's container adapter. */
const unhealthy = 'unhealthy container'

/** How a container that is up is, by Docker's health check and by its probes: the worse word counts. */
export function healthOf(draft: Draft, task: TaskEntry, container: ContainerObservation): HealthStanding {
  if (container.health === 'unhealthy') return { kind: 'ill', why: unhealthy }
  const standing = draft.input.health.get(container.container)
  if (standing?.kind === 'ill') return { ...standing, why: `${unhealthy}: ${standing.why}` }
  if (container.health === 'starting') return { kind: 'starting', why: undefined }
  return standing ?? unasked(draft, task)
}

/** Nobody has asked it since this agent started: what its record says holds. */
function unasked(draft: Draft, task: TaskEntry): HealthStanding {
  const spec = specOfTask(draft, task)
  if (spec === undefined || !hasProbes(probesOf(spec))) return { kind: 'well' }
  if (task.state !== 'running') return { kind: 'starting', why: undefined }
  return task.unready === undefined ? { kind: 'well' } : { kind: 'unready', why: task.unready.why }
}

/** Since when, and why at first: told once, however often it is asked. What was ill may be unready for another reason. */
export function unreadySince(draft: Draft, task: TaskEntry, why: string): TaskEntry['unready'] {
  if (task.unready !== undefined && task.illness === undefined) return task.unready
  return { sinceMs: task.unready?.sinceMs ?? draft.input.nowMs, why }
}

/** What has never been well takes nobody away when it is stopped. What has waits for its turn, and gets no traffic. */
export function fallenIll(draft: Draft, task: TaskEntry, why: string): TaskPatch {
  if (task.illness !== undefined) return {}
  const sinceMs = draft.input.nowMs
  if (task.state !== 'running')
    return { state: 'starting', error: why, illness: { kind: 'stopping', sinceMs, why } }
  return {
    error: why,
    illness: { kind: 'waiting', sinceMs, why },
    unready: unreadySince(draft, task, why),
  }
}
