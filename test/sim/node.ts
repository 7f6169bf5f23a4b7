import {
  specDigest,
  type NodeId,
  type NodeRecord,
  type NodeSpec,
  type RecordChanges,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SpecDigest,
  type TaskId,
} from '@moot/crdt-state'
import type { Defaults } from '../../packages/agent/src/defaults.ts'
import {
  alertEntries,
  startDetector,
  stepDetector,
  type DetectorInput,
  type DetectorState,
} from '../../packages/agent/src/core/membership/detector.ts'
import { livenessOf } from '../../packages/agent/src/core/membership/liveness.ts'
import { createPlacer } from '../../packages/agent/src/core/placement/place.ts'
import type { PlacementNode } from '../../packages/agent/src/core/placement/placement.ts'
import type { ContainerObservation } from '../../packages/agent/src/core/reconcile/actions.ts'
import { reconcile, type ReconcileInput } from '../../packages/agent/src/core/reconcile/reconcile.ts'
import type { View } from '../../packages/agent/src/core/view.ts'
import { createModelEngine, observationOf, type ModelEngine } from './model-engine.ts'
import type { Network } from './network.ts'
import type { Random } from './random.ts'
import { applyChanges } from './record.ts'
import type { Timeline } from './timeline.ts'

/** A spec with the version that wins: a stand-in for merged documents. `undefined` = removed. */
export interface Versioned<S> {
  readonly version: number
  readonly value: Resource<S> | undefined
}

export interface SimNode {
  readonly id: NodeId
  readonly engine: ModelEngine
  readonly record: NodeRecord
  readonly records: ReadonlyMap<NodeId, NodeRecord>
  readonly hostUp: boolean
  readonly agentUp: boolean
  readonly services: Map<ServiceId, Versioned<ServiceSpec>>
  readonly settings: Map<NodeId, Versioned<NodeSpec>>
  receiveRecord(record: NodeRecord): void
  receiveSpecs(from: Pick<SimNode, 'services' | 'settings'>): void
  syncedWith(): void
  startAgent(): void
  killAgent(): void
  powerOff(): void
  powerOn(): void
}

export interface NodeWorld {
  readonly timeline: Timeline
  readonly random: Random
  readonly network: Network
  readonly settings: Defaults
  readonly node: (id: NodeId) => SimNode | undefined
  readonly peers: (id: NodeId) => readonly SimNode[]
}

/** One host with its engine and its agent: the production core, in the order in which the agent wires it. */
export function createSimNode(id: NodeId, world: NodeWorld, status: NodeRecord['status']): SimNode {
  const { timeline, random, network, settings } = world
  const engine = createModelEngine(id.slice(0, 5), timeline, random)
  let record: NodeRecord = {
    node: id,
    epoch: 0,
    seq: 0,
    status,
    tasks: new Map(),
    alerts: new Map(),
    updates: new Map(),
    rejections: new Map(),
  }
  const peers = new Map<NodeId, NodeRecord>()
  const services = new Map<ServiceId, Versioned<ServiceSpec>>()
  const nodeSettings = new Map<NodeId, Versioned<NodeSpec>>()
  /** Grows with each start and end of the agent: whatever an earlier one had under way is void. */
  let life = 0
  let agentUp = false
  let hostUp = true
  let agent: AgentMemory = freshMemory()

  function freshMemory(): AgentMemory {
    return {
      containers: new Map(),
      listed: false,
      synced: false,
      inFlight: new Set(),
      results: new Map(),
      detector: undefined,
      placer: createPlacer(),
      history: new Map(),
      busy: false,
      dirty: false,
      wakeAtMs: undefined,
    }
  }

  const later = (delayMs: number, run: () => void): void => {
    const mine = life
    timeline.after(delayMs, () => {
      if (mine === life && agentUp) run()
    })
  }

  function view(): View {
    const records = new Map(peers).set(id, record)
    return {
      self: id,
      services: present(services),
      networks: new Map(),
      secrets: new Map(),
      configs: new Map(),
      nodes: present(nodeSettings),
      cluster: undefined,
      records,
    }
  }

  /** Durable after a moment, then told to the others; an agent that is killed in between has said nothing. */
  function write(changes: RecordChanges, done: () => void): void {
    later(random.between(0, 3), () => {
      record = applyChanges(record, changes)
      publish()
      done()
    })
  }

  function publish(): void {
    const said = record
    for (const peer of world.peers(id)) network.send(id, peer.id, () => peer.receiveRecord(said))
  }

  function trigger(): void {
    if (!agentUp || agent.dirty) return
    agent.dirty = true
    later(random.between(1, 4), round)
  }

  function round(): void {
    if (agent.busy) return
    agent.dirty = false
    detect({ kind: 'view', view: view(), ...instant() })
    const seen = view()
    const liveness = livenessOf(seen, settings.observersPerNode)
    const nodes = new Map<NodeId, PlacementNode>()
    for (const [node, resource] of seen.nodes) {
      const alive = liveness.get(node) ?? { kind: 'unknown' }
      nodes.set(node, { id: node, settings: resource, record: seen.records.get(node), liveness: alive })
    }
    const results = agent.results
    agent.results = new Map()
    const output = reconcile({
      view: seen,
      liveness,
      placement: agent.placer.update({ services: seen.services, nodes }),
      containers: agent.containers,
      engine: { kind: 'up' },
      listed: agent.listed,
      inFlight: agent.inFlight,
      results,
      synced: agent.synced,
      nowMs: timeline.nowMs,
      specAt,
      settings,
    })
    if (output.wakeAtMs !== undefined) wake(output.wakeAtMs)
    const dispatch = (): void => {
      for (const action of output.actions) perform(action)
    }
    if (output.changes.size === 0) return dispatch()
    agent.busy = true
    write(output.changes, () => {
      agent.busy = false
      dispatch()
      agent.dirty = false
      trigger()
    })
  }

  function wake(atMs: number): void {
    if (agent.wakeAtMs !== undefined && agent.wakeAtMs > timeline.nowMs && agent.wakeAtMs <= atMs) return
    agent.wakeAtMs = atMs
    later(Math.max(1, atMs - timeline.nowMs), trigger)
  }

  function perform(action: Parameters<ModelEngine['perform']>[0]): void {
    if (agent.inFlight.has(action.task)) throw new Error(`two actions at once for task ${action.task}`)
    agent.inFlight.add(action.task)
    const mine = life
    engine.perform(action, (result) => {
      if (mine !== life || !agentUp) return
      agent.inFlight.delete(action.task)
      agent.results.set(action.task, { action: action.kind, result })
      look(action.task)
      trigger()
    })
  }

  function specAt(service: ServiceId, digest: SpecDigest): ServiceSpec | undefined {
    return agent.history.get(`${service}/${digest}`)
  }

  function remember(): void {
    for (const [service, { value }] of services) {
      if (value !== undefined) agent.history.set(`${service}/${specDigest(value.spec)}`, value.spec)
    }
  }

  /** What the engine shows for this task now. */
  function look(task: TaskId): void {
    const seen = [...engine.containers.values()].filter((container) => container.task === task)
    const containers = new Map(agent.containers)
    if (seen.length === 0) containers.delete(task)
    else containers.set(task, seen.map(observationOf))
    agent.containers = containers
  }

  engine.onChange((container) => {
    later(random.between(1, 25), () => {
      look(container.task)
      trigger()
    })
  })

  const instant = (): { nowMs: number; wallMs: number } => ({ nowMs: timeline.nowMs, wallMs: timeline.nowMs })

  function detect(input: DetectorInput): void {
    if (agent.detector === undefined) return
    const step = stepDetector(agent.detector, input, settings)
    agent.detector = step.state
    for (const target of step.probe) probe(target)
    const changes = alertEntries(step.changes)
    if (changes.size > 0) write(changes, trigger)
  }

  function probe(target: NodeId): void {
    const sentAtMs = timeline.nowMs
    const peer = world.node(target)
    const answered = network.reaches(id, target)
    const outcome = !answered ? 'silent' : peer?.agentUp === true ? 'answered' : 'refused'
    later(outcome === 'silent' ? settings.probeTimeoutMs : random.between(1, 20), () =>
      detect({ kind: 'probe-result', target, outcome, sentAtMs, ...instant() }),
    )
  }

  function tick(): void {
    detect({ kind: 'tick', ...instant() })
    later(settings.probeIntervalMs, tick)
  }

  /** Anti-entropy: both sides end with the newer of everything. */
  function syncOnce(): void {
    const reachable = world.peers(id).filter((peer) => peer.agentUp && network.reaches(id, peer.id))
    const peer = random.pick(reachable)
    if (peer !== undefined) network.send(id, peer.id, () => exchange(peer), true)
  }

  function exchange(peer: SimNode): void {
    if (!agentUp || !peer.agentUp) return
    for (const known of [record, ...peers.values()]) peer.receiveRecord(known)
    for (const known of [peer.record, ...peer.records.values()]) self.receiveRecord(known)
    peer.receiveSpecs(self)
    self.receiveSpecs(peer)
    peer.syncedWith()
    self.syncedWith()
  }

  function syncForever(): void {
    syncOnce()
    later(settings.antiEntropyIntervalMs + random.between(0, 500), syncForever)
  }

  const self: SimNode = {
    id,
    engine,
    get record() {
      return record
    },
    records: peers,
    get hostUp() {
      return hostUp
    },
    get agentUp() {
      return agentUp
    },
    services,
    settings: nodeSettings,
    receiveRecord(received) {
      if (!agentUp || received.node === id) return
      const known = peers.get(received.node)
      const newer =
        known === undefined ||
        received.epoch > known.epoch ||
        (received.epoch === known.epoch && received.seq > known.seq)
      if (!newer) return
      peers.set(received.node, received)
      trigger()
    },
    receiveSpecs(from) {
      if (!agentUp) return
      const changed = [merge(services, from.services), merge(nodeSettings, from.settings)]
      remember()
      if (changed.includes(true)) trigger()
    },
    syncedWith() {
      agent.synced = true
      trigger()
    },
    startAgent() {
      if (!hostUp || agentUp) return
      life += 1
      agentUp = true
      agent = freshMemory()
      record = { ...record, epoch: record.epoch + 1, seq: 0 }
      remember()
      agent.detector = startDetector(view(), timeline.nowMs)
      publish()
      later(random.between(5, 40), () => {
        for (const container of engine.containers.values()) look(container.task)
        agent.listed = true
        trigger()
      })
      later(settings.bootSyncTimeoutMs, () => self.syncedWith())
      tick()
      syncForever()
    },
    killAgent() {
      life += 1
      agentUp = false
    },
    powerOff() {
      self.killAgent()
      hostUp = false
      engine.powerOff()
    },
    powerOn() {
      hostUp = true
      self.startAgent()
    },
  }
  return self
}

interface AgentMemory {
  containers: ReadonlyMap<TaskId, readonly ContainerObservation[]>
  listed: boolean
  synced: boolean
  readonly inFlight: Set<TaskId>
  results: Map<TaskId, NonNullable<ReturnType<ReconcileInput['results']['get']>>>
  detector: DetectorState | undefined
  readonly placer: ReturnType<typeof createPlacer>
  readonly history: Map<string, ServiceSpec>
  busy: boolean
  dirty: boolean
  wakeAtMs: number | undefined
}

function present<K, S>(versions: ReadonlyMap<K, Versioned<S>>): ReadonlyMap<K, Resource<S>> {
  const found = new Map<K, Resource<S>>()
  for (const [key, { value }] of versions) if (value !== undefined) found.set(key, value)
  return found
}

function merge<K, S>(into: Map<K, Versioned<S>>, from: ReadonlyMap<K, Versioned<S>>): boolean {
  let changed = false
  for (const [key, theirs] of from) {
    if ((into.get(key)?.version ?? -1) >= theirs.version) continue
    into.set(key, theirs)
    changed = true
  }
  return changed
}
