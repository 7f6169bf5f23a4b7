import {
  isClaim,
  slotId,
  specDigest,
  updateKey,
  type NodeId,
  type ServiceId,
  type Slot,
  type SlotId,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import { isOnProbation, isUnheard } from '../membership/liveness.ts'
import { firstRules, type Rules } from '../rules.ts'
import {
  firstRefusal,
  globalFilters,
  keepFilters,
  keepFiltersOfMisfit,
  nodeFilters,
  passesAll,
} from './filters/pipeline.ts'
import { candidatesOf, Fold, type OpenService, type OpenSlot } from './fold.ts'
import { claimsAlike, LastFold } from './last-fold.ts'
import { misfit } from './misfit.ts'
import { NodeState } from './node-state.ts'
import { compareSlots, compareText } from './order.ts'
import type { Claim, Placement, PlacementInput, PlacementNode, Refusal, SlotPlacement } from './placement.ts'
import { ServiceState } from './service-state.ts'
import { SlotTable, type ServiceSlots } from './slot-table.ts'
import { compareClaims, type Standing, standingOf } from './standing.ts'
import { workloadOf, type Workload } from './workload.ts'

/**
 * `place`, remembering between calls what did not change: claims by slot, where each slot stands, loads by node. What
 * changed is told by identity (`===`) of services, settings, records' parts and task entries. Open slots, of which
 * there are few in a cluster at rest, are folded anew each time, except where nodes only did what the last fold said.
 */
export class Placer {
  readonly #services = new Map<ServiceId, ServiceState>()
  readonly #nodes = new Map<NodeId, NodeState>()
  /** By id: the order in which equal scores are decided. */
  #sortedNodes: readonly NodeState[] = []
  /** Grows when a node's description, settings or liveness changes: candidates are found again. */
  #nodesVersion = 0
  /** Those that take new tasks at all, of that version. */
  #openNodes: { readonly version: number; readonly nodes: readonly NodeState[] } | undefined
  readonly #dirtyServices = new Set<ServiceState>()
  readonly #dirtyLoads = new Set<NodeState>()
  readonly #lastFold = new LastFold()
  #rules: Rules = firstRules

  update(input: PlacementInput): Placement {
    const { rules = firstRules } = input
    if (rules !== this.#rules) this.#lastFold.forget()
    this.#rules = rules
    this.#readServices(input)
    this.#readNodes(input)
    for (const node of this.#dirtyLoads) node.recount((id) => this.#services.get(id)?.workload)
    this.#dirtyLoads.clear()
    for (const service of this.#dirtyServices) this.#settle(service)
    this.#dirtyServices.clear()
    const open = this.#fold()
    this.#lastFold.remember(open)
    return this.#result(open)
  }

  #readServices({ services }: PlacementInput): void {
    for (const [id, resource] of services) {
      const state = this.#service(id)
      if (state.resource === resource) continue
      this.#lastFold.forget()
      const before = state.workload
      const after = workloadOf(id, resource)
      state.resource = resource
      state.workload = after
      state.candidates = undefined
      if (before?.demandKey !== after.demandKey || before.name !== after.name) this.#recountHolders(state)
      this.#touchAll(state)
    }
    for (const [id, state] of this.#services) {
      if (state.workload === undefined || services.has(id)) continue
      this.#lastFold.forget()
      state.resource = undefined
      state.workload = undefined
      this.#recountHolders(state)
      this.#touchAll(state)
    }
  }

  #readNodes({ nodes }: PlacementInput): void {
    let membersChanged = false
    for (const [id, node] of nodes) {
      const state = this.#nodes.get(id)
      if (state !== undefined) this.#readNode(state, node)
      else {
        membersChanged = true
        this.#addNode(node)
      }
    }
    for (const [id, state] of this.#nodes) {
      if (nodes.has(id)) continue
      membersChanged = true
      this.#readTasks(state, undefined)
      this.#nodes.delete(id)
      this.#dirtyLoads.delete(state)
      this.#touchNode(state)
    }
    if (!membersChanged) return
    this.#sortedNodes = [...this.#nodes.values()].sort((a, b) => compareText(a.id, b.id))
    for (const [position, state] of this.#sortedNodes.entries()) state.position = position
  }

  #addNode(node: PlacementNode): void {
    const state = new NodeState({ ...node, record: undefined })
    this.#nodes.set(node.id, state)
    this.#readTasks(state, node.record?.tasks)
    state.node = node
    this.#touchNode(state)
  }

  #readNode(state: NodeState, node: PlacementNode): void {
    const before = state.node
    this.#readTasks(state, node.record?.tasks)
    state.node = node
    if (
      before.settings !== node.settings ||
      before.liveness.kind !== node.liveness.kind ||
      isOnProbation(before.liveness) !== isOnProbation(node.liveness) ||
      isUnheard(before.liveness) !== isUnheard(node.liveness) ||
      before.record?.status !== node.record?.status ||
      before.record?.rejections !== node.record?.rejections
    ) {
      this.#touchNode(state)
    }
  }

  /** Brings the claims by slot up to date with a record's tasks. Call before `state.node` is replaced. */
  #readTasks(state: NodeState, after: ReadonlyMap<TaskId, TaskEntry> | undefined): void {
    const before = state.node.record?.tasks
    if (before === after) return
    this.#lastFold.observe(state.id, before, after)
    let isLoadTheSame = true
    for (const [id, task] of before ?? []) {
      const now = after?.get(id)
      if (now === task) continue
      if (now === undefined || !claimsAlike(task, now)) isLoadTheSame = false
      const service = this.#service(task.service)
      service.removeTask(task.slot, state.id, id)
      this.#touch(service, task.slot)
    }
    for (const [id, task] of after ?? []) {
      const past = before?.get(id)
      if (past === task) continue
      if (past === undefined) isLoadTheSame = false
      const service = this.#service(task.service)
      service.addTask({ node: state.id, task })
      this.#touch(service, task.slot)
    }
    // A task's way from `assigned` to `running` takes no more than it did.
    if (!isLoadTheSame) this.#dirtyLoads.add(state)
  }

  /** Something of the node itself changed: what it holds is judged again, and what it may be given. */
  #touchNode(state: NodeState): void {
    this.#nodesVersion += 1
    this.#lastFold.forget()
    this.#dirtyLoads.add(state)
    if (!this.#nodes.has(state.id)) this.#dirtyLoads.delete(state)
    for (const task of state.node.record?.tasks.values() ?? []) {
      this.#touch(this.#service(task.service), task.slot)
    }
    for (const service of this.#services.values()) {
      if (service.workload?.mode.kind === 'global') this.#touch(service, state.id)
    }
  }

  #service(id: ServiceId): ServiceState {
    const known = this.#services.get(id)
    if (known !== undefined) return known
    const state = new ServiceState(id)
    this.#services.set(id, state)
    return state
  }

  #recountHolders(state: ServiceState): void {
    for (const entries of state.entries.values()) {
      for (const { node } of entries) {
        const holder = this.#nodes.get(node)
        if (holder !== undefined) this.#dirtyLoads.add(holder)
      }
    }
  }

  #touch(service: ServiceState, slot: Slot): void {
    this.#dirtyServices.add(service)
    service.touch(slot)
  }

  #touchAll(service: ServiceState): void {
    this.#dirtyServices.add(service)
    service.allDirty = true
  }

  /** Judges the claims of the slots that something happened to. */
  #settle(service: ServiceState): void {
    if (service.workload === undefined && service.entries.size === 0) {
      this.#services.delete(service.id)
      return
    }
    // Which of a node's slots exceed the limit depends on the others.
    if ((service.workload?.maxReplicas ?? 0) > 0) service.allDirty = true
    if (service.allDirty) {
      service.forgetAll()
      for (const slot of this.#allSlots(service)) this.#settleSlot(service, slot)
    } else {
      for (const slot of service.dirty) {
        service.forget(slot)
        this.#settleSlot(service, slot)
      }
    }
    service.allDirty = false
    service.dirty.clear()
  }

  /** Every slot that is wanted or claimed. */
  #allSlots(service: ServiceState): Iterable<Slot> {
    const slots = new Set<Slot>(service.entries.keys())
    const mode = service.workload?.mode
    if (mode?.kind === 'global') for (const node of this.#nodes.keys()) slots.add(node)
    if (mode?.kind === 'replicated') for (let n = 1; n <= mode.replicas; n += 1) slots.add(n)
    return slots
  }

  #settleSlot(service: ServiceState, slot: Slot): void {
    const claims = service.entriesOf(slot).filter((claim) => this.#holds(service, claim))
    if (!this.#isWanted(service, slot, claims)) {
      if (claims.length > 0) service.surplus.set(slot, claims)
      return
    }
    const [own, foreign] = ownClaims(slot, claims)
    if (foreign.length > 0) service.surplus.set(slot, foreign)
    const standing = standingOf(own, {
      refusal: (claim) => this.#keepRefusal(service, claim),
      isOnProbation: (node) => this.#nodes.get(node)?.isOnProbation === true,
    })
    const id = slotId(service.id, slot)
    if (standing.kind === 'held') {
      service.settledForWriting().set(id, standing)
      return
    }
    if (standing.kind === 'leaving' && standing.successor !== undefined) {
      service.settledForWriting().set(id, move(standing, standing.successor))
      return
    }
    if (standing.kind === 'leaving' && !this.#mayBeTaken(standing)) {
      service.settledForWriting().set(id, { kind: 'held', holder: standing.holder, losers: standing.losers })
      return
    }
    service.open.set(slot, {
      service: service.id,
      slot,
      attempt: 1 + Math.max(0, ...service.entriesOf(slot).map((entry) => entry.task.attempt)),
      leaving: standing.kind === 'leaving' ? standing : undefined,
    })
  }

  /** Void with its node's death, except where it says that this very spec is done: that needs no living node. */
  #holds(service: ServiceState, { node, task }: Claim): boolean {
    return isClaim(task) && (this.#nodes.get(node)?.isDown === false || isDoneFor(service, task))
  }

  #isWanted({ workload }: ServiceState, slot: Slot, claims: readonly Claim[]): boolean {
    if (workload?.mode.kind === 'replicated') {
      return typeof slot === 'number' && slot >= 1 && slot <= workload.mode.replicas
    }
    if (workload?.mode.kind !== 'global' || typeof slot !== 'string') return false
    const state = this.#nodes.get(slot)
    if (state?.node.record?.status === undefined || state.isDown) return false
    const { Availability } = state.node.settings.spec
    if (Availability !== 'active' && !claims.some((claim) => claim.node === slot)) return false
    return passesAll(globalFilters, state, { workload, slot, tie: undefined })
  }

  #keepRefusal(service: ServiceState, { node, task }: Claim): Refusal | undefined {
    const state = this.#nodes.get(node)
    const { workload } = service
    if (state?.node.record?.status === undefined || workload === undefined) return undefined
    if (isDoneFor(service, task)) return undefined
    const { spec } = workload
    const filters = misfit(spec, state.node, task) === undefined ? keepFilters : keepFiltersOfMisfit
    const refusal = firstRefusal(filters, state, { workload, slot: task.slot, tie: undefined })
    if (refusal !== undefined) return refusal
    if (task.leaves?.update === updateKey(spec)) return { node, filter: 'update', reason: task.leaves.reason }
    // A slot with a local volume stays: where another one may start depends on which have taken a home before it.
    if (task.balance?.kind !== 'leaving' || workload.volumes.length > 0) return undefined
    return { node, filter: 'balance', reason: `has more tasks of ${workload.name} than others` }
  }

  /**
   * Nobody takes over what its holder gives up by its own word while nobody can hear that holder: it could not give way, and whoever is cut
   * off would run what others run. For evenness, which can wait, from nobody who is in any doubt.
   */
  #mayBeTaken({ because, holder }: Standing & { readonly kind: 'leaving' }): boolean {
    const liveness = this.#nodes.get(holder.node)?.node.liveness
    if (because.filter === 'balance') return liveness?.kind === 'alive'
    return because.filter !== 'update' || !isUnheard(liveness)
  }

  /** In canonical order. */
  #fold(): readonly [SlotId, SlotPlacement][] {
    const open: { readonly slot: OpenSlot; readonly state: ServiceState; readonly service: OpenService }[] =
      []
    for (const state of this.#services.values()) {
      state.folded = new Map()
      const service = state.open.size > 0 ? this.#openService(state) : undefined
      if (service === undefined) continue
      for (const slot of state.open.values()) open.push({ slot, state, service })
    }
    open.sort((a, b) => compareSlots(a.slot, b.slot))
    const known = this.#lastFold.decisions(open.map(({ state, slot }) => slotId(state.id, slot.slot)))
    const decided: [SlotId, SlotPlacement][] = []
    const fold = new Fold(this.#sortedNodes, (id) => this.#nodes.get(id), this.#rules)
    for (const { slot, state, service } of open) {
      const id = slotId(state.id, slot.slot)
      const where = fold.place(slot, service, known && { to: known.get(id) })
      state.folded.set(id, where)
      decided.push([id, where])
    }
    fold.finish()
    return decided
  }

  #openService(state: ServiceState): OpenService | undefined {
    const { workload } = state
    if (workload === undefined) return undefined
    if (state.candidates?.version !== this.#nodesVersion) {
      state.candidates = { version: this.#nodesVersion, nodes: candidatesOf(workload, this.#takers()) }
    }
    return {
      workload,
      candidates: state.candidates.nodes,
      standing: () => [...state.settled.values()].flatMap(standingClaim),
      pasts: () => this.#pasts(state),
      claims: () => this.#claims(state),
      isVolumeShared: (volume) => this.#isVolumeShared(state.id, volume),
    }
  }

  #isVolumeShared(service: ServiceId, volume: string): boolean {
    return this.#services
      .values()
      .some(({ id, workload }) => id !== service && isWanted(workload) && workload.writes.includes(volume))
  }

  #takers(): readonly NodeState[] {
    if (this.#openNodes?.version !== this.#nodesVersion) {
      const nodes = this.#sortedNodes.filter((node) => nodeFilters.every((filter) => filter.passes(node)))
      this.#openNodes = { version: this.#nodesVersion, nodes }
    }
    return this.#openNodes.nodes
  }

  *#claims(state: ServiceState): Iterable<Claim> {
    for (const entries of state.entries.values())
      for (const claim of entries) if (isClaim(claim.task)) yield claim
  }

  *#pasts(state: ServiceState): Iterable<{ slot: Slot; past: readonly Claim[]; claims: readonly Claim[] }> {
    for (const [slot, past] of state.entries) {
      if (!this.#isWanted(state, slot, past)) continue
      yield { slot, past, claims: past.filter((claim) => this.#holds(state, claim)) }
    }
  }

  #result(open: readonly [SlotId, SlotPlacement][]): Placement {
    const parts = new Map<ServiceId, ServiceSlots>()
    const surplus: Claim[] = []
    for (const state of this.#services.values()) {
      for (const claims of state.surplus.values()) surplus.push(...claims)
      if (state.workload !== undefined) parts.set(state.id, state.publish(state.workload))
    }
    surplus.sort((a, b) => compareSlots(a.task, b.task) || compareClaims(a, b))
    return { slots: new SlotTable(parts, open), surplus }
  }
}

/** Does it ask for any task at all? */
function isWanted(workload: Workload | undefined): workload is Workload {
  return workload !== undefined && (workload.mode.kind !== 'replicated' || workload.mode.replicas > 0)
}

function isDoneFor({ workload }: ServiceState, task: TaskEntry): boolean {
  return task.done === true && workload !== undefined && task.digest === specDigest(workload.spec)
}

/** A global service's slot is of its node: another node's claim of it is nonsense, and ends. */
function ownClaims(slot: Slot, claims: readonly Claim[]): readonly [readonly Claim[], readonly Claim[]] {
  if (typeof slot === 'number') return [claims, []]
  return [claims.filter((claim) => claim.node === slot), claims.filter((claim) => claim.node !== slot)]
}

function move(
  { holder, losers, because }: { holder: Claim; losers: readonly Claim[]; because: Refusal },
  successor: Claim,
): SlotPlacement {
  return { kind: 'moving', holder, to: successor.node, successor, losers, because, refusals: [], assumed: [] }
}

/** The claim that will be left when what is under way is over. */
function standingClaim(placement: SlotPlacement): readonly Claim[] {
  if (placement.kind === 'held') return [placement.holder]
  return placement.kind === 'moving' && placement.successor !== undefined ? [placement.successor] : []
}
