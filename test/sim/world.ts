import {
  nodeSpecSchema,
  resourceId,
  serviceSpecSchema,
  type NodeId,
  type NodeSpec,
  type NodeStatus,
  type Resource,
  type ServiceId,
  type ServiceSpec,
} from '@moot/crdt-state'
import { statusOf } from '../../packages/agent/src/core/reconcile/testing.ts'
import { defaults, type Defaults } from '../../packages/agent/src/defaults.ts'
import type { ModelContainer } from './model-engine.ts'
import { createNetwork, type Network } from './network.ts'
import { createSimNode, type SimNode } from './node.ts'
import { randomFrom, type Random } from './random.ts'
import { createTimeline, type Timeline } from './timeline.ts'

export interface World {
  readonly seed: number
  readonly random: Random
  readonly timeline: Timeline
  readonly network: Network
  readonly nodes: readonly SimNode[]
  readonly settings: Defaults
  /** What was asked for last: what checkers compare with. */
  readonly wanted: {
    readonly services: ReadonlyMap<ServiceId, Resource<ServiceSpec>>
    readonly availability: ReadonlyMap<NodeId, NodeSpec['Availability']>
  }
  /** Says it at this node, as a person would; resolves when the others hear of it, by gossip or by sync. */
  putService(at: SimNode, name: string, spec: Record<string, unknown>): Resource<ServiceSpec>
  removeService(at: SimNode, name: string): void
  setAvailability(at: SimNode, node: NodeId, availability: NodeSpec['Availability']): void
  onSpec(listener: (service: ServiceId | undefined) => void): void
  onContainer(listener: (node: SimNode, container: ModelContainer, fate: string) => void): void
  run(durationMs: number): void
}

/** Times that make two minutes of waiting two seconds; what is decided does not depend on them. */
const fastTimes = {
  restartBackoffMaxMs: 2_000,
  restartBackoffResetMs: 5_000,
  rejectionRetryMs: 2_000,
  updateMonitorMs: 1_000,
} as const

export function createWorld(seed: number, nodeCount: number): World {
  const random = randomFrom(seed)
  const timeline = createTimeline()
  const settings: Defaults = { ...defaults, ...fastTimes }
  const byId = new Map<NodeId, SimNode>()
  const network = createNetwork(timeline, random, (id) => byId.get(id)?.hostUp ?? false)
  const nodes: SimNode[] = []
  const specListeners: ((service: ServiceId | undefined) => void)[] = []
  const containerListeners: ((node: SimNode, container: ModelContainer, fate: string) => void)[] = []
  const services = new Map<ServiceId, Resource<ServiceSpec>>()
  const availability = new Map<NodeId, NodeSpec['Availability']>()
  let version = 0

  const nodeWorld = {
    timeline,
    random,
    network,
    settings,
    node: (id: NodeId) => byId.get(id),
    peers: (id: NodeId) => nodes.filter((node) => node.id !== id),
  }
  for (let number = 1; number <= nodeCount; number += 1) {
    const id = `node${number}`.padEnd(25, '0') as NodeId
    const node = createSimNode(id, nodeWorld, statusOfNumber(number))
    byId.set(id, node)
    nodes.push(node)
    availability.set(id, 'active')
    node.engine.onChange((container, fate) => {
      for (const listener of containerListeners) listener(node, container, fate)
    })
  }
  for (const node of nodes) {
    for (const id of byId.keys()) node.settings.set(id, { version: 0, value: nodeResource(id, 'active', 0) })
  }
  for (const node of nodes) node.startAgent()

  function tell(at: SimNode): void {
    const said = { services: new Map(at.services), settings: new Map(at.settings) }
    at.receiveSpecs(at)
    for (const peer of nodes) if (peer !== at) network.send(at.id, peer.id, () => peer.receiveSpecs(said))
    at.syncedWith()
  }

  return {
    seed,
    random,
    timeline,
    network,
    nodes,
    settings,
    wanted: { services, availability },
    putService(at, name, spec) {
      version += 1
      const resource = serviceResource(name, serviceSpecSchema.parse({ Name: name, ...spec }), version)
      const id = resource.id as ServiceId
      at.services.set(id, { version, value: resource })
      services.set(id, resource)
      for (const listener of specListeners) listener(id)
      tell(at)
      return resource
    },
    removeService(at, name) {
      version += 1
      const id = resourceId('service', name, 1) as ServiceId
      at.services.set(id, { version, value: undefined })
      services.delete(id)
      for (const listener of specListeners) listener(id)
      tell(at)
    },
    setAvailability(at, node, state) {
      version += 1
      at.settings.set(node, { version, value: nodeResource(node, state, version) })
      availability.set(node, state)
      for (const listener of specListeners) listener(undefined)
      tell(at)
    },
    onSpec: (listener) => specListeners.push(listener),
    onContainer: (listener) => containerListeners.push(listener),
    run: (durationMs) => timeline.advance(durationMs),
  }
}

function statusOfNumber(number: number): NodeStatus {
  return statusOf({ hostname: `node-${number}`, addresses: [`10.0.0.${number}`] })
}

const still = {
  incarnation: 1,
  previous: undefined,
  rolledBack: false,
  facts: new Map(),
  conflicts: [],
  heads: [],
  createdAtMs: 0,
  updatedAtMs: 0,
} as const

function serviceResource(name: string, spec: ServiceSpec, versionIndex: number): Resource<ServiceSpec> {
  return { ...still, kind: 'service', id: resourceId('service', name, 1), name, spec, versionIndex }
}

function nodeResource(
  id: NodeId,
  Availability: NodeSpec['Availability'],
  versionIndex: number,
): Resource<NodeSpec> {
  const spec = nodeSpecSchema.parse({ PublicKey: 'key', Availability })
  return { ...still, kind: 'node', id: resourceId('node', id, 1), name: id, spec, versionIndex }
}
