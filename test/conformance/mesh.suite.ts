import { afterEach, describe, expect, test } from 'vitest'
import { generateIdentity, type NodeId, nodeIdOf } from '@moot/crdt-state'
import { type Introduction, signAdmission } from '../../packages/agent/src/join/introduction.ts'
import {
  bytes,
  connected,
  disconnected,
  heard,
  List,
  readAll,
  soon,
  suiteCluster,
  suiteMaxMessageBytes,
  text,
} from './mesh.bed.ts'
import type { MeshBed, SuiteNode } from './mesh.bed.ts'

/** What every implementation of the mesh port keeps. */
export function meshSuite(adapter: string, makeBed: () => Promise<MeshBed>): void {
  let bed: MeshBed
  const gates: List[] = []
  /** `count` started members that know each other's addresses. */
  async function cluster(count: number, options?: { readonly gossip?: boolean }) {
    bed = await makeBed()
    const nodes: SuiteNode[] = []
    for (let index = 0; index < count; index += 1) {
      const gate = new List()
      gates.push(gate)
      nodes.push(await bed.node(gate, options))
    }
    for (const node of nodes) await node.mesh.start()
    for (const gate of gates) for (const node of nodes) gate.members.add(node.mesh.self)
    introduce(nodes)
    await Promise.all(
      nodes.map((node) =>
        connected(
          node.mesh,
          ...nodes.map((other) => other.mesh.self).filter((other) => other !== node.mesh.self),
        ),
      ),
    )
    return nodes
  }
  function introduce(nodes: readonly SuiteNode[]): void {
    for (const { mesh } of nodes) {
      mesh.setMembers(
        new Map(
          nodes
            .filter((other) => other.mesh.self !== mesh.self)
            .map((other) => [other.mesh.self, other.mesh.addresses()]),
        ),
      )
    }
  }
  async function pair() {
    const [a, b] = await cluster(2)
    return { a: a!, b: b!, gateA: gates[0]!, gateB: gates[1]! }
  }

  /** A member, and a node that believes to be one too and shows this. */
  async function unheardOf(shown: (newcomer: SuiteNode) => Introduction) {
    const [member] = await cluster(1)
    member!.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
    const gate = new List()
    const newcomer = await bed.node(gate)
    gates[0]!.trusted.add(nodeIdOf(issuer.publicKey))
    gate.shows = shown(newcomer)
    gate.members.add(member!.mesh.self)
    await newcomer.mesh.start()
    newcomer.mesh.setMembers(new Map([[member!.mesh.self, member!.mesh.addresses()]]))
    return { member: member!, newcomer }
  }
  const issuer = generateIdentity().identity
  const admitted = (publicKey: Uint8Array, by = issuer, clusterId = suiteCluster): Introduction => [
    signAdmission(by, clusterId, publicKey),
  ]

  describe(`the mesh port: ${adapter}`, () => {
    afterEach(async () => {
      await bed.stop()
      gates.length = 0
    })

    test('gossip of one member reaches all the others', async () => {
      const [a, ...others] = await cluster(4)
      const senders = await Promise.all(
        others.map((other) => heard(a!.mesh, other.mesh, 'records', 'hello all')),
      )
      expect(senders).toHaveLength(3)
    })

    test('saying the same thing twice is heard twice', async () => {
      const { a, b } = await pair()
      expect(await heard(a.mesh, b.mesh, 'specs', 'warm')).toBe(a.mesh.self)
      const again = new Promise<void>((resolve) => {
        let count = 0
        b.mesh.onGossip('specs', (_, payload) => {
          if (text(payload) === 'again' && (count += 1) === 2) resolve()
        })
      })
      await a.mesh.publish('specs', bytes('again'))
      await a.mesh.publish('specs', bytes('again'))
      await again
    })

    test('a lone node publishes without an error', async () => {
      const [a] = await cluster(1)
      await a!.mesh.publish('specs', bytes('anybody?'))
      expect(a!.mesh.peers().size).toBe(0)
    })

    test('gossip that is too large is refused before it is sent', async () => {
      const { a } = await pair()
      await expect(a.mesh.publish('specs', new Uint8Array(suiteMaxMessageBytes + 1))).rejects.toMatchObject({
        code: 'ERR_MESSAGE_TOO_LARGE',
      })
    })

    test('with gossip switched off nothing is heard, and requests still work', async () => {
      const [a, b] = await cluster(2, { gossip: false })
      let count = 0
      b!.mesh.onGossip('specs', () => (count += 1))
      b!.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
      await a!.mesh.publish('specs', bytes('psst'))
      expect(text(await a!.mesh.request(b!.mesh.self, 'echo', bytes('there'), soon()))).toBe('there')
      expect(count).toBe(0)
    })

    test('a request is answered by the handler of its name, which learns who asked', async () => {
      const { a, b } = await pair()
      b.mesh.onRequest('who', (from, payload) => Promise.resolve(bytes(`${from} said ${text(payload)}`)))
      b.mesh.onRequest('other', () => Promise.resolve(bytes('wrong one')))
      const answer = await a.mesh.request(b.mesh.self, 'who', bytes('hi'), soon())
      expect(text(answer)).toBe(`${a.mesh.self} said hi`)
    })

    test('a request and an answer of the largest size pass', async () => {
      const { a, b } = await pair()
      b.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
      const large = new Uint8Array(suiteMaxMessageBytes).fill(7)
      expect(await a.mesh.request(b.mesh.self, 'echo', large, soon())).toEqual(large)
    })

    test('too large a request is refused here, too large an answer there', async () => {
      const { a, b } = await pair()
      b.mesh.onRequest('grow', () => Promise.resolve(new Uint8Array(suiteMaxMessageBytes + 1)))
      await expect(
        a.mesh.request(b.mesh.self, 'grow', new Uint8Array(suiteMaxMessageBytes + 1), soon()),
      ).rejects.toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' })
      await expect(a.mesh.request(b.mesh.self, 'grow', bytes('x'), soon())).rejects.toMatchObject({
        code: 'ERR_REQUEST_FAILED',
      })
    })

    test("a failing handler's words reach the one who asked, and an unknown name is told", async () => {
      const { a, b } = await pair()
      b.mesh.onRequest('fail', () => Promise.reject(new Error('the cellar is flooded')))
      await expect(a.mesh.request(b.mesh.self, 'fail', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_REQUEST_FAILED',
        words: 'the cellar is flooded',
      })
      await expect(a.mesh.request(b.mesh.self, 'nothing', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_REQUEST_FAILED',
      })
    })

    test('a request ends with its signal, however long the handler takes', async () => {
      const { a, b } = await pair()
      const asked = Promise.withResolvers<void>()
      b.mesh.onRequest('slow', () => {
        asked.resolve()
        return new Promise(() => undefined)
      })
      const abort = new AbortController()
      const request = a.mesh.request(b.mesh.self, 'slow', bytes(''), abort.signal)
      await asked.promise
      abort.abort(new Error('enough'))
      await expect(request).rejects.toThrow('enough')
    })

    test('a member that is not there is unreachable, and a stranger is refused', async () => {
      const { a, b, gateA } = await pair()
      await b.mesh.stop()
      await expect(a.mesh.request(b.mesh.self, 'echo', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_PEER_UNREACHABLE',
      })
      gateA.members.delete(b.mesh.self)
      await expect(a.mesh.request(b.mesh.self, 'echo', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_PEER_REFUSED',
      })
    })

    test('a stream carries bytes both ways, each direction closed on its own', async () => {
      const { a, b } = await pair()
      b.mesh.onStream('shout', (_, stream) => {
        const shout = async (): Promise<void> => {
          await stream.write(bytes((await readAll(stream.source)).toUpperCase()))
          await stream.closeWrite()
        }
        shout().catch((error: unknown) => stream.abort(error as Error))
      })
      const stream = await a.mesh.openStream(b.mesh.self, 'shout', soon())
      await stream.write(bytes('half '))
      await stream.write(bytes('closed'))
      await stream.closeWrite()
      expect(await readAll(stream.source)).toBe('HALF CLOSED')
    })

    test('a stream of an unknown name is refused', async () => {
      const { a, b } = await pair()
      await expect(a.mesh.openStream(b.mesh.self, 'nothing', soon())).rejects.toMatchObject({
        code: 'ERR_REQUEST_FAILED',
      })
    })

    test('a writer waits for a slow reader, and all arrives in order', async () => {
      const { a, b } = await pair()
      const accepted = Promise.withResolvers<AsyncIterable<Uint8Array>>()
      b.mesh.onStream('sink', (_, stream) => accepted.resolve(stream.source))
      const stream = await a.mesh.openStream(b.mesh.self, 'sink', soon())
      const chunkBytes = 128 * 1024
      const chunks = 160
      let written = 0
      const writing = (async () => {
        for (let index = 0; index < chunks; index += 1) {
          await stream.write(new Uint8Array(chunkBytes).fill(index))
          written += 1
        }
        await stream.closeWrite()
      })()
      const source = await accepted.promise
      // Nobody reads: the writer comes to rest long before the 20 MB are gone.
      let before = -1
      while (before !== written) {
        before = written
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expect(written).toBeLessThan(chunks / 2)
      let received = 0
      for await (const chunk of source) {
        expect(chunk[0]).toBe(Math.floor(received / chunkBytes) % 256)
        received += chunk.length
      }
      await writing
      expect(received).toBe(chunks * chunkBytes)
    })

    test('an aborted stream fails at the other end', async () => {
      const { a, b } = await pair()
      const failed = Promise.withResolvers<unknown>()
      b.mesh.onStream('sink', (_, stream) => {
        readAll(stream.source).then(
          () => failed.resolve('ended'),
          (error: unknown) => failed.resolve(error),
        )
      })
      const stream = await a.mesh.openStream(b.mesh.self, 'sink', soon())
      await stream.write(bytes('some'))
      stream.abort(new Error('changed my mind'))
      expect(await failed.promise).toBeInstanceOf(Error)
    })

    test('a stream breaks with an error, not an end, when the other side vanishes', async () => {
      const { a, b } = await pair()
      b.mesh.onStream('sink', () => undefined)
      const stream = await a.mesh.openStream(b.mesh.self, 'sink', soon())
      await b.mesh.stop()
      await expect(readAll(stream.source)).rejects.toBeInstanceOf(Error)
    })

    test('a probe tells a running agent from a dead one on a living host', async () => {
      const { a, b } = await pair()
      expect(await a.mesh.probe(b.mesh.self, 2_000)).toMatchObject({ kind: 'answered' })
      await b.kill()
      expect(await a.mesh.probe(b.mesh.self, 2_000)).toEqual({ kind: 'refused' })
    })

    test('peers are told of as they come and go, and a member that comes back on another address is found', async () => {
      const { a, b, gateB } = await pair()
      await b.mesh.stop()
      await disconnected(a.mesh, b.mesh.self)
      const again = await b.restarted(gateB)
      await again.mesh.start()
      expect(again.mesh.self).toBe(b.mesh.self)
      expect(again.mesh.addresses()).not.toEqual(b.mesh.addresses())
      // Only the one that came back knows an address: it dials.
      again.mesh.setMembers(new Map([[a.mesh.self, a.mesh.addresses()]]))
      await connected(a.mesh, b.mesh.self)
      again.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
      expect(text(await a.mesh.request(b.mesh.self, 'echo', bytes('back'), soon()))).toBe('back')
      await heard(a.mesh, again.mesh, 'records', 'welcome back')
    })

    test('a stranger is not let in', async () => {
      const { a } = await pair()
      const gate = new List()
      const stranger = await bed.node(gate)
      await stranger.mesh.start()
      gate.members.add(a.mesh.self)
      a.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
      stranger.mesh.setMembers(new Map([[a.mesh.self, a.mesh.addresses()]]))
      await expect(stranger.mesh.request(a.mesh.self, 'echo', bytes(''), soon())).rejects.toSatisfy(
        (error: { code: string }) => ['ERR_PEER_REFUSED', 'ERR_PEER_UNREACHABLE'].includes(error.code),
      )
      expect(a.mesh.peers().has(stranger.mesh.self)).toBe(false)
      expect(stranger.mesh.peers().size).toBe(0)
    })

    test('a member that was never heard of is let in on its introduction', async () => {
      const { member, newcomer } = await unheardOf(({ publicKey }) => admitted(publicKey))
      await Promise.all([
        connected(newcomer.mesh, member.mesh.self),
        connected(member.mesh, newcomer.mesh.self),
      ])
      const answer = await newcomer.mesh.request(member.mesh.self, 'echo', bytes('hello'), soon())
      expect(text(answer)).toBe('hello')
      await heard(member.mesh, newcomer.mesh, 'specs', 'welcome')
    })

    test.each<[string, (newcomer: SuiteNode) => Introduction]>([
      ['none', () => []],
      ['one that a stranger signed', ({ publicKey }) => admitted(publicKey, generateIdentity().identity)],
      ["another node's", () => admitted(generateIdentity().identity.publicKey)],
      ['one to another cluster', ({ publicKey }) => admitted(publicKey, issuer, 'other')],
    ])('a node that shows %s as its introduction is not let in', async (_, shown) => {
      const { member, newcomer } = await unheardOf(shown)
      await expect(newcomer.mesh.request(member.mesh.self, 'echo', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_PEER_REFUSED',
      })
      expect(member.mesh.peers().size).toBe(0)
      expect(newcomer.mesh.peers().size).toBe(0)
    })

    test('while a joiner is awaited a stranger may join and nothing else', async () => {
      const { a } = await pair()
      const gate = new List()
      const stranger = await bed.node(gate)
      await stranger.mesh.start()
      gate.members.add(a.mesh.self)
      a.mesh.onRequest('echo', (_, payload) => Promise.resolve(payload))
      const joiners: unknown[] = []
      a.mesh.onJoin((joiner, request) => {
        joiners.push(joiner.node, joiner.publicKey.length)
        return Promise.resolve(bytes(`welcome, ${text(request)}`))
      })
      stranger.mesh.setMembers(new Map([[a.mesh.self, a.mesh.addresses()]]))
      await expect(stranger.mesh.request(a.mesh.self, 'echo', bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_PEER_REFUSED',
      })
      stranger.mesh.setMembers(new Map())
      const answer = await stranger.mesh.join(a.mesh.self, a.mesh.addresses(), bytes('me'), soon())
      expect(text(answer)).toBe('welcome, me')
      expect(joiners).toEqual([stranger.mesh.self, 32])
      expect(a.mesh.peers().has(stranger.mesh.self)).toBe(false)
    })

    test('a joiner whose answer was lost asks again, although nobody else may join any more', async () => {
      const { a, gateA } = await pair()
      const joiner = await bed.node(new List())
      await joiner.mesh.start()
      a.mesh.onJoin((who) => {
        gateA.members.add(who.node)
        a.mesh.onJoin(undefined)
        return Promise.resolve(bytes('welcome'))
      })
      const join = () => joiner.mesh.join(a.mesh.self, a.mesh.addresses(), bytes(''), soon())
      expect(text(await join())).toBe('welcome')
      expect(text(await join())).toBe('welcome')
    })

    test("a refused joiner is told why in the issuer's words", async () => {
      const { a, b } = await pair()
      const stranger = await bed.node(new List())
      await stranger.mesh.start()
      a.mesh.onJoin(() => Promise.reject(new Error('this token was used already')))
      await expect(
        stranger.mesh.join(a.mesh.self, a.mesh.addresses(), bytes(''), soon()),
      ).rejects.toMatchObject({ code: 'ERR_PEER_REFUSED', words: 'this token was used already' })
      // The other member awaits nobody.
      await expect(
        stranger.mesh.join(b.mesh.self, b.mesh.addresses(), bytes(''), soon()),
      ).rejects.toMatchObject({
        code: 'ERR_PEER_REFUSED',
        words: expect.stringMatching(/^no join token is outstanding/) as string,
      })
    })

    test('a joiner that finds nobody, or somebody else, at the addresses says which it tried', async () => {
      const { a, b } = await pair()
      const stranger = await bed.node(new List())
      await stranger.mesh.start()
      a.mesh.onJoin(() => Promise.resolve(bytes('welcome')))
      await b.mesh.stop()
      await expect(
        stranger.mesh.join(b.mesh.self, b.mesh.addresses(), bytes(''), soon()),
      ).rejects.toMatchObject({ code: 'ERR_PEER_UNREACHABLE', tried: b.mesh.addresses() })
      const bare = a.mesh.addresses().map((address) => address.replace(/\/p2p\/.*/, ''))
      await expect(stranger.mesh.join(b.mesh.self, bare, bytes(''), soon())).rejects.toMatchObject({
        code: 'ERR_PEER_UNREACHABLE',
      })
    })

    test('a member whose removal is learned is handed it and parted from', async () => {
      const { a, b, gateA } = await pair()
      const told = new Promise<readonly [NodeId, string]>((resolve) => {
        b.mesh.onFarewell((from, removal) => resolve([from, text(removal)]))
      })
      gateA.members.delete(b.mesh.self)
      gateA.removed.set(b.mesh.self, bytes('signed removal'))
      a.mesh.setMembers(new Map())
      expect(await told).toEqual([a.mesh.self, 'signed removal'])
      await disconnected(a.mesh, b.mesh.self)
    })

    test('a removed member that returns is handed its removal and not let in', async () => {
      const { a, b, gateA, gateB } = await pair()
      await b.mesh.stop()
      gateA.members.delete(b.mesh.self)
      gateA.removed.set(b.mesh.self, bytes('signed removal'))
      a.mesh.setMembers(new Map())
      const again = await b.restarted(gateB)
      const told = new Promise<readonly [NodeId, string]>((resolve) => {
        again.mesh.onFarewell((from, removal) => resolve([from, text(removal)]))
      })
      await again.mesh.start()
      again.mesh.setMembers(new Map([[a.mesh.self, a.mesh.addresses()]]))
      expect(await told).toEqual([a.mesh.self, 'signed removal'])
      expect(a.mesh.peers().has(b.mesh.self)).toBe(false)
    })
  })
}
