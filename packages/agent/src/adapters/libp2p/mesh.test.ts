import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import type { Connection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { generateIdentity } from '@moot/crdt-state'
import type { NodeId } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import type { Gate, Mesh } from '../../ports/mesh.ts'
import { Channel } from './channel.ts'
import { joinProtocol, requestProtocol, streamProtocol } from './exchange.ts'
import { libp2pKey } from './identity.ts'
import { cleanups, cleanUp, meet, open, portOf, startMesh, throughGateway, until } from './mesh.testing.ts'
import { createNode } from './node.ts'

/** First byte of an answer. */
const refused = 2
const echo = new TextEncoder().encode('echo')
const soon = (): AbortSignal => AbortSignal.timeout(5_000)

afterEach(cleanUp)

/** As somebody who keeps to no rules: connected, and nothing said yet. */
async function rawConnection(to: Mesh): Promise<Connection> {
  const node = await createNode({
    privateKey: libp2pKey(generateIdentity().identity),
    listen: '/ip4/127.0.0.1/tcp/0',
    gater: {},
    services: {},
    settings: defaults,
  })
  cleanups.push(async () => node.stop())
  await node.start()
  return node.dial(to.addresses().map((address) => multiaddr(address)))
}
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined).resume()
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}

describe('garbage on the mesh port', () => {
  test.each([
    ['random bytes', randomBytes(4_096)],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nhost: moot\r\n\r\n')],
    ['a TLS hello', Buffer.from('1603010200010001fc0303', 'hex')],
    ['an endless first line', Buffer.alloc(4 * 1024 * 1024, 0x7f)],
    ['nothing at all', Buffer.alloc(0)],
  ])('%s is cut off and harms nobody', async (_, bytes) => {
    const a = await startMesh({ settings: { meshUpgradeTimeoutMs: 300 } })
    const socket = connect(portOf(a), '127.0.0.1')
    socket.write(bytes)
    await closed(socket)
    const b = await startMesh()
    await meet(b, a)
    expect(await b.request(a.self, 'echo', echo, soon())).toEqual(Buffer.from(echo))
  })

  test('a hundred half-open connections do not lock members out', async () => {
    const a = await startMesh({ settings: { meshUpgradeTimeoutMs: 2_000 } })
    const sockets = Array.from({ length: 100 }, () => connect(portOf(a), '127.0.0.1'))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const b = await startMesh()
    await meet(b, a)
    expect(await b.request(a.self, 'echo', echo, soon())).toEqual(Buffer.from(echo))
    await Promise.all(sockets.map(closed))
  })
})

describe('strangers', () => {
  test('that come to join and say nothing are sent away in time', async () => {
    const members = new Set<NodeId>()
    const gate: Gate = { ...open, member: (node) => members.has(node) }
    const a = await startMesh({ gate, settings: { meshStrangerTimeoutMs: 200 } })
    a.onJoin(() => new Promise(() => undefined))
    const stranger = await startMesh()
    await expect(stranger.join(a.self, a.addresses(), echo, soon())).rejects.toMatchObject({
      code: 'ERR_PEER_REFUSED',
    })
  })

  test('are let in only a few at a time', async () => {
    const gate: Gate = { ...open, member: () => false }
    const a = await startMesh({ gate, settings: { meshStrangersMax: 2 } })
    const arrived = Promise.withResolvers<void>()
    let inside = 0
    a.onJoin(() => {
      if ((inside += 1) === 2) arrived.resolve()
      return new Promise(() => undefined)
    })
    const leave = new AbortController()
    const joins = []
    for (let count = 0; count < 2; count += 1) {
      const stranger = await startMesh()
      joins.push(stranger.join(a.self, a.addresses(), echo, leave.signal).catch(() => undefined))
    }
    await arrived.promise
    const third = await startMesh()
    await expect(third.join(a.self, a.addresses(), echo, soon())).rejects.toMatchObject({
      code: 'ERR_PEER_REFUSED',
    })
    expect(inside).toBe(2)
    leave.abort()
    await Promise.all(joins)
  })

  test.each([
    ['a request', requestProtocol],
    ['a stream', streamProtocol],
    ['to join, with no token outstanding,', joinProtocol],
  ])('that skip the greeting are refused %s', async (_, protocol) => {
    const gate: Gate = { ...open, member: () => false }
    const a = await startMesh({ gate })
    a.onStream('echo', () => expect.unreachable())
    const connection = await rawConnection(a)
    const channel = new Channel(await connection.newStream(protocol, { signal: soon() }), 1_024)
    await channel.writeFrame(echo).catch(() => undefined)
    const answer = await channel.readFrame('the answer', 1_024)
    expect(answer?.[0]).toBe(refused)
    expect(Buffer.from(answer!.subarray(1)).toString()).toMatch(/not a member|no join token is outstanding/)
  })

  test('that skip the greeting cannot gossip', async () => {
    const a = await startMesh({ gate: { ...open, member: () => false } })
    a.onGossip('specs', () => expect.unreachable())
    const connection = await rawConnection(a)
    const stream = await connection.newStream('/meshsub/1.2.0', { signal: soon() })
    // Long before whoever does not greet is sent away.
    if (stream.status === 'open') await once(stream, 'close', { signal: AbortSignal.timeout(2_000) })
    expect(stream.status).toBe('reset')
  })

  test('that greet and are nobody here are told so, and cannot go on', async () => {
    const a = await startMesh({ gate: { ...open, member: () => false } })
    const b = await startMesh()
    b.setMembers(new Map([[a.self, a.addresses()]]))
    await expect(b.request(a.self, 'echo', echo, soon())).rejects.toMatchObject({
      code: 'ERR_PEER_REFUSED',
      words: 'this node is not a member of the cluster',
    })
    expect(a.peers().size).toBe(0)
  })

  test('that were let in on their introductions stay when the time of strangers is over', async () => {
    const introduced = new Set<NodeId>()
    const gate: Gate = {
      ...open,
      member: (node) => introduced.has(node),
      introduced: (node) => introduced.add(node).has(node),
    }
    const a = await startMesh({ gate, settings: { meshStrangerTimeoutMs: 200, meshStrangersMax: 1 } })
    const meshes = []
    for (let count = 0; count < 2; count += 1) {
      const b = await startMesh({ gate: { ...open, introduction: () => echo } })
      meshes.push(b)
      await meet(b, a)
    }
    await new Promise((resolve) => setTimeout(resolve, 400))
    for (const b of meshes) {
      expect(a.peers().has(b.self)).toBe(true)
      expect(await b.request(a.self, 'echo', echo, soon())).toEqual(Buffer.from(echo))
    }
  })

  test('with an introduction to another cluster are not let in', async () => {
    const gate: Gate = { ...open, member: () => false, introduced: () => expect.unreachable() }
    const a = await startMesh({ gate, clusterTag: 'one' })
    const b = await startMesh({ gate: { ...open, introduction: () => echo }, clusterTag: 'two' })
    b.setMembers(new Map([[a.self, a.addresses()]]))
    await expect(b.request(a.self, 'echo', echo, soon())).rejects.toMatchObject({ code: 'ERR_PEER_REFUSED' })
  })

  test('of another cluster are told so', async () => {
    const a = await startMesh({ clusterTag: 'one' })
    const b = await startMesh({ clusterTag: 'two' })
    b.setMembers(new Map([[a.self, a.addresses()]]))
    await expect(b.request(a.self, 'echo', echo, soon())).rejects.toMatchObject({
      code: 'ERR_PEER_REFUSED',
      words: expect.stringContaining('another cluster') as string,
    })
    expect(a.peers().size).toBe(0)
  })
})

describe('a probe', () => {
  test('of an agent that stands still on a living host is refused, and its dead connection is closed', async () => {
    const { a, b, gateway } = await throughGateway()
    await meet(a, b)
    expect(await a.probe(b.self, 1_000)).toMatchObject({ kind: 'answered' })
    gateway.freeze(true)
    const gone = until(a, () => !a.peers().has(b.self))
    expect(await a.probe(b.self, 400)).toEqual({ kind: 'refused' })
    await gone
    gateway.freeze(false)
    await until(a, () => a.peers().has(b.self))
    expect(await a.probe(b.self, 1_000)).toMatchObject({ kind: 'answered' })
  })

  test('of an agent that is gone although its connection still stands is refused before the time is up', async () => {
    const { a, b, gateway } = await throughGateway()
    await meet(a, b)
    gateway.freeze(true)
    gateway.stopListening()
    const startMs = performance.now()
    expect(await a.probe(b.self, 3_000)).toEqual({ kind: 'refused' })
    expect(performance.now() - startMs).toBeLessThan(2_000)
    expect(a.peers().has(b.self)).toBe(false)
  })

  test('of a member without any address is silent', async () => {
    const a = await startMesh()
    expect(await a.probe('z'.repeat(25) as NodeId, 100)).toEqual({ kind: 'silent' })
  })
})

describe('connections', () => {
  test('of an agent that was restarted replace those of its former life', async () => {
    const identity = generateIdentity().identity
    const { a, b, gateway } = await throughGateway(undefined, identity)
    await meet(a, b)
    gateway.freeze(true)
    await b.stop()
    // The frozen way never said that b left.
    expect(a.peers().has(b.self)).toBe(true)
    const again = await startMesh({ identity })
    await meet(again, a)
    expect(await a.request(b.self, 'echo', echo, soon())).toEqual(Buffer.from(echo))
    expect(gateway.openConnections()).toBe(0)
  })

  test('that give no sign of life are closed by the pulse', async () => {
    const { a, b, gateway } = await throughGateway({ meshPulseIntervalMs: 50, meshPulseTimeoutMs: 300 })
    await meet(a, b)
    gateway.freeze(true)
    await until(a, () => !a.peers().has(b.self))
    expect(a.peers().size).toBe(0)
  })

  test('stop within two seconds, also while a peer stands still', async () => {
    const { a, b, gateway } = await throughGateway()
    await meet(a, b)
    gateway.freeze(true)
    const startMs = performance.now()
    await a.stop()
    expect(performance.now() - startMs).toBeLessThan(2_500)
  })

  test('to an address where another node answers are not taken for the right one', async () => {
    const a = await startMesh()
    const b = await startMesh()
    const c = await startMesh()
    const bare = c.addresses().map((address) => address.replace(/\/p2p\/.*/, ''))
    a.setMembers(new Map([[b.self, bare]]))
    await expect(a.request(b.self, 'echo', echo, soon())).rejects.toMatchObject({
      code: 'ERR_PEER_UNREACHABLE',
    })
  })
})
