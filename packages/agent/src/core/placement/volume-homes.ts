import type { NodeId, Slot } from '@moot/crdt-state'
import type { NodeState } from './node-state.ts'
import type { Claim } from './placement.ts'
import { hasSlotVolumes, slotVolumes } from './volume-names.ts'
import type { Workload } from './workload.ts'

/** The nodes that a slot's data is on: it waits for one of them. */
export interface VolumeTie {
  readonly nodes: ReadonlyMap<NodeId, NodeState>
}

/**
 * Where the slots of one service with local named volumes belong.
 * - A slot that has had a task on a node that reports the volume is tied to the latest such node, dead or alive.
 * - A slot without such a past (a service that was scaled to 0 and back, or removed and deployed again) is tied to
 *   the nodes that report the volume and are no other slot's home: the data that is there was somebody's.
 * - Where there is no such node it goes by the ordinary fold.
 * Where the volume's name is the slot's own (`data-{{.Task.Slot}}`) each slot is looked at by itself.
 */
export class VolumeHomes {
  readonly #homes = new Map<Slot, NodeState>()
  readonly #free = new Map<NodeId, NodeState>()
  readonly #workload: Workload
  readonly #nodes: readonly NodeState[]

  constructor(
    workload: Workload,
    slots: Iterable<{
      readonly slot: Slot
      readonly past: readonly Claim[]
      readonly claims: readonly Claim[]
    }>,
    nodes: readonly NodeState[],
  ) {
    this.#workload = workload
    this.#nodes = nodes
    if (hasSlotVolumes(workload)) {
      for (const { slot, past } of slots) {
        const home = latestHome(past, this.#ownersOf(slot))
        if (home !== undefined) this.#homes.set(slot, home)
      }
      return
    }
    for (const node of nodes) if (hasVolume(node, workload)) this.#free.set(node.id, node)
    const owners = new Map(this.#free)
    for (const { slot, past, claims } of slots) {
      const home = latestHome(past, owners)
      if (home !== undefined) {
        this.#homes.set(slot, home)
        this.#free.delete(home.id)
      }
      for (const claim of claims) this.#free.delete(claim.node)
    }
  }

  tie(slot: Slot): VolumeTie | undefined {
    const home = this.#homes.get(slot)
    if (home !== undefined) return { nodes: new Map([[home.id, home]]) }
    const owners = hasSlotVolumes(this.#workload) ? this.#ownersOf(slot) : new Map(this.#free)
    return owners.size === 0 ? undefined : { nodes: owners }
  }

  /** A slot of the service was given to this node: what is there is its from now on. */
  take(node: NodeId): void {
    this.#free.delete(node)
  }

  #ownersOf(slot: Slot): ReadonlyMap<NodeId, NodeState> {
    const isIts = slotVolumes(this.#workload, slot)
    const owners = this.#nodes.filter(({ node }) => (node.record?.status?.volumes ?? []).some(isIts))
    return new Map(owners.map((node) => [node.id, node]))
  }
}

function hasVolume({ node }: NodeState, { volumes }: Workload): boolean {
  const present = node.record?.status?.volumes ?? []
  return volumes.some((volume) => present.includes(volume))
}

function latestHome(past: readonly Claim[], owners: ReadonlyMap<NodeId, NodeState>): NodeState | undefined {
  let latest: Claim | undefined
  for (const claim of past) {
    if (!owners.has(claim.node)) continue
    if (latest === undefined || isLater(claim, latest)) latest = claim
  }
  return latest && owners.get(latest.node)
}

function isLater(a: Claim, b: Claim): boolean {
  if (a.task.attempt !== b.task.attempt) return a.task.attempt > b.task.attempt
  return a.node < b.node
}
