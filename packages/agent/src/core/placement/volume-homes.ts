import type { NodeId, Slot } from '@moot/crdt-state'
import type { NodeState } from './node-state.ts'
import type { Claim } from './placement.ts'
import { tellingVolumes, volumeCounter } from './volume-names.ts'
import type { Workload } from './workload.ts'

/** The nodes that a slot's data is on: it waits for one of them. */
export interface VolumeTie {
  readonly nodes: ReadonlyMap<NodeId, NodeState>
  /** Whose names told so, as the service writes them. */
  readonly volumes: readonly string[]
}

interface SlotPast {
  readonly slot: Slot
  readonly past: readonly Claim[]
  readonly claims: readonly Claim[]
}

/** A node that has some of the volumes, and how many. */
interface Owner {
  readonly node: NodeState
  readonly count: number
}

/**
 * Where the slots of one service with local named volumes belong.
 * - A slot that has had a task on a node that reports its volumes is tied to that node, dead or alive: of several, to
 *   the one with the most of them, and then to the latest.
 * - A slot without such a past (a service that was scaled to 0 and back, or removed and deployed again) is tied to
 *   the nodes that report the most of them and are no other slot's home: the data that is there was somebody's. A slot
 *   that waits for such a node waits for one: as many others as there are more slots go elsewhere.
 * - Where there is no such node it goes by the ordinary fold.
 * Where the volume's name is the slot's own (`data-{{.Task.Slot}}`) each slot is looked at by itself.
 */
export class VolumeHomes {
  readonly #homes = new Map<Slot, NodeState>()
  readonly #free: Map<NodeId, Owner>
  readonly #workload: Workload
  readonly #nodes: readonly NodeState[]
  readonly #volumes: readonly string[]
  readonly #areOfSlot: boolean

  constructor(
    workload: Workload,
    slots: Iterable<SlotPast>,
    nodes: readonly NodeState[],
    isShared: (volume: string) => boolean,
  ) {
    const { volumes, areOfSlot } = tellingVolumes(workload, isShared)
    this.#workload = workload
    this.#nodes = nodes
    this.#volumes = volumes
    this.#areOfSlot = areOfSlot
    const all = areOfSlot ? undefined : this.#owners()
    this.#free = new Map(all)
    for (const { slot, past, claims } of slots) {
      const home = homeOf(past, all ?? this.#owners(slot))
      if (home !== undefined) {
        this.#homes.set(slot, home)
        this.#free.delete(home.id)
      }
      for (const claim of claims) this.#free.delete(claim.node)
    }
  }

  tie(slot: Slot): VolumeTie | undefined {
    const home = this.#homes.get(slot)
    const nodes = home === undefined ? this.#withMost(slot) : [home]
    if (nodes.length === 0) return undefined
    return { nodes: new Map(nodes.map((node) => [node.id, node])), volumes: this.#volumes }
  }

  /** A slot of the service was given to this node: what is there is its from now on. */
  take(node: NodeId): void {
    this.#free.delete(node)
  }

  /** A slot waits: where it is for what is there and was nobody's, one of these is its. */
  wait(slot: Slot): void {
    if (this.#areOfSlot || this.#homes.has(slot)) return
    const [one] = this.#withMost(slot)
    if (one !== undefined) this.#free.delete(one.id)
  }

  #withMost(slot: Slot): readonly NodeState[] {
    const owners = [...(this.#areOfSlot ? this.#owners(slot) : this.#free).values()]
    const most = Math.max(...owners.map(({ count }) => count))
    return owners.filter(({ count }) => count === most).map(({ node }) => node)
  }

  #owners(slot?: Slot): ReadonlyMap<NodeId, Owner> {
    const countIn = volumeCounter(this.#workload, this.#volumes, slot)
    const owners = new Map<NodeId, Owner>()
    for (const node of this.#nodes) {
      const count = countIn(node.node.record?.status?.volumes ?? [])
      if (count > 0) owners.set(node.id, { node, count })
    }
    return owners
  }
}

function homeOf(past: readonly Claim[], owners: ReadonlyMap<NodeId, Owner>): NodeState | undefined {
  let best: { readonly claim: Claim; readonly owner: Owner } | undefined
  for (const claim of past) {
    const owner = owners.get(claim.node)
    if (owner === undefined) continue
    const more = owner.count - (best?.owner.count ?? 0)
    if (best === undefined || more > 0 || (more === 0 && isLater(claim, best.claim))) best = { claim, owner }
  }
  return best?.owner.node
}

function isLater(a: Claim, b: Claim): boolean {
  if (a.task.attempt !== b.task.attempt) return a.task.attempt > b.task.attempt
  return a.node < b.node
}
