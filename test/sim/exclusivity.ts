import type { ContainerId } from '@moot/crdt-state'
import type {
  ContainerLease,
  ContainerObservation,
  TaskSetup,
} from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Host } from './host.ts'
import type { World } from './world.ts'

/** What must never run twice, anywhere, on any side of any partition: by what runs and true time alone. */
export function watchExclusivity(world: World, tell: (line: string) => void): void {
  const slots = new ExclusiveSlots(world, tell)
  world.onContainer((host, setup, observation) => {
    if (observation.state === 'running') slots.started(host, setup, observation)
  })
}

class ExclusiveSlots {
  readonly #world: World
  readonly #tell: (line: string) => void
  /** With which fence a slot ran last, and where. */
  readonly #fences = new Map<string, { readonly fence: number; readonly host: Host }>()
  /** When each container began to run last. */
  readonly #startedAtMs = new Map<ContainerId, number>()

  constructor(world: World, tell: (line: string) => void) {
    this.#world = world
    this.#tell = tell
  }

  started(host: Host, setup: TaskSetup, observation: ContainerObservation): void {
    const { container, lease } = observation
    const slot = slotOf(setup)
    this.#startedAtMs.set(container, this.#world.nowMs)
    if (lease !== undefined) this.#checkFence(host, lease)
    for (const other of this.#world.hosts) {
      for (const { setup: its, observation: found } of other.engine.containers()) {
        if (found.state !== 'running' || found.container === container) continue
        if (slotOf(its) !== slot) continue
        const areLeased = this.#isLeased(setup, observation) && this.#isLeased(its, found)
        if (!this.#mayBoth([believes(host, setup), believes(other, its)], setup, areLeased))
          this.#tell(`${slot} is exclusive and runs twice: on ${host.name}, and still on ${other.name}`)
      }
    }
  }

  /** Its label tells of the lease under which it was made, which may have been loosened since. */
  #isLeased({ service }: TaskSetup, { container, lease }: ContainerObservation): boolean {
    const loosenedAtMs = this.#world.contracts.mayHaveLoosenedAtMs(service.name)
    return lease !== undefined && (this.#startedAtMs.get(container) ?? 0) > loosenedAtMs
  }

  /** Storage that has seen a higher one refuses it. A container that is made again under the same lease has the same. */
  #checkFence(host: Host, { slot, fence }: ContainerLease): void {
    const last = this.#fences.get(slot)
    if (last !== undefined && (fence < last.fence || (fence === last.fence && host !== last.host)))
      this.#tell(`${slot} runs on ${host.name} with fence ${fence} after ${last.fence} on ${last.host.name}`)
    this.#fences.set(slot, { fence: Math.max(fence, last?.fence ?? 0), host })
  }

  /**
   * Whoever believes in exclusivity and another: never. But for copies of what was available until a moment ago: on hosts
   * that have not heard they run until these have, and only those who have all heard are told apart, by their leases.
   */
  #mayBoth(believing: readonly boolean[], { service }: TaskSetup, areLeased: boolean): boolean {
    if (!this.#world.contracts.mayHaveTightened(service.name)) return !believing.includes(true)
    return !areLeased || believing.includes(false)
  }
}

function slotOf({ service, task }: TaskSetup): string {
  return `${service.name}.${task.slot}`
}

/** By the newest that its agent has known of the service. */
function believes({ lastAgent }: Host, { service: { name, spec } }: TaskSetup): boolean {
  const known =
    lastAgent?.state().kind === 'active'
      ? [...lastAgent.view().services.values()].find((each) => each.name === name)
      : undefined
  return (known?.spec ?? spec).Labels['moot.partition'] === 'exclusive'
}
