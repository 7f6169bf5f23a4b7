import type { NodeId, NodeRecord } from '@moot/crdt-state'
import { type Cut, firstCut, nextCut } from '../../../packages/agent/src/core/membership/cut.ts'
import {
  type DetectorInput,
  type DetectorState,
  type DetectorStep,
  startDetector,
} from '../../../packages/agent/src/core/membership/detector-state.ts'
import { stepDetector } from '../../../packages/agent/src/core/membership/detector.ts'
import { isCutOff } from '../../../packages/agent/src/core/membership/island.ts'
import {
  isOnProbation,
  type Liveness,
  livenessOf,
  type MembershipView,
} from '../../../packages/agent/src/core/membership/liveness.ts'
import { ringsOf } from '../../../packages/agent/src/core/membership/rings.ts'
import { node as nodeIdOf, recordOf } from '../../../packages/agent/src/core/membership/testing.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import { Calendar } from '../../bench/scale/calendar.ts'
import { datagramBytes } from '../../bench/scale/figures.ts'
import { type Random, randomFrom } from '../random.ts'

/** The part of what goes into or out of a host that is lost, 0 to 1, at an instant. */
export interface Fault {
  readonly ingress: (nowMs: number) => number
  readonly egress: (nowMs: number) => number
}

export interface MeshOptions {
  readonly count: number
  readonly seed: number
  /** By the node's number. */
  readonly faults?: ReadonlyMap<number, Fault>
  /** Numbers of those whose neighbours look closely. */
  readonly watched: readonly number[]
  /** When each agent starts, ms. */
  readonly startsAtMs?: (index: number, random: Random) => number
  /** Have they spoken before, so that all know all from the first instant on? */
  readonly isNew?: boolean
}

/** Somebody's view of somebody, when it changed. */
export interface Verdict {
  readonly atMs: number
  readonly by: Agent
  readonly of: NodeId
  readonly was: Liveness | undefined
  readonly is: Liveness
}

const none: Fault = { ingress: () => 0, egress: () => 0 }
const roundTripMs = 2
const diskMs = 3
/** A lossy way delays what TCP carries: it is tried again this often. */
const resendMs = 200
/** Of a node that nothing is wrong with, nor with any whom it watches, little is to be seen. */
const idleLookMs = 5_000
/** Besides those that are concerned, so many look at all that changes. */
const onlookers = 100

export interface Agent {
  readonly index: number
  readonly id: NodeId
  readonly fault: Fault
  readonly isLooking: boolean
  record: NodeRecord
  detector: DetectorState | undefined
  cut: Cut
  /** Of the records that all share. */
  seen: { readonly version: number; readonly records: ReadonlyMap<NodeId, NodeRecord> }
  lookedAtMs: number
  /** When its view of anybody last changed. */
  changedAtMs: number
  isSending: boolean
  isAlive: boolean
}

/**
 * A mesh of production's detectors, cuts and verdicts, up to a thousand in one process under virtual time. Probes are
 * lost as the faults say; records reach everybody at the next look, later where they are lost on their way and sent again.
 */
export class DetectorMesh {
  readonly calendar = new Calendar()
  readonly verdicts: Verdict[] = []
  /** Records published, the first ones too. */
  published = 0
  datagrams = 0
  readonly agents: readonly Agent[]
  readonly #nodes: ReadonlyMap<NodeId, true>
  readonly #random: Random
  #records = new Map<NodeId, NodeRecord>()
  #shared: { version: number; records: ReadonlyMap<NodeId, NodeRecord> } = { version: 0, records: new Map() }
  #isStale = false

  constructor({ count, seed, faults = new Map(), watched, startsAtMs, isNew = false }: MeshOptions) {
    this.#random = randomFrom(seed)
    const ids = Array.from({ length: count }, (_, index) => nodeIdOf(`node${String(index).padStart(4, '0')}`))
    this.#nodes = new Map(ids.map((id) => [id, true]))
    const concerned = this.#concerned(ids, watched)
    this.agents = ids.map((id, index) => ({
      index,
      id,
      fault: faults.get(index) ?? none,
      isLooking: concerned.has(id) || index % Math.max(1, Math.floor(count / onlookers)) === 0,
      record: recordOf(id),
      detector: undefined,
      cut: firstCut,
      seen: this.#shared,
      lookedAtMs: -Infinity,
      changedAtMs: 0,
      isSending: false,
      isAlive: true,
    }))
    if (!isNew) this.#records = new Map(this.agents.map(({ id, record }) => [id, record]))
    this.#isStale = true
    for (const agent of this.agents) {
      const startMs = startsAtMs?.(agent.index, this.#random) ?? 0
      this.calendar.after(startMs + this.#random.between(0, defaults.probeIntervalMs), () =>
        this.#start(agent),
      )
    }
  }

  pass(ms: number): void {
    this.calendar.run(ms, () => false)
  }

  kill(index: number): void {
    this.agents[index]!.isAlive = false
  }

  /** As the agent of that number sees them now, after its cut. */
  livenessAt(index: number): ReadonlyMap<NodeId, Liveness> {
    return this.agents[index]!.cut.liveness
  }

  /** Those with a fault, who watches them, and whom they watch. */
  #concerned(ids: readonly NodeId[], watched: Iterable<number>): ReadonlySet<NodeId> {
    const { observers, targets } = ringsOf(ids, defaults.observersPerNode)
    const concerned = new Set<NodeId>()
    for (const index of watched) {
      const id = ids[index]!
      for (const each of [id, ...observers.get(id)!, ...targets.get(id)!]) concerned.add(each)
    }
    return concerned
  }

  #start(agent: Agent): void {
    agent.record = { ...agent.record, epoch: agent.record.epoch + 1, seq: 0 }
    this.#publish(agent)
    agent.detector = startDetector(this.#viewOf(agent), this.calendar.nowMs)
    this.#look(agent)
    this.#tick(agent)
  }

  #tick(agent: Agent): void {
    if (!agent.isAlive) return
    this.calendar.after(defaults.probeIntervalMs, () => this.#tick(agent))
    const { nowMs } = this.calendar
    if (agent.isLooking || nowMs - agent.lookedAtMs >= idleLookMs) this.#look(agent)
    this.#feed(agent, { kind: 'tick', nowMs, wallMs: nowMs })
  }

  /** Whether something of this host's gets through both ways, as TCP needs. */
  #getsThrough({ fault }: Agent): boolean {
    const { nowMs } = this.calendar
    return this.#random.next() < (1 - fault.ingress(nowMs)) * (1 - fault.egress(nowMs))
  }

  #viewOf(agent: Agent): MembershipView {
    const { records } = agent.seen
    const isOwn = records.get(agent.id) === agent.record
    return {
      self: agent.id,
      nodes: this.#nodes,
      records: isOwn ? records : new Map(records).set(agent.id, agent.record),
    }
  }

  #look(agent: Agent): void {
    if (this.#isStale) {
      this.#shared = { version: this.#shared.version + 1, records: new Map(this.#records) }
      this.#isStale = false
    }
    const isNews = agent.seen.version !== this.#shared.version
    if (!isNews || !this.#getsThrough(agent)) return
    agent.seen = this.#shared
    agent.lookedAtMs = this.calendar.nowMs
    this.#judge(agent)
  }

  #judge(agent: Agent): void {
    const { nowMs } = this.calendar
    const view = this.#viewOf(agent)
    this.#feed(agent, { kind: 'view', view, nowMs, wallMs: nowMs })
    this.#decide(agent, view)
  }

  #decide(agent: Agent, view: MembershipView): void {
    const { nowMs } = this.calendar
    const { detector } = agent
    if (detector === undefined || !agent.isAlive) return
    const before = agent.cut.liveness
    const cutOff = isCutOff(detector.solitude, this.#nodes.size, nowMs, defaults)
    agent.cut = nextCut(
      agent.cut,
      { self: view.self, assessed: livenessOf(view), records: view.records, isCutOff: cutOff, nowMs },
      defaults,
    )
    for (const [of, is] of agent.cut.liveness) {
      const was = before.get(of)
      if (was?.kind === is.kind && isOnProbation(was) === isOnProbation(is)) continue
      agent.changedAtMs = nowMs
      // A million times at a bootstrap.
      if (is.kind === 'unknown' || (is.kind === 'alive' && (was === undefined || was.kind === 'unknown')))
        continue
      this.verdicts.push({ atMs: nowMs, by: agent, of, was, is })
    }
    const { lookAtMs } = agent.cut
    if (lookAtMs === undefined) return
    const { cut } = agent
    this.calendar.after(lookAtMs - nowMs, () => {
      // Unless something else has happened meanwhile.
      if (agent.cut === cut) this.#decide(agent, view)
    })
  }

  #feed(agent: Agent, input: DetectorInput): void {
    if (agent.detector === undefined || !agent.isAlive) return
    this.#take(agent, stepDetector(agent.detector, input, defaults))
  }

  #take(agent: Agent, step: DetectorStep): void {
    agent.detector = step.state
    for (const { target, timeoutMs } of step.probe) this.#probe(agent, target, timeoutMs)
    if (step.askWitness) this.#askGateway(agent)
    if (step.changes.size === 0) return
    const alerts = new Map(agent.record.alerts)
    for (const [target, alert] of step.changes) {
      if (alert === undefined) alerts.delete(target)
      else alerts.set(target, alert)
    }
    agent.record = { ...agent.record, seq: agent.record.seq + 1, alerts }
    this.#publish(agent)
    this.calendar.after(diskMs, () => this.#judge(agent))
  }

  #publish(agent: Agent): void {
    this.published += 1
    if (agent.isSending) return
    agent.isSending = true
    this.calendar.after(diskMs + defaults.recordBatchMs, () => this.#send(agent))
  }

  #send(agent: Agent): void {
    if (!agent.isAlive) return
    if (!this.#getsThrough(agent)) {
      this.calendar.after(resendMs, () => this.#send(agent))
      return
    }
    agent.isSending = false
    this.#records.set(agent.id, agent.record)
    this.#isStale = true
  }

  #probe(agent: Agent, target: NodeId, timeoutMs: number): void {
    const { nowMs } = this.calendar
    const other = this.agents[Number(target.slice(4))]!
    this.datagrams += 1
    const arrives = this.#isCarried(agent, other) && other.isAlive && other.detector !== undefined
    if (arrives) this.datagrams += 1
    const isAnswered = arrives && this.#isCarried(other, agent)
    const told = { kind: 'probe-result', target, timeoutMs, sentAtMs: nowMs } as const
    this.calendar.after(isAnswered ? roundTripMs : timeoutMs, () => {
      const at = { nowMs: this.calendar.nowMs, wallMs: this.calendar.nowMs }
      const result = isAnswered ? ({ kind: 'answered', roundTripMs } as const) : ({ kind: 'silent' } as const)
      this.#feed(agent, { ...told, result, ...at })
    })
  }

  #isCarried(from: Agent, to: Agent): boolean {
    const { nowMs } = this.calendar
    const lost = 1 - (1 - from.fault.egress(nowMs)) * (1 - to.fault.ingress(nowMs))
    return lost === 0 || this.#random.next() >= lost
  }

  #askGateway(agent: Agent): void {
    const isAnswered = this.#getsThrough(agent)
    this.calendar.after(isAnswered ? roundTripMs : defaults.witnessTimeoutMs, () => {
      const at = { nowMs: this.calendar.nowMs, wallMs: this.calendar.nowMs }
      this.#feed(agent, { kind: 'witness', word: isAnswered ? 'answered' : 'silent', ...at })
    })
  }

  /** Out of each host, on average since the last call, bytes a second. */
  takeTraffic(overMs: number): number {
    const bytes = (this.datagrams * datagramBytes * 1_000) / overMs / this.agents.length
    this.datagrams = 0
    return Math.round(bytes)
  }
}
