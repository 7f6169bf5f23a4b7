import { isClaim, type NodeId, type NodeStatus, type ServiceId } from '@moot/crdt-state'
import { isOnProbation } from '../membership/liveness.ts'
import { pointsOf } from './hash.ts'
import { NodeLoad } from './load.ts'
import type { PlacementNode } from './placement.ts'
import { shareWeight } from './weight.ts'
import type { Workload } from './workload.ts'

/** A node and what is taken on it. Kept from one computation to the next; `node` is replaced when it changes. */
export class NodeState {
  readonly id: NodeId
  readonly points: Uint32Array
  node: PlacementNode
  /** Its place among all nodes by id; changes with the membership. */
  position = 0
  load = new NodeLoad()
  /** The load that `#weight` is of. A changed node is recounted, so that its capacity is not asked about. */
  #weighed: NodeLoad | undefined
  #weighedTurn = 0
  #weight = 1

  constructor(node: PlacementNode) {
    this.id = node.id
    this.points = pointsOf(node.id)
    this.node = node
  }

  /** Its death verdict voids its claims. */
  get isDown(): boolean {
    return this.node.liveness.kind === 'down'
  }

  /** It is back after it was away for long or often: it is given less. */
  get isOnProbation(): boolean {
    return isOnProbation(this.node.liveness)
  }

  /** What people call it: Docker's node name, else its host name. */
  get label(): string {
    return this.node.settings.spec.Name || this.node.record?.status?.hostname || this.id
  }

  /** From nothing, because a node has few tasks and an addition that was forgotten would never be noticed. */
  recount(workloads: (service: ServiceId) => Workload | undefined): void {
    this.load = new NodeLoad()
    const seen = new Set<string>()
    for (const task of this.node.record?.tasks.values() ?? []) {
      if (!isClaim(task)) continue
      const slot = `${task.service}.${task.slot}`
      if (!seen.has(slot)) this.load.addSlot(task.service)
      seen.add(slot)
      // One that is done for good holds its slot and takes nothing.
      if (task.done !== true) this.load.addTask(task, workloads(task.service))
    }
  }

  /**
   * The smallest of the free shares of what a task may take: CPU, memory, places for tasks. More load never raises it.
   */
  weight(): number {
    const { load } = this
    if (this.#weighed === load && this.#weighedTurn === load.turn) return this.#weight
    const capacity = this.node.record?.status?.capacity
    this.#weighed = load
    this.#weighedTurn = load.turn
    this.#weight = capacity === undefined ? 1 : weightOf(capacity, load)
    return this.#weight
  }
}

function weightOf(capacity: NodeStatus['capacity'], load: NodeLoad): number {
  return Math.min(
    shareWeight(capacity.nanoCpus - load.nanoCpus, capacity.nanoCpus),
    shareWeight(capacity.memoryBytes - load.memoryBytes, capacity.memoryBytes),
    shareWeight(capacity.maxTasks - load.tasks, capacity.maxTasks),
  )
}
