import { slotId, type NodeId, type ServiceId, type Slot, type SlotId } from '@moot/crdt-state'
import { assumedRuns, isYoung, type Assumption } from './assumed.ts'
import {
  concerning,
  firstRefusal,
  loadFilters,
  passesAll,
  placeFilters,
  serviceFilters,
  suitFilters,
} from './filters/pipeline.ts'
import type { Ask, Filter } from './filters/filter.ts'
import { hashText } from '../hash.ts'
import type { NodeState } from './node-state.ts'
import type { Claim, Refusal, SlotPlacement } from './placement.ts'
import type { Rules } from '../rules.ts'
import { SpreadTally } from './spread.ts'
import { VolumeHomes } from './volume-homes.ts'
import type { Workload } from './workload.ts'

/** A wanted slot that nobody holds, or whose holder must go. */
export interface OpenSlot {
  readonly service: ServiceId
  readonly slot: Slot
  /** One above every attempt that any record tells of. */
  readonly attempt: number
  readonly leaving:
    { readonly holder: Claim; readonly losers: readonly Claim[]; readonly because: Refusal } | undefined
}

/** What the fold needs to know of a service with open slots. */
export interface OpenService {
  readonly workload: Workload
  /** Nodes that pass the filters which do not depend on load, by id. */
  readonly candidates: readonly NodeState[]
  /** The claims that count: of slots that are held, and successors of those that leave. */
  readonly standing: () => readonly Claim[]
  /** All claims, whatever comes of them. */
  readonly claims: () => Iterable<Claim>
  /** Does another service mount it too? */
  readonly isVolumeShared: (volume: string) => boolean
  readonly pasts: () => Iterable<{
    readonly slot: Slot
    readonly past: readonly Claim[]
    readonly claims: readonly Claim[]
  }>
}

const nothing: readonly never[] = []

/**
 * Gives each open slot a node, one after the other in canonical order, each on top of what those before it took.
 * Leaves the loads as it found them.
 */
export class Fold {
  readonly #nodes: readonly NodeState[]
  readonly #nodeOf: (id: NodeId) => NodeState | undefined
  readonly #rules: Rules
  readonly #given: { readonly node: NodeState; readonly workload: Workload }[] = []
  readonly #services = new Map<ServiceId, ServiceFold>()

  constructor(nodes: readonly NodeState[], nodeOf: (id: NodeId) => NodeState | undefined, rules: Rules) {
    this.#nodes = nodes
    this.#nodeOf = nodeOf
    this.#rules = rules
  }

  /** `known`: what is already clear from an earlier fold. */
  place(open: OpenSlot, service: OpenService, known?: { readonly to: NodeId | undefined }): SlotPlacement {
    const { workload } = service
    const state = this.#stateOf(service)
    const ask: Ask = { workload, slot: open.slot, tie: state.homes?.tie(open.slot) }
    const node = known === undefined ? this.#choose(open, ask, state) : known.to && this.#nodeOf(known.to)
    if (node === undefined) {
      const refusals = this.#refusals(ask, state, open.leaving?.because)
      state.homes?.wait(open.slot)
      return refused(open, refusals)
    }
    const assumed = state.assumed(workload, open.slot)
    node.load.add(workload, open.slot)
    this.#given.push({ node, workload })
    state.gave(open, node)
    if (open.leaving === undefined) return { kind: 'vacant', to: node.id, attempt: open.attempt, assumed }
    return moving(open.leaving, node.id, nothing, assumed)
  }

  /** Takes off what was given. */
  finish(): void {
    for (const { node, workload } of this.#given) node.load.remove(workload)
    this.#given.length = 0
  }

  #stateOf(service: OpenService): ServiceFold {
    const { workload } = service
    const known = this.#services.get(workload.id)
    if (known !== undefined) return known
    const state = new ServiceFold(service, this.#nodes, this.#nodeOf, this.#rules)
    this.#services.set(workload.id, state)
    return state
  }

  #choose(open: OpenSlot, ask: Ask, state: ServiceFold): NodeState | undefined {
    if (typeof open.slot === 'string') return this.#own(open.slot, ask)
    return state.choose({ slot: open.slot, attempt: open.attempt }, ask, open.leaving)
  }

  /** A global service's slot is of one node, or waits for it. */
  #own(id: NodeId, ask: Ask): NodeState | undefined {
    const node = this.#nodeOf(id)
    return node !== undefined && passesAll(placeFilters, node, ask) ? node : undefined
  }

  /** `because`: why the node that has the slot now does not keep it, though it may pass the filters. */
  #refusals(ask: Ask, state: ServiceFold, because: Refusal | undefined): readonly Refusal[] {
    if (typeof ask.slot === 'string') {
      const node = this.#nodeOf(ask.slot)
      return node === undefined ? nothing : [firstRefusal(placeFilters, node, ask)].filter(isPresent)
    }
    if (state.refusals !== undefined) return state.refusals
    let isKeptFrom = false
    const refusals = this.#nodes.flatMap((node) => {
      const refusal = firstRefusal(placeFilters, node, ask)
      const other = refusal === undefined ? keptFrom(node, ask, because) : undefined
      if (other !== undefined) isKeptFrom = true
      return refusal ?? other ?? []
    })
    // They may still take another one.
    if (isKeptFrom) return refusals
    // Loads only grow within a fold, so the service's later slots fit nowhere either, unless a volume ties them.
    if (state.homes === undefined) state.refusals = refusals
    return refusals
  }
}

/** One service's part of a fold. */
class ServiceFold {
  readonly homes: VolumeHomes | undefined
  readonly #service: OpenService
  readonly #rules: Rules
  readonly #filters: readonly Filter[]
  /** Every node's slots of this service, by position: a thousand loads are slow to ask. */
  #counts: Uint32Array | undefined
  readonly #nodes: readonly NodeState[]
  readonly #nodeOf: (id: NodeId) => NodeState | undefined
  /** Why no node takes a slot of this service any more. */
  refusals: readonly Refusal[] | undefined
  readonly #tally: SpreadTally | undefined
  /** Slots that are filled in this fold, and claims that others may not have seen yet. */
  readonly #young: Assumption[] = []

  constructor(
    service: OpenService,
    nodes: readonly NodeState[],
    nodeOf: (id: NodeId) => NodeState | undefined,
    rules: Rules,
  ) {
    const { workload, standing, pasts } = service
    this.#service = service
    this.#rules = rules
    this.#nodes = nodes
    this.#nodeOf = nodeOf
    this.#filters = concerning(loadFilters, workload)
    const isReplicated = workload.mode.kind === 'replicated'
    if (isReplicated && workload.volumes.length > 0) {
      const ask: Ask = { workload, slot: 0, tie: undefined }
      this.homes = new VolumeHomes(workload, pasts(), nodes, service.isVolumeShared, (node) =>
        passesAll(suitFilters, node, ask),
      )
    }
    if (!isReplicated || workload.spread.length === 0) return
    const claims = standing()
    this.#tally = new SpreadTally(workload, claims, nodeOf)
    for (const { task } of claims) {
      if (isYoung(task)) this.#young.push({ slot: Number(task.slot), attempt: task.attempt })
    }
  }

  /** Spread first, then the fewest of this service (half as many where a node is on probation), then the weighted hash. */
  choose(vacancy: Assumption, ask: Ask, leaving: OpenSlot['leaving']): NodeState | undefined {
    if (this.refusals !== undefined) return undefined
    const { workload, candidates } = this.#service
    const counts = (this.#counts ??= this.#countSlots())
    this.#tally?.lookFrom(vacancy)
    const hash = hashText(slotId(workload.id, vacancy.slot))
    const makesMoreEven = this.#evenness(leaving)
    const scoreOf = this.#rules.score
    let best: NodeState | undefined
    let bestCount = 0
    // Worked out only when another node is as good in all else.
    let bestScore = -1
    for (const node of candidates) {
      if (node.id === leaving?.holder.node) continue
      const count = counts[node.position] ?? 0
      if (makesMoreEven?.(node, count) === false) continue
      const order =
        best === undefined
          ? -1
          : (this.#tally?.compare(node, best) ?? 0) ||
            shareWith(node, count) - shareWith(best, bestCount) ||
            count - bestCount
      if (order > 0) continue
      let score = -1
      if (order === 0 && best !== undefined) {
        if (bestScore < 0) bestScore = scoreOf(hash, best.points, best.weight())
        score = scoreOf(hash, node.points, node.weight())
        // Candidates come by id, so of two equal scores the lower id wins.
        if (score <= bestScore) continue
      }
      // Asked last, because it is dearer than the score: only those that would be the best so far are asked.
      if (!passesAll(this.#filters, node, ask)) continue
      best = node
      bestCount = count
      bestScore = score
    }
    return best
  }

  /**
   * May a slot that moves for the sake of evenness go there? Its holder wrote down what it had, so that a claim that is made
   * meanwhile only closes (rule 3): what a slot that nobody takes looks at is in no list of assumptions (rule 4).
   */
  #evenness(leaving: OpenSlot['leaving']): ((node: NodeState, count: number) => boolean) | undefined {
    const { balance } = leaving?.holder.task ?? {}
    const from = leaving && this.#nodeOf(leaving.holder.node)
    if (leaving?.because.filter !== 'balance' || balance === undefined || from === undefined) return undefined
    const { spread } = this.#service.workload
    // They have become other ones since.
    if (balance.shares.length !== spread.length + 1) return () => false
    return (node, count) => {
      const { level, slots } = this.#tally?.parting(node, from) ?? { level: spread.length, slots: undefined }
      const share = slots === undefined ? shareWith(node, count) : slots + 1
      return share < (balance.shares[level] ?? 0)
    }
  }

  /** As `NodeLoad.slotsOf`: two tasks in one slot, of a start-first update, are one. */
  #countSlots(): Uint32Array {
    const counts = new Uint32Array(this.#nodes.length)
    const seen = new Set<string>()
    for (const { node, task } of this.#service.claims()) {
      const position = this.#nodeOf(node)?.position
      const key = `${task.slot}@${node}`
      if (position === undefined || seen.has(key)) continue
      seen.add(key)
      counts[position] = (counts[position] ?? 0) + 1
    }
    return counts
  }

  /** What a claim of this slot takes for granted (rule 4). */
  assumed(workload: Workload, slot: Slot): readonly SlotId[] {
    if (this.#tally === undefined || typeof slot !== 'number') return nothing
    const earlier = this.#young.filter((young) => young.slot < slot)
    return assumedRuns(
      workload.id,
      earlier.sort((a, b) => a.slot - b.slot),
    )
  }

  gave({ slot, attempt }: OpenSlot, node: NodeState): void {
    this.homes?.take(node)
    if (this.#counts !== undefined) this.#counts[node.position] = (this.#counts[node.position] ?? 0) + 1
    this.#tally?.add(node)
    if (typeof slot === 'number' && this.#tally !== undefined) this.#young.push({ slot, attempt })
  }
}

/** Of a service, if it took one more: what is to be as even as it can be. */
export function shareWith({ isOnProbation }: NodeState, count: number): number {
  return (count + 1) * (isOnProbation ? 2 : 1)
}

/** Why a node that passes the filters does not take a slot that somebody gives up. */
function keptFrom({ id }: NodeState, { workload }: Ask, because: Refusal | undefined): Refusal | undefined {
  if (id === because?.node) return because
  if (because?.filter !== 'balance') return undefined
  return { node: id, filter: 'balance', reason: `it would not make ${workload.name} more even` }
}

function refused({ leaving }: OpenSlot, refusals: readonly Refusal[]): SlotPlacement {
  if (leaving === undefined) return { kind: 'pending', refusals }
  return moving(leaving, undefined, refusals, nothing)
}

function moving(
  { holder, losers, because }: NonNullable<OpenSlot['leaving']>,
  to: NodeId | undefined,
  refusals: readonly Refusal[],
  assumed: readonly SlotId[],
): SlotPlacement {
  return { kind: 'moving', holder, to, successor: undefined, losers, because, refusals, assumed }
}

/** Of the nodes that take new tasks at all, those that may be given slots of a service, whatever their load. */
export function candidatesOf(workload: Workload, nodes: readonly NodeState[]): readonly NodeState[] {
  const ask: Ask = { workload, slot: 0, tie: undefined }
  const filters = concerning(serviceFilters, workload)
  return nodes.filter((node) => passesAll(filters, node, ask))
}

function isPresent<T>(value: T | undefined): value is T {
  return value !== undefined
}
