import type { NodeId, Slot, TaskEntry } from '@moot/crdt-state'
import type { NodeState } from './node-state.ts'
import type { Claim } from './placement.ts'
import { tellingVolumes, volumeCounter, type TellingVolumes } from './volume-names.ts'
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

/**
 * Where the slots of one service with local named volumes belong.
 * - A slot that has run on nodes that report any of its volumes is tied to the latest of them, dead or alive.
 * - A slot without such a past (a service that was scaled to 0 and back, or removed and deployed again) is tied to
 *   the nodes that report the most of what tells where its data is and are no other slot's home: the data that is there
 *   was somebody's. A slot that waits for such a node waits for one: as many others as there are more slots go elsewhere.
 * - Where there is no such node it goes by the ordinary fold.
 * Where a volume with the slot's own name (`data-{{.Task.Slot}}`) is somewhere, that alone tells where it belongs.
 */
export class VolumeHomes {
  readonly #homes = new Map<Slot, NodeState>()
  /** What is left over, and how many of the volumes each has. */
  readonly #free: Map<NodeState, number>
  readonly #workload: Workload
  readonly #nodes: readonly NodeState[]
  readonly #names: TellingVolumes

  /**
   * @param mayHave what is left over where the service may not run is not waited for.
   */
  constructor(
    workload: Workload,
    slots: Iterable<SlotPast>,
    nodes: readonly NodeState[],
    isShared: (volume: string) => boolean,
    mayHave: (node: NodeState) => boolean,
  ) {
    this.#workload = workload
    this.#nodes = nodes
    this.#names = tellingVolumes(workload, isShared)
    this.#free = new Map(this.#leftOver().filter(([node]) => mayHave(node)))
    // Where the volume of some slot's own is, what else is there belongs to it.
    for (const [node] of this.#having(this.#names.own)) this.take(node)
    const byId = new Map(nodes.map((node) => [node.id, node]))
    for (const { slot, past, claims } of slots) {
      const home = this.#homeOf(slot, past, byId)
      if (home !== undefined) {
        this.#homes.set(slot, home)
        this.#free.delete(home)
      }
      for (const claim of claims) this.take(byId.get(claim.node))
    }
  }

  tie(slot: Slot): VolumeTie | undefined {
    const home = this.#homes.get(slot)
    if (home !== undefined) return { nodes: new Map([[home.id, home]]), volumes: this.#workload.volumes }
    const own = mostOf(this.#having(this.#names.own, slot))
    const nodes = own.length > 0 ? own : mostOf([...this.#free])
    if (nodes.length === 0) return undefined
    const volumes = own.length > 0 ? this.#names.own : this.#names.common
    return { nodes: new Map(nodes.map((node) => [node.id, node])), volumes }
  }

  /** A slot of the service was given to this node: what is there is its from now on. */
  take(node: NodeState | undefined): void {
    if (node !== undefined) this.#free.delete(node)
  }

  /** A slot waits: where it is for what is left over, one of these is its. */
  wait(slot: Slot): void {
    if (this.#homes.has(slot) || this.#having(this.#names.own, slot).length > 0) return
    this.take(mostOf([...this.#free])[0])
  }

  #homeOf(slot: Slot, past: readonly Claim[], byId: ReadonlyMap<NodeId, NodeState>): NodeState | undefined {
    const ran = past.filter(({ task }) => mayHaveRun(task)).sort(laterFirst)
    if (ran.length === 0) return undefined
    const countIn = volumeCounter(this.#workload, [...this.#names.own, ...this.#names.common], slot)
    for (const { node } of ran) {
      const home = byId.get(node)
      if (home !== undefined && countIn(volumesOf(home)) > 0) return home
    }
    return undefined
  }

  /** The nodes with what tells where the data is; where none has any of that, those with any of all. Counted are all. */
  #leftOver(): readonly (readonly [NodeState, number])[] {
    const { telling, common } = this.#names
    const has = new Set(this.#having(telling).map(([node]) => node))
    return this.#having(common).filter(([node]) => has.size === 0 || has.has(node))
  }

  #having(volumes: readonly string[], slot?: Slot): readonly (readonly [NodeState, number])[] {
    if (volumes.length === 0) return []
    const countIn = volumeCounter(this.#workload, volumes, slot)
    return this.#nodes
      .map((node) => [node, countIn(volumesOf(node))] as const)
      .filter(([, count]) => count > 0)
  }
}

function mostOf(counts: readonly (readonly [NodeState, number])[]): readonly NodeState[] {
  const most = Math.max(...counts.map(([, count]) => count))
  return counts.filter(([, count]) => count === most).map(([node]) => node)
}

function volumesOf({ node }: NodeState): readonly string[] {
  return node.record?.status?.volumes ?? []
}

/**
 * What was refused has run nowhere, even where it got as far as a container. Whether another has run by now is not asked: its way there
 * changes nothing for placement (`claimsAlike`), and what was made for one that has not is not told of (`FreshVolumes`).
 */
function mayHaveRun({ state }: TaskEntry): boolean {
  return state !== 'rejected'
}

function laterFirst(a: Claim, b: Claim): number {
  return b.task.attempt - a.task.attempt || (a.node < b.node ? -1 : 1)
}
