import {
  type AskedMove,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  slotId,
  type TaskEntry,
} from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import type { LivenessMap } from '../membership/liveness.ts'
import { concerning, loadFilters, nodeFilters, passesAll } from '../placement/filters/pipeline.ts'
import type { Ask, Filter } from '../placement/filters/filter.ts'
import { candidatesOf, shareWith } from '../placement/fold.ts'
import { NodeState } from '../placement/node-state.ts'
import { compareText } from '../placement/order.ts'
import type { Placement, PlacementInput } from '../placement/placement.ts'
import { branchesOf } from '../placement/spread.ts'
import { workloadOf, type Workload } from '../placement/workload.ts'
import { firstRules, type Rules } from '../rules.ts'
import { type PendingMove, pendingMoves } from './pending.ts'

/** A slot that is to move, and where it would go as things are now: the placement decides that when it moves. */
export interface Move extends AskedMove {
  readonly to: NodeId
  /** How many slots of the service the two have before it. */
  readonly fromCount: number
  readonly toCount: number
}

export interface ServicePlan {
  readonly service: Resource<ServiceSpec>
  /** Not asked for yet. */
  readonly moves: readonly Move[]
  readonly underWay: readonly PendingMove[]
  /** Why nothing of it is moved, whatever the counts are. */
  readonly why?: string
}

/**
 * The fewest moves that make the counts of each service as even as they can be, over the nodes that may take it. From who has
 * most to who has least, again and again, and never a move that only changes who has more. One after the other: what
 * earlier services would take is taken, and nothing is given back, since every move makes the new task first.
 */
export function planMoves(...of: Parameters<typeof plansOf>): readonly ServicePlan[] {
  return [...plansOf(...of)]
}

/** `planMoves`, a service at a time: all of a large cluster's take a second. */
export function* plansOf(
  input: PlacementInput,
  placement: Placement,
  services: readonly Resource<ServiceSpec>[],
): Generator<ServicePlan> {
  const { rules = firstRules } = input
  const nodes = nodesOf(input)
  const takers = nodes.filter((node) => nodeFilters.every((filter) => filter.passes(node)))
  const liveness: LivenessMap = new Map([...input.nodes].map(([id, node]) => [id, node.liveness]))
  const records = new Map(nodes.flatMap(({ id, node }) => (node.record ? [[id, node.record]] : [])))
  for (const service of services.toSorted((a, b) => compareText(a.id, b.id))) {
    const workload = workloadOf(service.id as ServiceId, service)
    const underWay = pendingMoves(service, { records, liveness })
    const why = whyNot(workload)
    if (why !== undefined) {
      yield { service, moves: [], underWay, why }
      continue
    }
    const candidates = candidatesOf(workload, takers)
    const planning = new Planning({ workload, nodes, candidates, placement, rules })
    for (const { from, task } of underWay) {
      const where = placement.slots.get(slotId(task.service, task.slot))
      planning.take(from, task, where?.kind === 'moving' && where.successor !== undefined)
    }
    yield { service, moves: planning.moves(), underWay }
  }
}

function nodesOf(input: PlacementInput): readonly NodeState[] {
  const workloads = new Map<ServiceId, Workload>()
  for (const [id, resource] of input.services) workloads.set(id, workloadOf(id, resource))
  const nodes = [...input.nodes.values()].map((node) => new NodeState(node))
  nodes.sort((a, b) => compareText(a.id, b.id))
  for (const node of nodes) node.recount((id) => workloads.get(id))
  return nodes
}

function whyNot({ mode, volumes }: Workload): string | undefined {
  if (mode.kind !== 'replicated') return 'a global service has a task on each node'
  if (volumes.length > 0) return `its tasks stay with their volumes (${volumes.join(', ')})`
  return undefined
}

/** A node in one service's plan. */
interface Place {
  readonly node: NodeState
  /** Slots of the service, as they will be. */
  count: number
  /** Slots that may move away; the last first. */
  readonly movable: TaskEntry[]
  readonly branches: readonly string[]
}

class Planning {
  readonly #workload: Workload
  readonly #rules: Rules
  readonly #filters: readonly Filter[]
  readonly #places = new Map<NodeId, Place>()
  /** Those that may take the service; by their place in the spread, or all together. */
  readonly #leaves: ReadonlyMap<string, readonly Place[]>
  readonly #branchCounts = new Map<string, number>()

  constructor(options: {
    readonly workload: Workload
    readonly nodes: readonly NodeState[]
    readonly candidates: readonly NodeState[]
    readonly placement: Placement
    readonly rules: Rules
  }) {
    const { workload, nodes, candidates, placement } = options
    this.#workload = workload
    this.#rules = options.rules
    this.#filters = concerning(loadFilters, workload)
    for (const node of nodes) {
      const count = node.isDown ? 0 : node.load.slotsOf(workload.id)
      const branches = branchesOf(workload.spread, node.node)
      for (const branch of branches) this.#bump(branch, count)
      this.#places.set(node.id, { node, count, movable: [], branches })
    }
    const places = candidates.flatMap((node) => this.#places.get(node.id) ?? [])
    this.#leaves = Map.groupBy(places, ({ branches }) => branches.at(-1) ?? '')
    const replicas = workload.mode.kind === 'replicated' ? workload.mode.replicas : 0
    for (let slot = 1; slot <= replicas; slot += 1) {
      const where = placement.slots.get(slotId(workload.id, slot))
      if (where?.kind !== 'held' || where.losers.length > 0 || !isMovable(where.holder.task)) continue
      this.#places.get(where.holder.node)?.movable.push(where.holder.task)
    }
  }

  /** It has been asked to move already. */
  take(from: NodeId, task: TaskEntry, hasSuccessor: boolean): void {
    const donor = this.#places.get(from)
    if (donor === undefined) return
    const at = donor.movable.findIndex(({ slot }) => slot === task.slot)
    if (at >= 0) donor.movable.splice(at, 1)
    this.#add(donor, -1)
    if (hasSuccessor) return
    const receiver = this.#receiver(task, [...this.#leaves.values()].flat(), donor)
    if (receiver !== undefined) this.#give(receiver, Number(task.slot))
  }

  moves(): readonly Move[] {
    const moves: Move[] = []
    for (;;) {
      const best = this.#best()
      if (best === undefined) return moves
      const { donor, receiver, task } = best
      const { slot, attempt } = task
      donor.movable.pop()
      moves.push({
        slot: Number(slot),
        attempt,
        asked: 1 + (task.balance?.asked ?? 0),
        from: donor.node.id,
        to: receiver.node.id,
        fromCount: donor.count,
        toCount: receiver.count,
      })
      this.#add(donor, -1)
      this.#give(receiver, Number(slot))
    }
  }

  /** Of all moves that make it more even: the highest branch of the spread first, then the greatest difference. */
  #best(): { donor: Place; receiver: Place; task: TaskEntry } | undefined {
    let best: { donor: Place; receiver: Place; task: TaskEntry; level: number; gain: number } | undefined
    for (const from of this.#leaves.values()) {
      const donor = this.#donor(from)
      const task = donor?.movable.at(-1)
      if (donor === undefined || task === undefined) continue
      for (const to of this.#leaves.values()) {
        const { level, gain: branchGain } = this.#branchGain(donor, to)
        if (branchGain <= 0) continue
        const receiver = this.#receiver(task, to, donor)
        if (receiver === undefined) continue
        const isWithin = to === from
        const gain = isWithin ? shareOf(donor) - shareWith(receiver.node, receiver.count) : branchGain
        if (gain <= 0) continue
        if (best === undefined || level < best.level || (level === best.level && gain > best.gain))
          best = { donor, receiver, task, level, gain }
      }
    }
    return best
  }

  /** Where their branches part, and by how much the other one would still be the emptier one. */
  #branchGain(donor: Place, to: readonly Place[]): { readonly level: number; readonly gain: number } {
    const others = to[0]?.branches ?? []
    const level = donor.branches.findIndex((branch, index) => branch !== others[index])
    if (level < 0) return { level: donor.branches.length, gain: 1 }
    const at = (branch: string | undefined): number => this.#branchCounts.get(branch ?? '') ?? 0
    return { level, gain: at(donor.branches[level]) - at(others[level]) - 1 }
  }

  #donor(places: readonly Place[]): Place | undefined {
    let best: Place | undefined
    for (const place of places) {
      if (place.movable.length === 0) continue
      const order =
        best === undefined ? 1 : shareOf(place) - shareOf(best) || this.#compareByHash(place, best)
      if (order > 0) best = place
    }
    return best
  }

  #compareByHash(a: Place, b: Place): number {
    const points = ({ node }: Place): number => hashText(`${this.#workload.id}/${node.id}`)
    return points(a) - points(b)
  }

  /** As the fold chooses: the fewest of the service, then the weighted hash. */
  #receiver(task: TaskEntry, places: readonly Place[], donor: Place): Place | undefined {
    const hash = hashText(slotId(this.#workload.id, task.slot))
    const ask: Ask = { workload: this.#workload, slot: task.slot, tie: undefined }
    const score = ({ node }: Place): number => this.#rules.score(hash, node.points, node.weight())
    let best: Place | undefined
    // Worked out only when another node is as good in all else.
    let bestScore: number | undefined
    for (const place of places) {
      if (place === donor) continue
      const order = best === undefined ? -1 : compareShares(place, best)
      if (order > 0) continue
      let own: number | undefined
      if (order === 0 && best !== undefined) {
        own = score(place)
        if (own <= (bestScore ??= score(best))) continue
      }
      if (!passesAll(this.#filters, place.node, ask)) continue
      best = place
      bestScore = own
    }
    return best
  }

  #give(receiver: Place, slot: number): void {
    receiver.node.load.add(this.#workload, slot)
    this.#add(receiver, 1)
  }

  #add(place: Place, by: 1 | -1): void {
    place.count += by
    for (const branch of place.branches) this.#bump(branch, by)
  }

  #bump(branch: string, by: number): void {
    this.#branchCounts.set(branch, (this.#branchCounts.get(branch) ?? 0) + by)
  }
}

/** Negative: `a` would have less if it took one more. */
function compareShares(a: Place, b: Place): number {
  return shareWith(a.node, a.count) - shareWith(b.node, b.count) || a.count - b.count
}

function shareOf({ node, count }: Place): number {
  return shareWith(node, count - 1)
}

/** What runs well and goes nowhere else. */
function isMovable(task: TaskEntry): boolean {
  return (
    task.state === 'running' &&
    task.desired === 'running' &&
    task.illness === undefined &&
    task.leaves === undefined &&
    task.balance?.kind !== 'leaving'
  )
}
