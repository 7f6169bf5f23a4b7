import {
  type Author,
  generateIdentity,
  type Identity,
  type MemoryStorage,
  memoryStorage,
  type NodeId,
  nodeIdOf,
  openRecordStore,
  openSpecStore,
  type RecordChanges,
  type RecordStore,
  type RecordVersion,
  type SpecMessage,
  type SpecStore,
} from '@moot/crdt-state'
import { pino } from 'pino'
import { type LivenessMap, livenessOf } from '../core/membership/liveness.ts'
import { type Defaults, defaults } from '../defaults.ts'
import { type MemoryClock, memoryClock } from '../ports/clock.memory.ts'
import { type MemoryNetwork, memoryNetwork } from '../ports/mesh.memory.ts'
import type { Mesh } from '../ports/mesh.ts'
import { memoryWitness } from '../ports/witness.memory.ts'
import { createViewSource } from '../view-source.ts'
import { createMembershipDriver, type MembershipDriver } from './membership.ts'
import { createReplication, type Replication } from './replication.ts'

export const clusterId = 'test-cluster'
export const author: Author = { node: 'test', client: 'test', atMs: 0 }

/** mulberry32: the same seed, the same run. */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface TestNode {
  readonly id: NodeId
  readonly identity: Identity
  readonly storage: MemoryStorage
  readonly specs: SpecStore
  readonly records: RecordStore
  readonly mesh: Mesh
  readonly replication: Replication
  readonly driver: MembershipDriver
  readonly cloned: RecordVersion[]
  liveness(): LivenessMap
  /** Writes into this node's record and gossips it, as the agent does. */
  write(changes: RecordChanges): Promise<void>
  /** The agent dies at once, with what its disk had synced. */
  crash(): Promise<void>
}

/** Nodes of one cluster on a virtual network in virtual time. */
export interface TestCluster {
  readonly clock: MemoryClock
  readonly network: MemoryNetwork
  readonly random: () => number
  readonly ids: readonly NodeId[]
  node(index: number): TestNode
  /** Starts a node, again on the disk that it had. It is connected at once, and answers peers after `servesAfterMs`. */
  boot(index: number, options?: { readonly servesAfterMs: number }): Promise<TestNode>
  /** What node `from` says of the others, by index: `['alive', 'down', …]`. */
  kinds(from: number): readonly string[]
  advance(ms: number): Promise<void>
  /** Lets time pass until it holds; how long that took. */
  until(holds: () => boolean, boundMs: number, stepMs?: number): Promise<number>
  stop(): Promise<void>
}

interface Disk {
  readonly identity: Identity
  readonly id: NodeId
  readonly storage: MemoryStorage
}

export async function testCluster(options: {
  readonly count: number
  readonly seed?: number
  readonly gossip?: boolean
  readonly settings?: Partial<Defaults>
  /** Whose removals count: everybody's. */
  readonly trust?: (publicKey: Uint8Array) => boolean
}): Promise<TestCluster> {
  const clock = memoryClock()
  const network = memoryNetwork({ clock })
  network.delay(() => 1)
  const random = seededRandom(options.seed ?? 1)
  const settings: Defaults = { ...defaults, ...options.settings }
  const disks: Disk[] = Array.from({ length: options.count }, () => {
    const { identity } = generateIdentity()
    return { identity, id: nodeIdOf(identity.publicKey), storage: memoryStorage() }
  }).sort((a, b) => (a.id < b.id ? -1 : 1))
  const nodes: (TestNode | undefined)[] = disks.map(() => undefined)
  let actors = 0
  let membership: readonly SpecMessage[] = []

  async function open(disk: Disk): Promise<TestNode> {
    const { identity, storage, id } = disk
    const newActor = (): string => String((actors += 1)).padStart(32, '0')
    const specs = await openSpecStore({ storage, identity, clusterId, newActor, trust: options.trust })
    const records = await openRecordStore({ storage, identity, clusterId })
    const member = (node: NodeId): boolean => specs.byName('node', node) !== undefined
    const mesh = network.mesh(id, {
      gate: {
        member,
        farewell: () => undefined,
        introduction: () => undefined,
        introduced: () => false,
      },
      gossip: options.gossip ?? true,
    })
    const cloned: RecordVersion[] = []
    const logger = pino({ level: process.env['LOG'] ?? 'silent' }).child({ node: id.slice(0, 4) })
    const shared = { mesh, records, clock, logger, settings }
    const replication = createReplication({
      goesBy: (node) => records.all().get(node),
      isServing: () => true,
      ...shared,
      specs,
      random,
      member,
      cloned: (version) => cloned.push(version),
    })
    const view = createViewSource(id, specs, records)
    const publish = replication.publishRecord.bind(replication)
    const driver = createMembershipDriver({ ...shared, witness: memoryWitness(clock), view, publish })
    return {
      id,
      identity,
      storage,
      specs,
      records,
      mesh,
      replication,
      driver,
      cloned,
      liveness: () => livenessOf(view()),
      async write(changes) {
        publish(await records.write(changes))
      },
      async crash() {
        storage.crash()
        await mesh.stop()
        await Promise.all([driver.stop(), replication.stop()])
      },
    }
  }

  async function boot(index: number, { servesAfterMs } = { servesAfterMs: 0 }): Promise<TestNode> {
    const disk = at(disks, index)
    const node = await open(disk)
    nodes[index] = node
    if (node.specs.all('node').size === 0) {
      if (membership.length === 0) membership = await createMembers(node, disks)
      else await node.specs.receive(membership)
    }
    await node.mesh.start()
    if (servesAfterMs === 0) node.replication.start()
    else clock.after(servesAfterMs, () => node.replication.start())
    node.mesh.setMembers(
      new Map(disks.filter((one) => one !== disk).map(({ id }) => [id, [`/memory/${id}`]])),
    )
    node.driver.start()
    return node
  }

  const cluster: TestCluster = {
    clock,
    network,
    random,
    ids: disks.map(({ id }) => id),
    node: (index) => at(nodes, index),
    boot,
    kinds(from) {
      const liveness = at(nodes, from).liveness()
      return disks.map(({ id }) => liveness.get(id)?.kind ?? 'none')
    },
    advance: (ms) => clock.advance(ms),
    async until(holds, boundMs, stepMs = 20) {
      const startMs = clock.monotonicMs()
      await clock.advance(0)
      while (!holds()) {
        if (clock.monotonicMs() - startMs >= boundMs)
          throw new Error(`did not happen within ${boundMs} virtual ms`)
        await clock.advance(stepMs)
      }
      return clock.monotonicMs() - startMs
    },
    async stop() {
      for (const node of nodes) {
        await node?.driver.stop()
        await node?.replication.stop()
        await node?.mesh.stop()
      }
    },
  }
  for (const index of disks.keys()) await boot(index)
  // Each says something, so that each has a record everywhere.
  for (const node of nodes) await node?.write(statusChange('here'))
  return cluster
}

function at<T>(items: readonly (T | undefined)[], index: number): T {
  const item = items[index]
  if (item === undefined) throw new Error(`no node ${index}`)
  return item
}

async function createMembers(node: TestNode, disks: readonly Disk[]): Promise<readonly SpecMessage[]> {
  const messages: SpecMessage[] = []
  for (const { id, identity } of disks) {
    const spec = {
      Labels: {},
      Role: 'manager',
      Availability: 'active',
      PublicKey: Buffer.from(identity.publicKey).toString('base64'),
      Addresses: [],
    } as const
    const written = await node.specs.create('node', id, { ...spec, Addresses: [] }, author)
    messages.push(...written.messages)
  }
  return messages
}

/** A record change that says nothing of interest, and differs by `hostname`. */
export function statusChange(hostname: string): RecordChanges {
  return new Map([
    [
      'status',
      {
        hostname,
        addresses: [],
        meshAddresses: [],
        agentVersion: '0',
        rules: [1],
        engine: { state: 'down', error: 'none' },
        platform: { os: 'linux', architecture: 'x86_64' },
        capacity: { nanoCpus: 0, memoryBytes: 0, generic: [], maxTasks: 0 },
        engineLabels: {},
        plugins: [],
        volumes: [],
      },
    ],
  ])
}
