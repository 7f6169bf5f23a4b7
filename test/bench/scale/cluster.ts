import {
  specDigest,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SpecMessage,
  type TaskEntry,
} from '@moot/crdt-state'
import { gibibyte, node } from '../../../packages/agent/src/core/placement/fixtures.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import { encode } from '../../../packages/agent/src/replication/wire.ts'
import { VirtualAgent, type World } from './agent.ts'
import { Calendar } from './calendar.ts'
import { hostNanoCpus } from './engine.ts'
import { Costs, Traffic } from './figures.ts'
import { Goal } from './goal.ts'
import { seeded } from './random.ts'
import { nonceBytes } from './record.ts'
import { createTopology, spreadFrom, type Spread, type Topology } from './spread.ts'

/** Agents that compute everything themselves; the others follow them (see `VirtualAgent`). */
const wholeAgents = 10
const seed = 42

/** N agents in one process under virtual time, with gossip that loses nothing. Records and specs are shared objects. */
export class ScaleCluster {
  readonly calendar = new Calendar()
  readonly agents: readonly VirtualAgent[]
  readonly topology: Topology
  readonly traffic = new Traffic()
  readonly decisionCosts = new Costs()
  readonly detectorCosts = new Costs()
  probes = 0
  goal: Goal
  /** What one agent was busy with, the mean of the whole ones. */
  busyMs = 0
  readonly #messageMs: number
  readonly #cohorts: number
  #lastPublishedMs = 0
  #spreads = new Map<number, Spread>()
  readonly #indexOf: ReadonlyMap<NodeId, number>
  readonly #specs = new Map<string, ServiceSpec>()

  /** `messageMs`: what an agent spends on each message that it hears, besides deciding. */
  constructor(nodeCount: number, messageMs: number) {
    this.#messageMs = messageMs
    const random = seeded(seed)
    const hosts = Array.from({ length: nodeCount }, (_, index) =>
      node(`node${String(index).padStart(4, '0')}`, {
        nanoCpus: hostNanoCpus,
        memoryBytes: 64 * gibibyte,
        maxTasks: defaults.maxTasksPerNode,
      }),
    )
    this.#indexOf = new Map(hosts.map(({ id }, index) => [id, index]))
    const records = new Map(hosts.flatMap(({ id, record }) => (record === undefined ? [] : [[id, record]])))
    const world: World = {
      calendar: this.calendar,
      members: new Map(hosts.map(({ id, settings }) => [id, settings])),
      decisionCosts: this.decisionCosts,
      detectorCosts: this.detectorCosts,
      specAt: (service, digest) => this.#specs.get(`${service}/${digest}`),
      agentOf: (id) => this.agents[this.#indexOf.get(id) ?? -1],
      wrote: (agent) => this.goal.wrote(this.indexOf(agent), agent.record),
      publish: (agent, sizes) => this.#publish(agent, sizes),
      probed: () => (this.probes += 1),
    }
    const ids = hosts.map(({ id }) => id)
    this.topology = createTopology(ids, random)
    const cohort = Math.max(1, Math.floor(nodeCount / wholeAgents))
    this.#cohorts = Math.ceil(nodeCount / cohort)
    const agents: VirtualAgent[] = []
    for (const [index, id] of ids.entries()) {
      const leader = agents[index - (index % cohort)]
      agents.push(new VirtualAgent(world, records.get(id) as NodeRecord, records, leader))
    }
    this.agents = agents
    this.goal = new Goal(this.calendar, agents, () => false, 0)
    for (const agent of agents) this.calendar.after(random() * defaults.probeIntervalMs, () => agent.tick())
    for (let first = 0; first < nodeCount; first += cohort) {
      const beats = agents.slice(first, first + cohort)
      this.calendar.after(random() * defaults.recordBatchMs, () => this.#beat(beats))
    }
  }

  indexOf(agent: VirtualAgent): number {
    return this.#indexOf.get(agent.id) ?? -1
  }

  get living(): readonly VirtualAgent[] {
    return this.agents.filter(({ isAlive }) => isAlive)
  }

  /**
   * An agent decides on what came within so many milliseconds at once; while it is busy, more comes. A cohort's
   * followers are as busy as its first.
   */
  #beat(agents: readonly VirtualAgent[]): void {
    for (const agent of agents) agent.beat()
    const busyMs = agents[0]?.takeBusyMs(this.#messageMs) ?? 0
    this.busyMs += busyMs / this.#cohorts
    this.calendar.after(Math.max(defaults.recordBatchMs, busyMs), () => this.#beat(agents))
  }

  #publish(author: VirtualAgent, sizes: readonly number[]): void {
    const { record } = author
    const source = this.indexOf(author)
    const count = this.goal.count(source, record)
    this.#spread(source, sizes, (index) => {
      this.agents[index]?.receive(record)
      this.goal.heard(index, source, count)
    })
  }

  /** A service as `author`'s spec store wrote it. */
  write(author: VirtualAgent, service: Resource<ServiceSpec>, messages: readonly SpecMessage[]): void {
    this.#specs.set(`${service.id as ServiceId}/${specDigest(service.spec)}`, service.spec)
    author.receiveService(service)
    const sizes = messages.map((message) => encode({ messages: [message] }).length + nonceBytes)
    this.#spread(this.indexOf(author), sizes, (index) => this.agents[index]?.receiveService(service))
  }

  #spread(source: number, sizes: readonly number[], deliver: (index: number) => void): void {
    const spread = this.#spreadFrom(source)
    for (const bytes of sizes) this.traffic.count(this.calendar.nowMs, spread.copies, bytes)
    this.#lastPublishedMs = this.calendar.nowMs
    for (const { delayMs, nodes } of spread.waves) {
      this.calendar.after(delayMs, () => nodes.forEach(deliver))
    }
  }

  #spreadFrom(source: number): Spread {
    const known = this.#spreads.get(source)
    if (known !== undefined) return known
    const spread = spreadFrom(this.topology, source, (index) => this.agents[index]?.isAlive === true)
    this.#spreads.set(source, spread)
    return spread
  }

  kill(agent: VirtualAgent): void {
    agent.isAlive = false
    this.#spreads = new Map()
  }

  /** From now on every living agent is to know of so many running tasks of this kind. */
  aim(wanted: (task: TaskEntry) => boolean, target: number): Goal {
    this.goal = new Goal(this.calendar, this.agents, wanted, target)
    return this.goal
  }

  /** Runs until the goal is reached and nobody has said anything for `restMs`. */
  settle(what: string, restMs: number, limitMs: number): void {
    const isOver = (): boolean => this.goal.isReached && this.calendar.nowMs - this.#lastPublishedMs > restMs
    if (!this.calendar.run(limitMs, isOver)) {
      throw new Error(`${what}: not over after ${limitMs} ms: ${this.goal.story()}`)
    }
    this.#checkExactlyOnce()
  }

  /** Whatever the figures say: each slot runs once. */
  #checkExactlyOnce(): void {
    const running = new Set<string>()
    for (const { record } of this.living) {
      for (const { service, slot, state } of record.tasks.values()) {
        if (state !== 'running') continue
        if (running.has(`${service}.${slot}`)) throw new Error(`slot ${service}.${slot} runs twice`)
        running.add(`${service}.${slot}`)
      }
    }
  }
}
