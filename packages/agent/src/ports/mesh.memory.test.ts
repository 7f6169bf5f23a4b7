import { expect, test } from 'vitest'
import type { NodeId } from '@moot/crdt-state'
import { memoryClock } from './clock.memory.ts'
import { memoryNetwork } from './mesh.memory.ts'
import type { MemoryNetworkOptions } from './mesh.memory.ts'
import type { Gate, Mesh } from './mesh.ts'

const open: Gate = {
  member: () => true,
  farewell: () => undefined,
  introduction: () => undefined,
  introduced: () => false,
}
const id = (letter: string): NodeId => letter.repeat(25) as NodeId
const byte = (value: number): Uint8Array => Uint8Array.of(value)
const soon = (): AbortSignal => AbortSignal.timeout(5_000)

async function network(letters: string, options?: MemoryNetworkOptions) {
  const it = memoryNetwork(options)
  const meshes = Array.from(letters, (letter) => it.mesh(id(letter), { gate: open }))
  for (const mesh of meshes) await mesh.start()
  for (const mesh of meshes) {
    mesh.setMembers(
      new Map(meshes.filter((other) => other !== mesh).map((other) => [other.self, other.addresses()])),
    )
    mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
  }
  return { it, meshes: meshes as [Mesh, Mesh, ...Mesh[]] }
}
function hears(mesh: Mesh): number[] {
  const heard: number[] = []
  mesh.onGossip('records', (_, payload) => heard.push(payload[0]!))
  return heard
}

test('a partition parts the groups, and healing joins them again', async () => {
  const { it, meshes } = await network('abc')
  const [a, b, c] = meshes
  it.partition([[id('a'), id('b')], [id('c')]])
  expect([...a.peers()]).toEqual([id('b')])
  expect(c!.peers().size).toBe(0)
  await expect(a.request(id('c'), 'echo', byte(1), soon())).rejects.toMatchObject({
    code: 'ERR_PEER_UNREACHABLE',
  })
  expect(await b.request(id('a'), 'echo', byte(1), soon())).toEqual(byte(1))
  it.heal()
  expect(a.peers().size).toBe(2)
  expect(await a.request(id('c'), 'echo', byte(2), soon())).toEqual(byte(2))
})

test('gossip finds its way around a link that is blocked', async () => {
  const { it, meshes } = await network('abc')
  const [a, , c] = meshes
  it.block(id('a'), id('c'))
  expect(a.peers().has(id('c'))).toBe(false)
  const heard = new Promise<NodeId>((resolve) => c!.onGossip('records', (from) => resolve(from)))
  await a.publish('records', byte(1))
  expect(await heard).toBe(id('b'))
})

test('a host that is cut off is silent, one whose agent is dead refuses, and both come back', async () => {
  const { it, meshes } = await network('ab')
  const [a] = meshes
  it.cut(id('b'))
  expect(await a.probe(id('b'), 100)).toEqual({ kind: 'silent' })
  it.heal(id('b'))
  it.refuse(id('b'))
  expect(await a.probe(id('b'), 100)).toEqual({ kind: 'refused' })
  it.heal(id('b'))
  expect(await a.probe(id('b'), 100)).toMatchObject({ kind: 'answered' })
  expect(a.peers().has(id('b'))).toBe(true)
})

test('with a clock messages take their time, and silence takes the whole time limit', async () => {
  const clock = memoryClock()
  const { it, meshes } = await network('ab', { clock })
  const [a, b] = meshes
  it.delay(() => 30)
  const heard = hears(b)
  await a.publish('records', byte(7))
  await clock.advance(29)
  expect(heard).toEqual([])
  await clock.advance(1)
  expect(heard).toEqual([7])
  const probe = a.probe(id('b'), 100)
  await clock.advance(60)
  expect(await probe).toEqual({ kind: 'answered', roundTripMs: 60 })
  it.cut(id('b'))
  let result: unknown
  const silent = a.probe(id('b'), 100).then((found) => (result = found))
  await clock.advance(99)
  expect(result).toBeUndefined()
  await clock.advance(1)
  await silent
  expect(result).toEqual({ kind: 'silent' })
})

test('a process that stands still refuses at the end of the time: its host lives, unless nothing gets there', async () => {
  const clock = memoryClock()
  const { it, meshes } = await network('ab', { clock })
  it.delay(() => 10)
  const probeFor = async (timeoutMs: number): Promise<{ readonly atMs: number; readonly kind: string }> => {
    const beganMs = clock.monotonicMs()
    const probe = meshes[0].probe(id('b'), timeoutMs).then(({ kind }) => ({
      kind,
      atMs: clock.monotonicMs() - beganMs,
    }))
    await clock.advance(200)
    return probe
  }
  it.stall(id('b'))
  expect(await probeFor(100)).toEqual({ kind: 'refused', atMs: 100 })
  // Asked after 5/9 of the time, there and back.
  expect(await probeFor(40)).toEqual({ kind: 'silent', atMs: 40 })
  it.cut(id('b'))
  expect(await probeFor(100)).toEqual({ kind: 'silent', atMs: 100 })
  it.uncut(id('b'))
  clock.after(80, () => it.resume(id('b')))
  expect(await probeFor(100)).toEqual({ kind: 'answered', atMs: 90 })
})

test('without a clock a process that stands still refuses at once', async () => {
  const { it, meshes } = await network('ab')
  it.stall(id('b'))
  expect(await meshes[0].probe(id('b'), 100)).toEqual({ kind: 'refused' })
})

test('unequal delays reorder gossip', async () => {
  const clock = memoryClock()
  const { it, meshes } = await network('ab', { clock })
  const heard = hears(meshes[1])
  const delays = [50, 10]
  it.delay(() => delays.shift() ?? 0)
  await meshes[0].publish('records', byte(1))
  await meshes[0].publish('records', byte(2))
  await clock.advance(100)
  expect(heard).toEqual([2, 1])
})

test('the same random numbers lose the same messages', async () => {
  const run = async (): Promise<number[]> => {
    const { it, meshes } = await network('ab')
    const heard = hears(meshes[1])
    let state = 42
    it.drop(0.5, () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647)
    for (let value = 0; value < 50; value += 1) await meshes[0].publish('records', byte(value))
    await new Promise((resolve) => setImmediate(resolve))
    return heard
  }
  const first = await run()
  expect(first.length).toBeGreaterThan(10)
  expect(first.length).toBeLessThan(40)
  expect(await run()).toEqual(first)
})

test('an answer lost on its way back fails the request although it was carried out', async () => {
  const { it, meshes } = await network('ab')
  const [a, b] = meshes
  let carriedOut = 0
  b.onRequest('count', () => Promise.resolve(byte((carriedOut += 1))))
  const draws = [1, 0]
  it.drop(0.5, () => draws.shift() ?? 1)
  await expect(a.request(id('b'), 'count', byte(0), soon())).rejects.toMatchObject({
    code: 'ERR_PEER_UNREACHABLE',
  })
  expect(carriedOut).toBe(1)
})

test('a partition breaks requests under way and open streams', async () => {
  const { it, meshes } = await network('ab')
  const [a, b] = meshes
  b.onStream('sink', () => undefined)
  const stream = await a.openStream(id('b'), 'sink', soon())
  const asked = Promise.withResolvers<void>()
  b.onRequest('slow', () => {
    asked.resolve()
    return new Promise((resolve) => setImmediate(() => resolve(byte(1))))
  })
  const request = a.request(id('b'), 'slow', byte(0), soon())
  await asked.promise
  it.partition([[id('a')], [id('b')]])
  await expect(request).rejects.toMatchObject({ code: 'ERR_PEER_UNREACHABLE' })
  await expect(stream.write(byte(1))).rejects.toMatchObject({ code: 'ERR_PEER_UNREACHABLE' })
})

test('a node that still runs cannot be made twice', async () => {
  const { it } = await network('ab')
  expect(() => it.mesh(id('a'), { gate: open })).toThrow('still runs')
})
