import type { ContainerId, GuestEntry, GuestId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { guestsOn } from './guests.ts'
import { createNetwork } from './network.ts'
import { addressIn, claim, type Host, hostId, livenessOf, network, viewOf } from './scene.testing.ts'

const subnet = '10.5.0.0/18'
const net = network('back', { subnet, Attachable: true })
const at = (block: number, n: number): string => addressIn(subnet, block, n)
const guest = (address: string, patch: Partial<GuestEntry> = {}): GuestEntry => ({
  id: `guest at ${address}` as GuestId,
  network: net.id,
  address,
  aliases: ['DB', 'toolbox'],
  nameservers: [],
  createdAtMs: 1,
  container: { id: 'ab'.repeat(32) as ContainerId, name: 'toolbox', isUp: true },
  ...patch,
})
const host = (
  name: string,
  block: number,
  guests: readonly GuestEntry[],
  more: Partial<Host> = {},
): Host => ({
  name,
  address: `192.168.0.${block}`,
  blocks: [claim(net, subnet, block)],
  guests,
  ...more,
})

function tableOf(...hosts: [Host, ...Host[]]) {
  const scene = { networks: [net], hosts }
  const all = createNetwork()
  all.update({ view: viewOf(scene), liveness: livenessOf(scene), marks: new Map(), reach: 'hosts' })
  return all.nameTable(() => undefined)
}

describe('a container that a person put on a network', () => {
  test('has its name, its aliases and its short id there on every node', () => {
    const [named] = tableOf(host('a', 1, []), host('b', 2, [guest(at(2, 5))])).networks
    const answer = { addresses: [at(2, 5)], local: 0 }
    expect(named?.names).toEqual({ toolbox: answer, db: answer, abababababab: answer })
    expect(named?.reverse).toEqual({ [at(2, 5)]: 'toolbox' })
    const [here] = tableOf(host('a', 1, [guest(at(1, 5))])).networks
    expect(here?.names['db']).toEqual({ addresses: [at(1, 5)], local: 1 })
  })

  test('shares a name with others that have it', () => {
    const [named] = tableOf(host('a', 1, [guest(at(1, 5))]), host('b', 2, [guest(at(2, 5))])).networks
    expect(named?.names['db']).toEqual({ addresses: [at(1, 5), at(2, 5)], local: 1 })
  })

  test('has none while it does not run, while its node is down, and at an address that is another node’s', () => {
    const stopped = { container: { id: 'c' as ContainerId, name: 'toolbox', isUp: false } }
    const { container: _, ...unmade } = guest(at(2, 6))
    const nowhere = [
      host('b', 2, [guest(at(2, 5), stopped), unmade]),
      host('b', 2, [guest(at(2, 5))], { liveness: 'down' }),
      host('b', 2, [guest(at(1, 5))]),
    ]
    for (const other of nowhere) expect(tableOf(host('a', 1, []), other).networks[0]?.names).toEqual({})
  })

  test('loses its name again when it goes', () => {
    const all = createNetwork()
    const read = (guests: readonly GuestEntry[]) => {
      const scene = { networks: [net], hosts: [host('a', 1, guests)] as const }
      all.update({ view: viewOf(scene), liveness: livenessOf(scene), marks: new Map(), reach: 'hosts' })
      return all.nameTable(() => undefined).networks[0]?.names
    }
    expect(Object.keys(read([guest(at(1, 5))]) ?? {})).toContain('toolbox')
    expect(read([])).toEqual({})
  })

  test('knows the names of all networks that it is on, and asks its own name servers for others', () => {
    const front = network('front', { subnet: '10.6.0.0/18', Attachable: true })
    const address = addressIn('10.6.0.0/18', 1, 3)
    const both = [
      guest(at(1, 5), { nameservers: ['9.9.9.9', 'none'] }),
      guest(address, { network: front.id, createdAtMs: 2 }),
    ]
    const { clients } = tableOf(host('a', 1, both))
    expect(clients).toEqual([
      { addresses: [at(1, 5), address], networks: [net.id, front.id], nameservers: ['9.9.9.9'] },
    ])
  })
})

test('who is on a network is told of all nodes but those that are down', () => {
  const scene = {
    networks: [net],
    hosts: [
      host('a', 1, [guest(at(1, 5))]),
      host('b', 2, [guest(at(2, 5))]),
      host('c', 3, [guest(at(3, 5))], { liveness: 'down' }),
    ] as const,
  }
  const { records } = viewOf(scene)
  const on = guestsOn(net.id, records, livenessOf(scene))
  expect(on.map(({ node }) => node)).toEqual([hostId({ name: 'a' }), hostId({ name: 'b' })])
  expect(guestsOn(network('other').id, records, livenessOf(scene))).toEqual([])
})
