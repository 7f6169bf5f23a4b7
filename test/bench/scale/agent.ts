import type {
  NodeId,
  NodeRecord,
  NodeSpec,
  RecordChanges,
  RecordMessage,
  Resource,
  ServiceId,
  ServiceSpec,
  SpecDigest,
  TaskId,
} from '@moot/crdt-state'
import { alertEntries, stepDetector } from '../../../packages/agent/src/core/membership/detector.ts'
import {
  type DetectorInput,
  type DetectorState,
  type Probe,
  startDetector,
} from '../../../packages/agent/src/core/membership/detector-state.ts'
import { isNewer } from '../../../packages/agent/src/core/membership/liveness.ts'
import type { Action, ActionResult } from '../../../packages/agent/src/core/reconcile/actions.ts'
import { noLeases } from '../../../packages/agent/src/core/reconcile/testing.ts'
import {
  reconcile,
  type ReconcileInput,
  type ReconcileOutput,
} from '../../../packages/agent/src/core/reconcile/reconcile.ts'
import type { View } from '../../../packages/agent/src/core/view.ts'
import { createDecisions, type Decision, type Decisions } from '../../../packages/agent/src/decisions.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import type { Calendar } from './calendar.ts'
import { ModelEngine } from './engine.ts'
import type { Costs } from './figures.ts'
import { gossipSizes, written } from './record.ts'

export interface World {
  readonly calendar: Calendar
  readonly members: ReadonlyMap<NodeId, Resource<NodeSpec>>
  readonly decisionCosts: Costs
  readonly detectorCosts: Costs
  specAt(service: ServiceId, digest: SpecDigest): ServiceSpec | undefined
  agentOf(node: NodeId): VirtualAgent | undefined
  /** Its own record has changed; nobody else has it yet. */
  wrote(agent: VirtualAgent): void
  publish(agent: VirtualAgent, sizes: readonly number[]): void
  probed(): void
}

type Decided = Pick<Decision, 'liveness' | 'unsettled' | 'placement'>
type Event = DetectorInput extends infer Input
  ? Input extends DetectorInput
    ? Omit<Input, 'nowMs' | 'wallMs'>
    : never
  : never

/** A decision leads to at most so many more at once: each of them has written something. */
const turnsMax = 20
const nothing = new Map<never, never>()

/**
 * One agent, driven as `member.ts` wires it. A whole one computes liveness and placement itself, by production's
 * `createDecisions`; a follower takes both over from its leader, which hears the same things a few milliseconds sooner or
 * later, and does all else itself: its record, reconciliation, detector and engine. (A thousand placers of 10,000 slots
 * would need 5 GB and an hour.)
 */
export class VirtualAgent {
  readonly id: NodeId
  readonly records: Map<NodeId, NodeRecord>
  readonly engine: ModelEngine
  readonly isWhole: boolean
  isAlive = true
  services: ReadonlyMap<ServiceId, Resource<ServiceSpec>> = new Map()
  record: NodeRecord
  /** Gossiped messages since the last beat, and what a whole agent's decisions have taken since then. */
  #heard = 0
  #decidingMs = 0
  /** The last that a whole agent found. */
  decided: Decided | undefined
  readonly #world: World
  readonly #leader: VirtualAgent
  readonly #decisions: Decisions
  #view: View | undefined
  #detector: DetectorState
  #followed: Decided | undefined
  #results = new Map<TaskId, { action: Action['kind']; result: ActionResult }>()
  #outbox: RecordMessage[] = []
  #isDirty = true
  #alertsChanged = false
  #wakeAtMs: number | undefined

  constructor(
    world: World,
    record: NodeRecord,
    records: ReadonlyMap<NodeId, NodeRecord>,
    leader: VirtualAgent | undefined,
  ) {
    this.id = record.node
    this.record = record
    this.records = new Map(records)
    this.isWhole = leader === undefined
    this.#leader = leader ?? this
    this.#world = world
    this.#decisions = createDecisions({
      viewOf: () => this.#viewNow(),
      clock: world.calendar.clock(),
      settings: defaults,
      changed: () => {
        this.#isDirty = true
      },
    })
    this.engine = new ModelEngine(world.calendar, (action, result) => {
      if (!this.isAlive) return
      this.#results.set(action.task, { action: action.kind, result })
      this.#isDirty = true
    })
    this.#detector = startDetector(this.#viewNow(), world.calendar.nowMs)
    this.#feed({ kind: 'view', view: this.#viewNow() })
  }

  get view(): View {
    return this.#viewNow()
  }

  receive(record: NodeRecord): void {
    const known = this.records.get(record.node)
    if (!this.isAlive || (known !== undefined && !isNewer(record, known))) return
    this.#heard += 1
    this.records.set(record.node, record)
    if (known?.alerts !== record.alerts) this.#alertsChanged = true
    this.#changed()
  }

  receiveService(service: Resource<ServiceSpec>): void {
    if (!this.isAlive) return
    this.#heard += 1
    this.services = new Map(this.services).set(service.id as ServiceId, service)
    this.#changed()
  }

  /** What this agent was busy with since it was last asked: hearing and deciding. */
  takeBusyMs(messageMs: number): number {
    const busyMs = this.#heard * messageMs + this.#decidingMs
    this.#heard = 0
    this.#decidingMs = 0
    return busyMs
  }

  #changed(): void {
    this.#view = undefined
    this.#isDirty = true
  }

  /** As the view source makes it: maps that are handed out are never changed. */
  #viewNow(): View {
    this.#view ??= {
      self: this.id,
      services: this.services,
      networks: nothing,
      secrets: nothing,
      configs: nothing,
      nodes: this.#world.members,
      cluster: undefined,
      records: this.isWhole ? new Map(this.records) : this.records,
    }
    return this.#view
  }

  /** What came since the last beat is decided on together. */
  beat(): void {
    const { nowMs } = this.#world.calendar
    const isDue = this.#wakeAtMs !== undefined && this.#wakeAtMs <= nowMs
    const isNews = this.#leader.decided !== this.#followed
    if (!this.isAlive || (!this.#isDirty && !isDue && !isNews)) return
    this.#look()
    this.#isDirty = false
    let results = this.#results
    this.#results = new Map()
    for (let turn = 0; ; turn += 1) {
      if (turn === turnsMax) throw new Error(`node ${this.id} does not come to rest`)
      const output = this.isWhole
        ? this.#measured(this.#world.decisionCosts, () => this.#decide(results))
        : this.#decide(results)
      results = new Map()
      this.#wakeAtMs = output.wakeAtMs
      if (output.changes.size > 0) this.#write(output.changes)
      this.engine.dispatch(output.actions)
      if (output.changes.size === 0) break
    }
    this.#followed = this.#leader.decided
  }

  /** A follower's detector has nothing new to see while nobody accuses anybody anew. */
  #look(): void {
    if (this.isWhole) {
      if (this.#detector.view === this.#view) return
      this.#measured(this.#world.detectorCosts, () => this.#feed({ kind: 'view', view: this.#viewNow() }))
    } else if (this.#alertsChanged) {
      this.#feed({ kind: 'view', view: { ...this.#viewNow(), records: new Map(this.records) } })
    }
    this.#alertsChanged = false
  }

  #measured<T>(costs: Costs, act: () => T): T {
    const result = costs.measure(act)
    this.#decidingMs += costs.lastMs
    return result
  }

  #decide(results: ReconcileInput['results']): ReconcileOutput {
    const view = this.#viewNow()
    if (this.isWhole) this.decided = this.#decisions.now()
    const { liveness, unsettled, placement } = this.#leader.decided ?? this.#decisions.now()
    return reconcile({
      view,
      liveness,
      unsettled,
      placement,
      containers: this.engine.containers,
      health: new Map(),
      engine: { kind: 'up' },
      listed: true,
      inFlight: this.engine.inFlight,
      results,
      networks: undefined,
      guests: { wishes: [], seen: [] },
      idleBlocks: new Map(),
      leases: noLeases,
      synced: true,
      mayBeLost: () => false,
      nowMs: this.#world.calendar.nowMs,
      specAt: (service, digest) => this.#world.specAt(service, digest),
      settings: defaults,
    })
  }

  #write(changes: RecordChanges): void {
    const { record, delta } = written(this.record, changes)
    this.record = record
    this.records.set(this.id, record)
    this.#changed()
    this.#world.wrote(this)
    if (this.#outbox.push(delta) > 1) return
    // A decision's outcome is there when it has been taken.
    this.#world.calendar.after(this.#leader.#decidingMs + defaults.recordBatchMs, () => {
      const sizes = gossipSizes(this.#outbox)
      this.#outbox = []
      if (this.isAlive) this.#world.publish(this, sizes)
    })
  }

  // ── who is alive ────────────────────────────────────────────────────────────────────────────────────────────────

  tick(): void {
    if (!this.isAlive) return
    this.#feed({ kind: 'tick' })
    this.#world.calendar.after(defaults.probeIntervalMs, () => this.tick())
  }

  #feed(event: Event): void {
    const { nowMs } = this.#world.calendar
    const input = { ...event, nowMs, wallMs: nowMs } as DetectorInput
    const step = stepDetector(this.#detector, input, defaults)
    this.#detector = step.state
    for (const probe of step.probe) this.#probe(probe)
    if (step.askWitness) this.#feed({ kind: 'witness', word: 'answered' })
    if (step.changes.size > 0) this.#write(alertEntries(step.changes))
  }

  /** By datagram. */
  #probe({ target, timeoutMs }: Probe): void {
    const sentAtMs = this.#world.calendar.nowMs
    const answers = this.#world.agentOf(target)?.isAlive === true
    this.#world.probed()
    const result = answers ? ({ kind: 'answered', roundTripMs: 2 } as const) : ({ kind: 'silent' } as const)
    this.#world.calendar.after(answers ? 2 : timeoutMs, () => {
      if (this.isAlive) this.#feed({ kind: 'probe-result', target, timeoutMs, result, sentAtMs })
    })
  }
}
