import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Defaults } from '../../defaults.ts'
import type { Mesh } from '../../ports/mesh.ts'
import type { DatagramAnswer, Question } from './datagram/datagrams.ts'
import type { Link } from './link.ts'
import { cleanups, cleanUp, freePort, Gateway, meet, startMesh, until } from './mesh.testing.ts'
import { probeNode } from './probe.ts'

const host = '127.0.0.1'
afterEach(cleanUp)

describe('a probe by datagram', () => {
  const silence = new Promise<never>(() => undefined)
  let gaveUpOnDatagrams = 0
  function question(answer: Promise<DatagramAnswer | undefined>): Question {
    return { answer, connectionAnswered: () => (gaveUpOnDatagrams += 1) }
  }
  function after(ms: number, answer: DatagramAnswer | undefined): Promise<DatagramAnswer | undefined> {
    return setTimeout(ms, answer)
  }
  /** `ping`: what the connection answers. */
  function probe(asked: Question, ping: () => Promise<number>, timeoutMs = 600) {
    gaveUpOnDatagrams = 0
    let pings = 0
    const counted = (): Promise<number> => {
      pings += 1
      return ping()
    }
    const result = probeNode({
      timeoutMs,
      question: asked,
      hungAfterMs: 10_000,
      link: () => ({ ping: counted }) as unknown as Link,
      doors: () => [],
      connect: () => silence,
      connectionsDead: () => undefined,
    })
    return { result, pings: () => pings }
  }

  test('that is answered soon asks nothing else', async () => {
    const { result, pings } = probe(question(after(10, { roundTripMs: 9, ageMs: 9_750 })), () => silence)
    expect(await result).toEqual({ kind: 'answered', roundTripMs: 9 })
    expect(pings()).toBe(0)
  })

  test('finds an agent that hangs on a living host, whatever its connection may still say', async () => {
    const { result, pings } = probe(question(after(10, { roundTripMs: 9, ageMs: 10_000 })), () =>
      Promise.resolve(1),
    )
    expect(await result).toEqual({ kind: 'refused' })
    expect(pings()).toBe(0)
  })

  test('that is not answered soon goes over the connection too, and whichever answers first is heard', async () => {
    const { result } = probe(question(silence), () => setTimeout(10, 7))
    expect(await result).toEqual({ kind: 'answered', roundTripMs: 7 })
    expect(gaveUpOnDatagrams).toBe(1)
    const late = probe(question(after(400, { roundTripMs: 400, ageMs: 0 })), () => silence)
    expect(await late.result).toEqual({ kind: 'answered', roundTripMs: 400 })
    expect(late.pings()).toBe(1)
    expect(gaveUpOnDatagrams).toBe(0)
  })

  test('that could not be sent goes over the connection at once', async () => {
    const { result } = probe(question(Promise.resolve(undefined)), () => setTimeout(10, 7), 60_000)
    expect(await result).toEqual({ kind: 'answered', roundTripMs: 7 })
    expect(gaveUpOnDatagrams).toBe(1)
  })

  test('that nothing answers is silent after its time, and what follows is for the connection to say', async () => {
    const startMs = performance.now()
    const { result } = probe(question(after(500, undefined)), () => silence)
    expect(await result).toEqual({ kind: 'silent' })
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(550)
    expect(gaveUpOnDatagrams).toBe(0)
  })

  test('whose answer came while this process stood still is answered', async () => {
    const { port1, port2 } = new MessageChannel()
    cleanups.push(() => port1.close())
    const answer = new Promise<DatagramAnswer>((resolve) => {
      port2.on('message', () => resolve({ roundTripMs: 2, ageMs: 0 }))
    })
    const { result, pings } = probe(question(answer), () => silence, 300)
    await vi.waitFor(() => expect(pings()).toBe(1), { interval: 5, timeout: 20_000 })
    // While some other input is worked on: what is due by then is done before more input is looked at.
    const input = createSocket('udp4')
    cleanups.push(() => input.close())
    input.bind(0, host, () => input.send('', input.address().port, host))
    await new Promise<void>((resolve) => {
      input.on('message', () => {
        port1.postMessage('answered')
        const untilMs = performance.now() + 500
        while (performance.now() < untilMs);
        resolve()
      })
    })
    expect(await result).toEqual({ kind: 'answered', roundTripMs: 2 })
  })
})

describe('an agent that does nothing else', () => {
  test('answers probes meanwhile; after too long it counts as gone from a living host, until it goes on', async () => {
    const a = await startMesh({ settings: { agentHungAfterMs: 1_500 } })
    const { identity, secret } = generateIdentity()
    const busy = nodeIdOf(identity.publicKey)
    const script = fileURLToPath(new URL('./busy-agent.testing.ts', import.meta.url))
    const child = spawn(process.execPath, [script, secret, ...a.addresses()], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    cleanups.push(async () => {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    })
    const [said] = (await once(child.stdout, 'data')) as [Buffer]
    const met = until(a, () => a.peers().has(busy))
    a.setMembers(new Map([[busy, JSON.parse(said.toString()) as string[]]]))
    await met
    // Each side's thread starts and finds its key.
    for (let count = 0; count < 10; count += 1) {
      await a.probe(busy, 1_000)
      await setTimeout(100)
    }
    const standing = a.request(
      busy,
      'stand still',
      new TextEncoder().encode('4000'),
      AbortSignal.timeout(20_000),
    )
    await setTimeout(700)
    expect(await a.probe(busy, 500)).toMatchObject({ kind: 'answered' })
    await setTimeout(1_500)
    expect(await a.probe(busy, 500)).toEqual({ kind: 'refused' })
    await standing
    await vi.waitFor(async () => expect(await a.probe(busy, 500)).toMatchObject({ kind: 'answered' }), {
      timeout: 20_000,
    })
  })
})

describe('where datagrams do not get through', () => {
  test('probes go over the connection alone after three, and after a time one is tried again', async () => {
    const port = await freePort()
    const gateway = new Gateway(port)
    const gate = await gateway.open()
    const arrived: number[] = []
    const hole = createSocket('udp4').on('message', () => arrived.push(performance.now()))
    cleanups.push(() => hole.close())
    hole.bind(gate, host)
    const a = await startMesh({ settings: { datagramOffMs: 1_500 } })
    const b = await startMesh({ port, advertise: `${host}:${gate}` })
    await meet(a, b)
    const probeUntil = async (holds: () => boolean): Promise<void> => {
      while (!holds()) expect(await a.probe(b.self, 600)).toMatchObject({ kind: 'answered' })
    }
    await probeUntil(() => arrived.length === 3)
    await setTimeout(700)
    // From the third one's end on.
    const startMs = performance.now()
    for (let count = 0; count < 5; count += 1) await a.probe(b.self, 60_000)
    expect(performance.now() - startMs).toBeLessThan(1_000)
    expect(arrived).toHaveLength(3)
    await probeUntil(() => arrived.length === 4)
    expect(arrived[3]! - arrived[2]!).toBeGreaterThanOrEqual(1_500)
  })
})

describe('a member that answers', () => {
  /** Like the gateway, for datagrams. */
  async function relay(from: number, to: number, frozen: () => boolean): Promise<void> {
    let asker: number | undefined
    const socket = createSocket('udp4')
    cleanups.push(() => socket.close())
    socket.on('message', (bytes, sender) => {
      if (frozen()) return
      if (sender.port !== to) asker = sender.port
      const target = sender.port === to ? asker : to
      if (target !== undefined) socket.send(bytes, target, host)
    })
    socket.bind(from, host)
    await once(socket, 'listening')
  }

  /** Two members, of which `a` reaches `b` by ways that can be frozen. */
  async function bothWays(settings: Partial<Defaults>) {
    const port = await freePort()
    const gateway = new Gateway(port)
    const gate = await gateway.open()
    let frozen = false
    await relay(gate, port, () => frozen)
    const a = await startMesh({ settings })
    const b = await startMesh({ port, advertise: `${host}:${gate}`, settings })
    // Without an address: there is no other way between them.
    b.setMembers(new Map([[a.self, []]]))
    await meet(a, b)
    await untilDatagramsAnswer(a, b)
    const freeze = (now: boolean): void => {
      frozen = now
      gateway.freeze(now)
    }
    return { a, b, freeze, gateway }
  }

  test('again after a silence is dialled at once, although a datagram makes no connection', async () => {
    const { a, b, freeze } = await bothWays({
      meshBackoffFirstMs: 60_000,
      meshBackoffMaxMs: 60_000,
      meshDialTimeoutMs: 500,
      meshDeadAfterMs: 100,
    })
    freeze(true)
    while (a.peers().has(b.self)) expect((await a.probe(b.self, 300)).kind).not.toBe('answered')
    const back = until(a, () => a.peers().has(b.self))
    // The dials of these probes come to their ends.
    await setTimeout(1_000)
    freeze(false)
    expect(await a.probe(b.self, 600)).toMatchObject({ kind: 'answered' })
    await back
    expect(a.peers().has(b.self)).toBe(true)
  })

  test('again soon enough keeps its connection, however long that was quiet before', async () => {
    const { a, b, freeze } = await bothWays({ meshDeadAfterMs: 2_000, meshPulseIntervalMs: 60_000 })
    while ((a.quietMs(b.self) ?? 0) < 2_500) {
      expect(await a.probe(b.self, 1_000)).toMatchObject({ kind: 'answered' })
      await setTimeout(50)
    }
    freeze(true)
    expect((await a.probe(b.self, 300)).kind).not.toBe('answered')
    freeze(false)
    expect(a.peers().has(b.self)).toBe(true)
  })

  test('by datagram alone loses its dead connection to the pulse', async () => {
    const { a, b, gateway } = await bothWays({ meshPulseIntervalMs: 100, meshPulseTimeoutMs: 600 })
    gateway.freeze(true)
    while (a.peers().has(b.self)) {
      expect(await a.probe(b.self, 1_000)).toMatchObject({ kind: 'answered' })
      await setTimeout(20)
    }
    expect(await a.probe(b.self, 1_000)).toMatchObject({ kind: 'answered' })
  })

  /** Seen by the connection, which such a probe leaves alone. */
  async function untilDatagramsAnswer(a: Mesh, b: Mesh): Promise<void> {
    for (let alone = 0; alone < 3;) {
      await setTimeout(50)
      const before = a.quietMs(b.self) ?? 0
      await a.probe(b.self, 1_000)
      alone = (a.quietMs(b.self) ?? 0) > before ? alone + 1 : 0
    }
  }
})
