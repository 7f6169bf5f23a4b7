import {
  isClaim,
  type NodeId,
  type SlotId,
  slotId,
  specDigest,
  type ServiceSpec,
  type TaskId,
} from '@moot/crdt-state'
import type { ContainerObservation, TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Agent } from '../../packages/agent/src/agent.ts'
import type { Host } from './host.ts'
import { mayRunOn, wantedSlots } from './promises.ts'
import type { World } from './world.ts'

/** A probe that failed this recently is a cause to stop a task, ms: its turn may have come late. */
const recentMs = 5_000

interface Down {
  readonly setup: TaskSetup
  readonly node: NodeId
}

/**
 * Which replicas are well, by what their own servers answer; and that of those that were, no more are down for ill health
 * than an update of their service might take down.
 */
export class IllHealth {
  readonly #world: World
  readonly #tell: (line: string) => void
  readonly #isStrict: boolean
  /** When a task's liveness probe failed last, and which agent asked. */
  readonly #liveFailed = new Map<TaskId, { readonly atMs: number; readonly agent: Agent | undefined }>()
  /** Slots whose well task was stopped for ill health and that have not been well since. */
  readonly #down = new Map<SlotId, Down>()

  constructor(world: World, isStrict: boolean, tell: (line: string) => void) {
    this.#world = world
    this.#isStrict = isStrict
    this.#tell = tell
    world.listeners.onProbe(({ agent }, { task }, part, isWell) => {
      if (part === 'live' && !isWell) this.#liveFailed.set(task.id, { atMs: world.nowMs, agent })
    })
    // What is over because nobody wants it there is not missed when it is wanted again.
    world.onContainer((host, setup, { state }) => {
      const isOver = state === 'exited' && !this.#isWanted(host, setup.service.spec, setup)
      if (isOver) this.#down.delete(slotId(setup.task.service, setup.task.slot))
    })
  }

  /** For Docker's health check or for its probes, now or a moment ago. */
  isIll(task: TaskId, { health }: ContainerObservation): boolean {
    const failed = this.#liveFailed.get(task)
    return health === 'unhealthy' || (failed !== undefined && this.#world.nowMs - failed.atMs < recentMs)
  }

  /** Its agent has found it ill and said that it stops it, and ended before it could: the next one does. */
  wasIll(host: Host, task: TaskId): boolean {
    const failed = this.#liveFailed.get(task)
    return failed !== undefined && failed.agent !== host.agent && IllHealth.isReason(host, task)
  }

  isWellAgain({ task }: TaskSetup): void {
    this.#down.delete(slotId(task.service, task.slot))
  }

  /** Its agent says that it stops it for ill health, and not, say, because its turn in an update has come. */
  static isReason({ agent, isMember, node }: Host, task: TaskId): boolean {
    if (!isMember) return false
    return agent?.view().records.get(node)?.tasks.get(task)?.illness?.kind === 'stopping'
  }

  /** An agent stops a task that was well: for ill health, and for nothing else? */
  stopped(host: Host, { setup, observation }: { setup: TaskSetup; observation: ContainerObservation }): void {
    const service = host.agent?.view().services.get(setup.task.service)
    if (service === undefined || !this.#isStrict || !this.isIll(setup.task.id, observation)) return
    const isCurrent = specDigest(setup.spec) === specDigest(service.spec) && mayRunOn(host, service.spec)
    const isActive = host.agent?.view().nodes.get(host.node)?.spec.Availability === 'active'
    if (
      !(isCurrent || IllHealth.isReason(host, setup.task.id)) ||
      !isActive ||
      !this.#isWanted(host, service.spec, setup)
    )
      return
    this.#down.set(slotId(setup.task.service, setup.task.slot), { setup, node: host.node })
    const parallelism = service.spec.UpdateConfig?.Parallelism ?? 1
    const isOfIt = (each: TaskSetup): boolean => each.task.service === setup.task.service
    for (const [slot, each] of this.#down) {
      // Who has left took its tasks along, well or not.
      const isThere = host.agent?.view().nodes.has(each.node)
      if (isOfIt(each.setup) && !(isThere && this.#isWanted(host, service.spec, each.setup)))
        this.#down.delete(slot)
    }
    const down = [...this.#down.values()]
      .filter((each) => isOfIt(each.setup) && this.#isHeld(each) && !this.#runsElsewhere(each))
      .map((each) => each.setup)
    // What a disk was slow to take was decided before, and others could not hear of it.
    if (parallelism === 0 || down.length <= parallelism || this.#world.isImpaired) return
    const slots = down.map(({ task }) => task.slot).join(', ')
    this.#tell(
      `${down.length} of ${service.name} are down for ill health (${slots}), of ${parallelism} allowed`,
    )
  }

  /** Who has stopped it is to start it again: an update may have ended that, too, and what it made instead cannot be had. */
  #isHeld({ setup: { task }, node }: Down): boolean {
    const host = this.#world.hosts.find((each) => each.node === node)
    if (host?.agent?.state().kind !== 'active') return true
    const tasks = [...(host.agent.view().records.get(node)?.tasks.values() ?? [])]
    return tasks.some((each) => each.service === task.service && each.slot === task.slot && isClaim(each))
  }

  /** The slot's other task, which it moves to or which a partition made, is not down, ill as it may be. */
  #runsElsewhere({ setup: { task }, node }: Down): boolean {
    return this.#world.hosts
      .filter((host) => host.node !== node)
      .flatMap(({ engine }) => engine.containers())
      .some(
        ({ setup, observation }) =>
          setup.task.service === task.service &&
          setup.task.slot === task.slot &&
          observation.state === 'running',
      )
  }

  /** Not what was scaled away, nor a global service's slot on a node that is drained, as this host knows. */
  #isWanted({ agent, isMember }: Host, spec: ServiceSpec, { task }: TaskSetup): boolean {
    const isDrained =
      spec.Mode.Global !== undefined &&
      isMember &&
      agent?.view().nodes.get(task.slot as NodeId)?.spec.Availability === 'drain'
    return !isDrained && wantedSlots(this.#world, spec).has(String(task.slot))
  }
}
