import type { ContainerId, TaskId } from '@moot/crdt-state'
import type {
  Action,
  ActionResult,
  ContainerObservation,
} from '../../../packages/agent/src/core/reconcile/actions.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import { engineConcurrency } from '../../../packages/agent/src/executor.ts'
import type { Calendar } from './calendar.ts'

/** What an idle engine took (design/engine.md); the image is there. */
const latencyMs = { prepare: 2, drain: 2, create: 6, start: 170, stop: 80, remove: 5 } as const
/** Of the virtual hosts. */
export const hostNanoCpus = 16e9

interface Lane {
  room: number
  readonly waiting: Action[]
}

/** An engine on which everything works and takes its time, behind the executor's lanes. */
export class ModelEngine {
  readonly containers = new Map<TaskId, readonly ContainerObservation[]>()
  readonly inFlight = new Set<TaskId>()
  readonly #calendar: Calendar
  readonly #finished: (action: Action, result: ActionResult) => void
  readonly #work: Lane = { room: engineConcurrency(hostNanoCpus, defaults), waiting: [] }
  readonly #stops: Lane = { room: defaults.engineStopConcurrency, waiting: [] }
  #made = 0

  constructor(calendar: Calendar, finished: (action: Action, result: ActionResult) => void) {
    this.#calendar = calendar
    this.#finished = finished
  }

  dispatch(actions: readonly Action[]): void {
    for (const action of actions) {
      if (this.inFlight.has(action.task)) continue
      this.inFlight.add(action.task)
      if (action.kind === 'prepare') this.#begin(action, undefined)
      else this.#queue(action, action.kind === 'stop' ? this.#stops : this.#work)
    }
  }

  #queue(action: Action, lane: Lane): void {
    if (lane.room === 0) {
      lane.waiting.push(action)
      return
    }
    lane.room -= 1
    this.#begin(action, lane)
  }

  #begin(action: Action, lane: Lane | undefined): void {
    this.#calendar.after(latencyMs[action.kind], () => {
      if (lane !== undefined) {
        lane.room += 1
        const next = lane.waiting.shift()
        if (next !== undefined) this.#queue(next, lane)
      }
      this.inFlight.delete(action.task)
      const container = this.#carryOut(action)
      if (container === undefined) this.containers.delete(action.task)
      else this.containers.set(action.task, [container])
      this.#finished(action, { kind: 'done', ...(container === undefined ? {} : { container }) })
    })
  }

  #carryOut(action: Action): ContainerObservation | undefined {
    const known = this.containers.get(action.task)?.[0]
    switch (action.kind) {
      case 'prepare':
      case 'drain':
        return known
      case 'create': {
        const container = `${action.task}${String((this.#made += 1)).padStart(39, '0')}` as ContainerId
        const { service } = action.setup.task
        return { container, task: action.task, service, state: 'created', health: 'none' }
      }
      case 'start':
        return known && { ...known, state: 'running', pid: 10_000 + this.#made }
      case 'stop':
        return known && { ...known, state: 'exited', exitCode: 0 }
      case 'remove':
        return undefined
    }
  }
}
