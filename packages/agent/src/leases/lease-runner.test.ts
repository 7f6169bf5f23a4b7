import { memoryStorage, type MemoryStorage, type NodeId } from '@moot/crdt-state'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { founderEpoch } from '../core/lease/epoch.ts'
import { leaseStatus } from '../core/lease/lease-status.ts'
import type { SlotKey } from '../core/lease/messages.ts'
import { defaults } from '../defaults.ts'
import { memoryBootMemory, type MemoryBootMemory } from '../ports/boot-memory.memory.ts'
import { type MemoryClock, memoryClock } from '../ports/clock.memory.ts'
import { memoryNetwork, type MemoryNetwork } from '../ports/mesh.memory.ts'
import type { Mesh } from '../ports/mesh.ts'
import { leaseDisk } from './lease-disk.ts'
import { createLeaseRunner, type LeaseRunner } from './lease-runner.ts'

const slot = 'web.1' as SlotKey
const wanted = { term: 1, as: 'exclusive' } as const

interface Node {
  readonly id: NodeId
  readonly storage: MemoryStorage
  readonly memory: MemoryBootMemory
  readonly mesh: Mesh
  runner: LeaseRunner
  life: number
}

let clock: MemoryClock
let network: MemoryNetwork
let nodes: Node[] = []

afterEach(async () => {
  for (const { runner, mesh } of nodes) {
    await runner.stop()
    await mesh.stop()
  }
  nodes = []
})

/** @returns `count` nodes, of which the first votes. */
async function begin(count: number): Promise<Node[]> {
  clock = memoryClock()
  network = memoryNetwork({ clock })
  for (let index = 0; index < count; index++) {
    const id = `node${index}` as NodeId
    const gate = {
      member: () => true,
      farewell: () => undefined,
      introduction: () => undefined,
      introduced: () => false,
    }
    const mesh = network.mesh(id, { gate, publicKey: new Uint8Array(32) })
    const node = {
      id,
      mesh,
      storage: memoryStorage(),
      memory: memoryBootMemory(),
      life: 0,
    } as unknown as Node
    nodes.push(node)
    await mesh.start()
    await boot(node)
  }
  for (const { mesh } of nodes)
    mesh.setMembers(new Map(nodes.map((node) => [node.id, [...node.mesh.addresses()]])))
  await clock.advance(100)
  return nodes
}

async function boot(node: Node): Promise<void> {
  node.life += 1
  node.runner = await createLeaseRunner({
    self: node.id,
    life: node.life,
    disk: leaseDisk({
      clusterId: 'c',
      self: node.id,
      storage: node.storage,
      memory: node.memory,
      randomHex: () => `disk of ${node.id} in life ${node.life}`,
      isFounder: node.id === 'node0',
    }),
    mesh: node.mesh,
    clock,
    settings: defaults,
    logger: pino({ level: 'silent' }),
    isMember: () => true,
    random: () => 0.5,
    changed: () => undefined,
  })
  node.runner.start()
}

/** All of them vote from now on. */
async function letAllVote(): Promise<void> {
  const [first] = nodes
  const voters = nodes.map(({ id, runner }) => ({ node: id, disk: runner.member().voter.durable.disk }))
  await during(first!.runner.input({ kind: 'propose', voters }))
  await clock.advance(200)
  for (const { runner } of nodes) expect(runner.member().voter.durable.epoch.number).toBe(2)
}

async function during<T>(work: Promise<T>): Promise<T> {
  // Whoever waits for it is told.
  work.catch(() => undefined)
  await clock.advance(50)
  return work
}

function statusAt({ runner }: Node): ReturnType<typeof leaseStatus> {
  return leaseStatus(runner.member(), slot, runner.nowMs())
}

test('one of three takes a lease and renews it, and each voter has its fence on the disk', async () => {
  const [first, second, third] = await begin(3)
  await letAllVote()
  await during(second!.runner.input({ kind: 'want', slot, wanted }))
  await clock.advance(30_000)
  expect(statusAt(second!)).toMatchObject({ kind: 'held', fence: 1 })
  for (const { storage, runner } of [first!, second!, third!]) {
    const row = JSON.parse(new TextDecoder().decode(storage.get('lease', 'seat'))) as { fence: number }
    expect([row.fence, runner.member().voter.durable.fence]).toEqual([1, 1])
  }
})

test('a holder that is cut off has no lease any more when its deadline is there, and another has one after it', async () => {
  const [first, second] = await begin(3)
  await letAllVote()
  await during(second!.runner.input({ kind: 'want', slot, wanted }))
  await clock.advance(1_000)
  await during(first!.runner.input({ kind: 'want', slot, wanted }))
  expect([statusAt(first!).kind, statusAt(second!).kind]).toEqual(['waiting', 'held'])
  network.cut(second!.id)
  await clock.advance(defaults.leaseMs)
  expect([statusAt(first!).kind, statusAt(second!).kind]).toEqual(['waiting', 'waiting'])
  await clock.advance(7_000)
  expect(statusAt(first!)).toMatchObject({ kind: 'held', fence: 2 })
})

test.for([
  ['its disk', ({ storage }: Node, isFull: boolean): void => storage.fill(isFull)],
  ['the memory of its boot', ({ memory }: Node, isFull: boolean): void => memory.fill(isFull)],
] as const)('a voter that cannot write to %s gives nobody its word', async ([, fill]) => {
  const [voter, holder] = await begin(2)
  await during(
    voter!.runner.input({ kind: 'message', from: holder!.id, message: { kind: 'know', epoch: 0 } }),
  )
  fill(voter!, true)
  await during(
    holder!.runner.input({ kind: 'message', from: voter!.id, message: { kind: 'know', epoch: 1 } }),
  )
  await during(holder!.runner.input({ kind: 'want', slot, wanted }))
  await clock.advance(5_000)
  expect(statusAt(holder!).kind).toBe('waiting')
  expect(voter!.runner.member().voter.grants.size).toBe(0)
  fill(voter!, false)
  await clock.advance(5_000)
  expect(statusAt(holder!).kind).toBe('held')
})

test('a voter that restarts knows whom it is bound to; after a power failure it is silent', async () => {
  const [voter, holder] = await begin(2)
  await during(
    holder!.runner.input({ kind: 'message', from: voter!.id, message: { kind: 'know', epoch: 1 } }),
  )
  await during(holder!.runner.input({ kind: 'want', slot, wanted }))
  await clock.advance(2_000)
  expect(statusAt(holder!).kind).toBe('held')

  await during(voter!.runner.stop())
  await boot(voter!)
  expect(voter!.runner.member().voter.grants.get(slot)?.holders).toEqual([holder!.id])
  await clock.advance(20_000)
  expect(statusAt(holder!)).toMatchObject({ kind: 'held', fence: 1 })

  await during(voter!.runner.stop())
  voter!.memory.powerOff()
  await boot(voter!)
  expect(voter!.runner.member().voter.silentUntilMs).toBeGreaterThan(clock.bootMs())
  await clock.advance(defaults.leaseMs)
  expect(statusAt(holder!).kind).toBe('waiting')
})

test('what was kept with another epoch tells nothing: the voter is silent', async () => {
  const [voter] = await begin(1)
  const { disk } = voter!.runner.member().voter.durable
  await voter!.memory.write(JSON.stringify({ disk, epoch: 7, isComplete: true, held: [] }))
  await during(voter!.runner.stop())
  await boot(voter!)
  expect(voter!.runner.member().voter.silentUntilMs).toBeGreaterThan(clock.bootMs())
})

test('a node whose lease file is damaged has another seat, and no vote in an epoch that names the one before', async () => {
  const [, other] = await begin(2)
  await during(other!.runner.stop())
  other!.storage.corrupt('lease', 'seat')
  await boot(other!)
  const { durable } = other!.runner.member().voter
  expect(durable.disk).toBe('disk of node1 in life 2')
  expect(durable.epoch.voters).toEqual([])
})

test('a lease file of another cluster is none', async () => {
  const [first] = await begin(1)
  const options = { self: first!.id, storage: first!.storage, memory: first!.memory, randomHex: () => 'new' }
  const { durable } = await during(leaseDisk({ ...options, clusterId: 'other', isFounder: false }).open())
  expect(durable).toMatchObject({ disk: 'new', epoch: { number: 0 } })
})

test('garbage, and more than there is room for, harm nobody', async () => {
  const [voter, flooder] = await begin(2)
  const say = (text: string): Promise<Uint8Array> =>
    flooder!.mesh.request(voter!.id, 'lease', new TextEncoder().encode(text), AbortSignal.timeout(10_000))
  await expect(during(say('{'))).rejects.toThrow('unreadable')
  await during(say('[{"kind":"ask"}, 7, {"kind":"epoch","value":{}}]'))
  const ask = { kind: 'know', epoch: 0 }
  await during(say(JSON.stringify(Array.from({ length: 3 * defaults.leaseQueueMax }, () => ask))))
  expect(voter!.runner.counters().refused).toBe(2 * defaults.leaseQueueMax + 1)
  const seat = { node: voter!.id, disk: voter!.runner.member().voter.durable.disk }
  expect(voter!.runner.member().voter.durable.epoch).toEqual(founderEpoch(seat))
  await during(voter!.runner.input({ kind: 'want', slot, wanted }))
  await clock.advance(1_000)
  expect(statusAt(voter!).kind).toBe('held')
})
