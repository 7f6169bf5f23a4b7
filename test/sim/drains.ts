import {
  type Resource,
  type ServiceId,
  type ServiceSpec,
  slotId,
  type SlotId,
  type TaskId,
} from '@moot/crdt-state'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import { isBalanced } from '../../packages/agent/src/core/reconcile/spec.ts'
import { IllHealth } from './ill-health.ts'
import type { Host } from './host.ts'
import { mayRunOn, wantedSlots } from './promises.ts'
import type { World } from './world.ts'

/** Until what was decided is told to the engine, ms; and where all must first hear that a task is sent nothing any more. */
const toldWithinMs = 500
const drainedWithinMs = 10_500

/** A drained node stops what runs there once its successor is well: but for what no other node may take, or can. */
export class Drains {
  readonly #world: World
  readonly #tell: (line: string) => void
  /** When a slot was last well on a host, ms: by then its next task may be ill again. */
  readonly #wellAtMs = new Map<SlotId, Map<Host, number>>()
  /** What had a cause to be stopped goes, though the cause is gone. */
  readonly #stopping = new Set<TaskId>()

  constructor(world: World, tell: (line: string) => void) {
    this.#world = world
    this.#tell = tell
  }

  isWellNoMore(host: Host, { task }: TaskSetup): void {
    const slot = slotId(task.service, task.slot)
    const byHost = this.#wellAtMs.get(slot) ?? new Map<Host, number>()
    this.#wellAtMs.set(slot, byHost.set(host, this.#world.nowMs))
  }

  /** @param isOver of this task there is another cause to stop it: it is ill, or its step has made the next one */
  stopped(host: Host, setup: TaskSetup, isOver: boolean): void {
    const { agent, node } = host
    const view = agent?.view()
    const service = view?.services.get(setup.task.service)
    const isDrained = view?.nodes.get(node)?.spec.Availability === 'drain'
    if (service === undefined || !isDrained || this.#stopping.has(setup.task.id)) return
    const { isPeaceful, isHeard, isImpaired } = this.#world
    const isExcused =
      isOver ||
      !isPeaceful ||
      !isHeard ||
      isImpaired ||
      host.wasEnding.has(setup.task.id) ||
      IllHealth.isReason(host, setup.task.id) ||
      !this.#isSucceeded(service, setup) ||
      this.#isServedBesides(host, setup) ||
      !this.#world.hosts.some((other) => other !== host && this.#mayTake(host, other, service, setup))
    if (isExcused) {
      this.#stopping.add(setup.task.id)
      return
    }
    this.#tell(
      `${host.name} is drained and stops ${service.name}.${setup.task.slot} before its successor is well`,
    )
  }

  /** Its slot goes elsewhere, and not after it has ended: what is exclusive never runs twice, what is global is wanted nowhere else. */
  #isSucceeded({ name, spec }: Resource<ServiceSpec>, setup: TaskSetup): boolean {
    const isWanted = wantedSlots(this.#world, spec).has(String(setup.task.slot))
    const isScaled = this.#isAskedJustNow(name, setup)
    return (
      spec.Mode.Global === undefined && isWanted && !isScaled && !this.#world.contracts.isOrWasExclusive(name)
    )
  }

  /** By another that stays, or did when it was decided. */
  #isServedBesides(self: Host, own: TaskSetup): boolean {
    const { id, service, slot } = own.task
    const wellAtMs = this.#wellAtMs.get(slotId(service, slot))
    return this.#world.hosts.some((host) => {
      const wasWellAtMs = host === self ? undefined : wellAtMs?.get(host)
      if (this.#world.nowMs - (wasWellAtMs ?? -Infinity) < withinMsOf(own)) return true
      return host.engine
        .containers()
        .some(
          ({ setup: { task }, observation: { state, health } }) =>
            task.service === service &&
            task.slot === slot &&
            task.id !== id &&
            !this.#stopping.has(task.id) &&
            state === 'running' &&
            (health === 'none' || health === 'healthy'),
        )
    })
  }

  /** By what the one who stops it knows of the other, and has known for a while. */
  #mayTake({ agent }: Host, other: Host, service: Resource<ServiceSpec>, setup: TaskSetup): boolean {
    const view = agent?.view()
    const record = view?.records.get(other.node)
    return (
      view?.nodes.get(other.node)?.spec.Availability === 'active' &&
      !this.#isAskedJustNow(other.node, setup) &&
      agent?.liveness().get(other.node)?.kind === 'alive' &&
      record?.status?.engine.state === 'up' &&
      !other.engine.isDown &&
      !record.rejections.has(service.id as ServiceId) &&
      mayRunOn(other, service.spec) &&
      // Whether there is room is not worked out here.
      service.spec.TaskTemplate.Resources?.Reservations === undefined
    )
  }

  #isAskedJustNow(subject: string, setup: TaskSetup): boolean {
    return this.#world.nowMs - (this.#world.askedAboutMs.get(subject) ?? -Infinity) < withinMsOf(setup)
  }
}

function withinMsOf({ spec }: TaskSetup): number {
  return isBalanced(spec) ? drainedWithinMs : toldWithinMs
}
