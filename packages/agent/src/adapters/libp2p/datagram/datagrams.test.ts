import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import type { NodeId } from '@moot/crdt-state'
import { pino } from 'pino'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { defaults } from '../../../defaults.ts'
import type { Defaults } from '../../../defaults.ts'
import type { AskerReport, AskerSetup } from './asker.testing.ts'
import { Datagrams } from './datagrams.ts'
import { encodePacket, macKey, tagOf } from './packet.ts'
import { pairKey } from './pair-key.ts'

const clusterTag = 'test'
const host = '127.0.0.1'
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

interface Bed {
  readonly node: NodeId
  readonly identity: ReturnType<typeof generateIdentity>['identity']
  readonly port: number
  readonly datagrams: Datagrams
  readonly warnings: string[]
}
async function freePort(): Promise<number> {
  const socket = await bound(0)
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(resolve))
  return port
}
async function bound(port: number): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.bind(port, host)
  await once(socket, 'listening')
  return socket
}
/** Nodes that are members to each other, on the loopback. */
async function nodes(count: number, settings: Partial<Defaults> = {}): Promise<readonly Bed[]> {
  const beds: Bed[] = []
  const find = (node: NodeId): Bed | undefined => beds.find((bed) => bed.node === node)
  for (let index = 0; index < count; index += 1) {
    const { identity } = generateIdentity()
    const warnings: string[] = []
    const node = nodeIdOf(identity.publicKey)
    const datagrams = new Datagrams({
      self: node,
      identity,
      clusterTag,
      settings: { ...defaults, ...settings },
      logger: pino({ level: 'warn' }, { write: (line: string) => warnings.push(line) }),
      isMember: () => true,
      publicKeyOf: (other) => find(other)?.identity.publicKey,
      doorsOf: (other) => [{ host, port: find(other)?.port ?? 0 }],
    })
    cleanups.push(() => datagrams.stop())
    beds.push({ node, identity, port: await freePort(), datagrams, warnings })
  }
  for (const { node, datagrams } of beds) {
    datagrams.setMembers(beds.map((bed) => bed.node).filter((other) => other !== node))
  }
  return beds
}
function start(bed: Bed): void {
  bed.datagrams.start({ host, port: bed.port })
}
/** Asks until there is an answer: the thread has to start, and the other side to find the key. */
function answered(from: Bed, to: Bed) {
  return vi.waitFor(
    async () => {
      const answer = await from.datagrams.ask(to.node, 300)?.answer
      expect(answer).toBeDefined()
      return answer!
    },
    { timeout: 20_000, interval: 50 },
  )
}

test('a member is asked and answers', async () => {
  const [a, b] = (await nodes(2)) as [Bed, Bed]
  start(a)
  start(b)
  const answer = await answered(a, b)
  expect(answer.roundTripMs).toBeGreaterThan(0)
  expect(answer.ageMs).toBeLessThan(5_000)
  await answered(b, a)
  expect(a.datagrams.counts()).toMatchObject({ unproven: 0 })
})

test('questions are answered while the main loop does nothing else for a second, and the answers say so', async () => {
  const [bed, asker] = (await nodes(2)) as [Bed, Bed]
  start(bed)
  const setup: AskerSetup = {
    port: bed.port,
    tag: tagOf(asker.node, clusterTag),
    key: Buffer.from(pairKey(asker.identity, bed.identity.publicKey, clusterTag)!).toString('hex'),
    self: asker.node,
    node: bed.node,
    count: 12,
  }
  const script = fileURLToPath(new URL('./asker.testing.ts', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(setup)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  cleanups.push(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  expect((await lines.next()).value).toBe('ready')
  const untilMs = performance.now() + 2_000
  while (performance.now() < untilMs);
  const report = JSON.parse((await lines.next()).value as string) as AskerReport
  expect(report.ages).toHaveLength(report.asked)
  expect(Math.max(...report.ages)).toBeGreaterThanOrEqual(2)
})

test('a member that was removed has no answer any more', async () => {
  const [a, b] = (await nodes(2)) as [Bed, Bed]
  start(a)
  start(b)
  await answered(a, b)
  b.datagrams.setMembers([])
  // The thread is told; until then it answers.
  await vi.waitFor(async () => expect(await a.datagrams.ask(b.node, 300)!.answer).toBeUndefined(), {
    timeout: 20_000,
  })
  const { answered: answers } = b.datagrams.counts()
  expect(await a.datagrams.ask(b.node, 1_000)!.answer).toBeUndefined()
  expect(b.datagrams.counts()).toMatchObject({ answered: answers })
  expect(b.datagrams.ask(a.node, 300)).toBeUndefined()
  b.datagrams.setMembers([a.node])
  await answered(a, b)
})

test('whoever is no member is not asked, nor one whose key is not known', async () => {
  const [a, b] = (await nodes(2)) as [Bed, Bed]
  start(a)
  start(b)
  await answered(a, b)
  const stranger = nodeIdOf(generateIdentity().identity.publicKey)
  expect(a.datagrams.ask(stranger, 300)).toBeUndefined()
  a.datagrams.setMembers([b.node, stranger])
  expect(a.datagrams.ask(stranger, 300)).toBeUndefined()
})

test('a question to nobody ends unanswered in its time, also where it cannot be sent', async () => {
  const [a, b] = (await nodes(2)) as [Bed, Bed]
  start(a)
  await vi.waitFor(() => expect(a.datagrams.ask(b.node, 100)).toBeDefined(), { timeout: 20_000 })
  const startMs = performance.now()
  expect(await a.datagrams.ask(b.node, 200)!.answer).toBeUndefined()
  expect(performance.now() - startMs).toBeLessThan(5_000)
})

test('garbage of any length on the port stops nothing', async () => {
  const [a, b] = (await nodes(2)) as [Bed, Bed]
  start(a)
  start(b)
  await answered(a, b)
  const socket = await bound(0)
  cleanups.push(() => socket.close())
  for (let length = 0; length < 64; length += 1) socket.send(Buffer.alloc(length, 0x51), b.port, host)
  socket.send(Buffer.alloc(60_000), b.port, host)
  await vi.waitFor(() => expect(b.datagrams.counts().unknown).toBeGreaterThanOrEqual(65), { timeout: 5_000 })
  await answered(a, b)
})

test('more than it reads in a second is left to the kernel to drop, and afterwards it answers again', async () => {
  const [a, b] = (await nodes(2, { datagramsReadMax: 50, datagramRestMs: 20 })) as [Bed, Bed]
  start(a)
  start(b)
  await answered(a, b)
  const socket = await bound(0)
  cleanups.push(() => socket.close())
  const key = macKey(Buffer.alloc(32))
  const forged = encodePacket(
    { kind: 'question', tag: tagOf(a.node, clusterTag), nonce: 1n, age: 0 },
    { key, from: a.node, to: b.node },
  )
  const startMs = performance.now()
  for (let count = 0; count < 200; count += 1) socket.send(forged, b.port, host)
  await vi.waitFor(() => expect(b.datagrams.counts().rested).toBeGreaterThan(0), { timeout: 10_000 })
  await setTimeout(300)
  const seconds = (performance.now() - startMs) / 1_000
  expect(b.datagrams.counts().unproven).toBeLessThanOrEqual(50 * (seconds + 2))
  await answered(a, b)
})

describe('a port that is taken', () => {
  test('is told of once, tried again, and used as soon as it is free', async () => {
    const [a, b] = (await nodes(2, { datagramBindAgainMs: 100 })) as [Bed, Bed]
    const other = await bound(b.port)
    start(a)
    start(b)
    await vi.waitFor(() => expect(b.warnings).toHaveLength(1), { timeout: 20_000 })
    await setTimeout(500)
    expect(b.warnings).toHaveLength(1)
    expect(b.datagrams.ask(a.node, 300)).toBeUndefined()
    await new Promise<void>((resolve) => other.close(resolve))
    await answered(a, b)
    await answered(b, a)
  })
})

describe('when it stops', () => {
  test('what was asked ends, the port is free, and nothing is asked any more', async () => {
    const [a, b] = (await nodes(2)) as [Bed, Bed]
    start(a)
    await vi.waitFor(() => expect(a.datagrams.ask(b.node, 100)).toBeDefined(), { timeout: 20_000 })
    const question = a.datagrams.ask(b.node, 60_000)!
    await a.datagrams.stop()
    expect(await question.answer).toBeUndefined()
    expect(a.datagrams.ask(b.node, 100)).toBeUndefined()
    const socket = await bound(a.port)
    expect(socket.address().port).toBe(a.port)
    socket.close()
  })

  test('while it starts, nothing is left of it', async () => {
    const [a] = (await nodes(1)) as [Bed]
    start(a)
    await a.datagrams.stop()
    const socket = await bound(a.port)
    expect(socket.address().port).toBe(a.port)
    socket.close()
  })
})
