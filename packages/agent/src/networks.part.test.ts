import type { ResourceId } from '@moot/crdt-state'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { livenessOf, network, networkId, type Scene, viewOf } from './core/network/scene.testing.ts'
import type { Decision } from './decisions.ts'
import { defaults } from './defaults.ts'
import { createNetworks } from './networks.ts'
import { memoryClock } from './ports/clock.memory.ts'
import { memoryDataPlane } from './ports/data-plane.memory.ts'
import { memoryForwarder } from './ports/forwarder.memory.ts'
import { memoryNameServer } from './ports/name-server.memory.ts'
import type { WireGuardRounds } from './wire-guard-rounds.ts'

/** One node's part in networks, without an agent around it. */
function part(dataPlane = memoryDataPlane(), host = 'a') {
  const scene: Scene = {
    hosts: [host, ...['a', 'b', 'c'].filter((name) => name !== host)].map((name, index) => ({
      name,
      address: `10.99.0.${index + 1}`,
    })) as unknown as Scene['hosts'],
    networks: [network('back', { subnet: '10.5.0.0/18' }), network('drawn')],
  }
  let view = viewOf(scene)
  const decision = (): Decision => ({
    view,
    liveness: livenessOf(scene),
    unsettled: new Set(),
    placement: { slots: new Map() } as never,
  })
  const clock = memoryClock()
  const nameServer = memoryNameServer()
  const written: ResourceId[] = []
  const networks = createNetworks({
    self: view.self,
    dataPlane,
    forwarder: memoryForwarder('not in this test'),
    nameServer,
    wireGuard: withoutWireGuard,
    specOf: () => undefined,
    decide: decision,
    mayDecide: () => true,
    records: () => view.records,
    write: async (_kind, id) => written.push(id),
    createNetwork: async () => undefined,
    changed: () => networks.trigger(),
    clock,
    logger: pino({ level: 'silent' }),
    settings: defaults,
  })
  return {
    networks,
    clock,
    dataPlane,
    nameServer,
    written,
    self: view.self,
    decision,
    change: () => {
      view = { ...view }
      networks.trigger()
    },
    /** One of the others has another address from now on. */
    moved: (address: string) => {
      const [own, ...others] = scene.hosts
      view = viewOf({ ...scene, hosts: [own, { ...others[0]!, address }, ...others.slice(1)] })
      networks.trigger()
    },
  }
}

const withoutWireGuard: WireGuardRounds = {
  end: () => undefined,
  announced: () => undefined,
  start: () => undefined,
  look: () => undefined,
  applied: () => undefined,
  changeKeys: () => undefined,
}

const never = new AbortController().signal

describe('one node’s part in networks', () => {
  test('what this node goes by is in force in names too, not in the kernel alone', async () => {
    const { networks, nameServer, clock, self } = part()
    const publish = nameServer.publish.bind(nameServer)
    nameServer.publish = async (table, signal) => {
      await clock.sleep(100, signal)
      await publish(table, signal)
    }
    await networks.start(never)
    await clock.advance(50)
    expect(networks.goesBy(self)).toBeUndefined()
    await clock.advance(100)
    expect(networks.goesBy(self)).toBeDefined()
  })

  test('a host that can have no such networks draws as their steward all the same: nobody else would', async () => {
    const drawn: ResourceId[] = []
    for (const name of ['a', 'b', 'c']) {
      const without = memoryDataPlane({ kind: 'none', why: 'no nftables' })
      const { networks, decision, written, clock } = part(without, name)
      await networks.start(never)
      await clock.advance(50)
      expect(networks.overlay(decision())).toBeUndefined()
      drawn.push(...written)
    }
    expect(drawn).toEqual([networkId('drawn')])
  })

  test('a kernel that refuses is asked ever less often, whatever changes meanwhile, and at once when it does not any more', async () => {
    const { networks, dataPlane, clock, change, self } = part()
    let asked = 0
    const apply = dataPlane.apply.bind(dataPlane)
    dataPlane.apply = (plane, signal) => {
      asked += 1
      return apply(plane, signal)
    }
    dataPlane.broken = true
    await networks.start(never)
    for (let passedMs = 0; passedMs < 60_000; passedMs += 50) {
      change()
      await clock.advance(50)
    }
    expect(asked).toBeGreaterThan(6)
    expect(asked).toBeLessThan(12)
    expect(networks.goesBy(self)).toBeUndefined()
    dataPlane.broken = false
    await clock.advance(defaults.kernelRetryMaxMs)
    expect(networks.goesBy(self)).toBeDefined()
    const before = asked
    await clock.advance(5_000)
    expect(asked).toBe(before)
  })

  test('what somebody took out of the kernel is put back after a while, in a quiet moment if there is one', async () => {
    const { networks, dataPlane, clock, moved } = part()
    await networks.start(never)
    await clock.advance(50)
    dataPlane.flush()
    await clock.advance(defaults.kernelCheckIntervalMs - 100)
    expect(dataPlane.plane).toBeUndefined()
    await clock.advance(100)
    expect(dataPlane.plane).toBeDefined()

    let checks = 0
    dataPlane.check = async () => void (checks += 1)
    /** A change each second. */
    async function busy(ms: number): Promise<void> {
      for (let passedMs = 0; passedMs < ms; passedMs += 1_000) {
        moved(`10.99.1.${1 + ((passedMs / 1_000) % 200)}`)
        await clock.advance(1_000)
      }
    }
    await busy(defaults.kernelCheckIntervalMs + 1_000)
    expect(checks).toBe(0)
    await clock.advance(defaults.kernelCheckQuietMs)
    expect(checks).toBe(1)
    await busy(2 * defaults.kernelCheckIntervalMs + defaults.kernelCheckQuietMs)
    expect(checks).toBe(2)
  })

  test('connections are marked as by the agent before: two whose marks would be the same keep theirs', async () => {
    const { networks, dataPlane, clock } = part()
    const marks = (): readonly number[] => dataPlane.plane?.peers.map(({ mark }) => mark) ?? []
    await networks.start(never)
    await clock.advance(50)
    const given = marks()
    const [one = 0, other = 0] = given
    const plane = dataPlane.plane!
    const peers = plane.peers.map((peer) => ({ ...peer, mark: peer.mark === one ? other : one }))
    await dataPlane.apply({ ...plane, peers }, never)
    const next = part(dataPlane)
    await next.networks.start(never)
    await next.clock.advance(50)
    expect(marks()).toEqual([other, one])
    expect(marks()).not.toEqual(given)
  })
})
