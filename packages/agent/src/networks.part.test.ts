import type { ResourceId } from '@moot/crdt-state'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { livenessOf, network, type Scene, viewOf } from './core/network/scene.testing.ts'
import { defaults } from './defaults.ts'
import { createNetworks } from './networks.ts'
import { memoryClock } from './ports/clock.memory.ts'
import { memoryDataPlane } from './ports/data-plane.memory.ts'
import { memoryForwarder } from './ports/forwarder.memory.ts'
import { memoryNameServer } from './ports/name-server.memory.ts'

const hosts: Scene['hosts'] = [
  { name: 'a', address: '10.99.0.1' },
  { name: 'b', address: '10.99.0.2' },
]

/** One node's part in networks, without an agent around it. */
function part(dataPlane = memoryDataPlane()) {
  const scene: Scene = { hosts, networks: [network('back', { subnet: '10.5.0.0/18' }), network('drawn')] }
  let view = viewOf(scene)
  const clock = memoryClock()
  const nameServer = memoryNameServer()
  const written: ResourceId[] = []
  const networks = createNetworks({
    self: view.self,
    dataPlane,
    forwarder: memoryForwarder('not in this test'),
    nameServer,
    specOf: () => undefined,
    decide: () => ({
      view,
      liveness: livenessOf(scene),
      unsettled: new Set(),
      placement: { slots: new Map() } as never,
    }),
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
    change() {
      view = { ...view }
      networks.trigger()
    },
  }
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
})
