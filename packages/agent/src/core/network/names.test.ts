import type { ServiceId, TaskId } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeId } from '../placement/fixtures.ts'
import type { Endpoint } from './endpoints.ts'
import type { Answer } from './name-table.ts'
import { joined, type NamedService, namesOf, NetworkNames } from './names.ts'
import { idOf, network, onNetworks } from './scene.testing.ts'

const front = network('front')
const back = network('back')
const ingress = network('ingress', { Ingress: true })
const self = nodeId('self')
const endpoint = (slot: number, node = 'other'): Endpoint => ({
  node: nodeId(node),
  task: `task${slot}` as TaskId,
  slot,
  address: `10.1.0.${slot}`,
})

function named(given: {
  name?: string
  labels?: Record<string, string>
  aliases?: string[]
  vip?: string
  ready?: Endpoint[]
  up?: Endpoint[]
}): NamedService {
  const { name = 'web', labels = {}, aliases = [], vip, ready = [], up = ready } = given
  return {
    service: onNetworks(name, [front], { Labels: labels }),
    attachments: {
      networks: [{ network: front.id, aliases }],
      publishedOn: undefined,
      ingress: undefined,
      waits: [],
    },
    virtualIps: vip === undefined ? undefined : new Map([[front.id, vip]]),
    endpoints: new Map([[front.id, { ready, up }]]),
  }
}
const on = (service: NamedService, at = front) => Object.fromEntries(namesOf(service, self).get(at.id) ?? [])
const answer = (local: number, ...addresses: string[]): Answer => ({ addresses, local })

describe('a service’s name', () => {
  const tasks = [endpoint(1), endpoint(2, 'self'), endpoint(3)]

  test('is its virtual IP, whether anybody answers or not', () => {
    expect(on(named({ vip: '10.1.0.99', ready: tasks }))['web']).toEqual(answer(0, '10.1.0.99'))
    expect(on(named({ vip: '10.1.0.99' }))['web']).toEqual(answer(0, '10.1.0.99'))
  })

  test('is its tasks where it has none, this node’s own first', () => {
    expect(on(named({ ready: tasks }))['web']).toEqual(answer(1, '10.1.0.2', '10.1.0.1', '10.1.0.3'))
  })

  test('with tasks. before it is its tasks, with local. those on this node, or else all', () => {
    const names = on(named({ vip: '10.1.0.99', ready: tasks }))
    expect(names['tasks.web']).toEqual(answer(1, '10.1.0.2', '10.1.0.1', '10.1.0.3'))
    expect(names['local.web']).toEqual(answer(1, '10.1.0.2'))
    expect(on(named({ ready: [endpoint(1)] }))['local.web']).toEqual(answer(0, '10.1.0.1'))
    expect(on(named({ vip: '10.1.0.99' }))['tasks.web']).toEqual(answer(0))
  })

  test('is an alias too, and NAME.STACK in a stack; all in lower case', () => {
    const labels = { 'com.docker.stack.namespace': 'Shop' }
    const names = on(named({ name: 'Shop_Web', labels, aliases: ['Web', 'www'], vip: '10.1.0.99' }))
    for (const name of ['shop_web', 'web', 'www', 'web.shop', 'tasks.web.shop', 'local.www', 'tasks.web']) {
      expect(names).toHaveProperty([name])
    }
    expect(on(named({ name: 'other', labels }))).toHaveProperty(['other.shop'])
    expect(Object.keys(on(named({})))).toEqual(['web', 'tasks.web', 'local.web'])
  })

  test('is known on its networks only, and on ingress nobody’s is', () => {
    const web = named({ vip: '10.1.0.99' })
    expect(namesOf(web, self).has(back.id)).toBe(false)
    const networks = [...web.attachments.networks, { network: ingress.id, aliases: [] }]
    const published = { ...web, attachments: { ...web.attachments, networks, ingress: ingress.id } }
    expect([...namesOf(published, self).keys()]).toEqual([front.id])
  })
})

test('a task’s name is its address, whether it is sent traffic or not', () => {
  const names = on(named({ vip: '10.1.0.99', ready: [], up: [endpoint(1), endpoint(2, 'self')] }))
  expect(names['web.1.task1']).toEqual(answer(0, '10.1.0.1'))
  expect(names['web.2.task2']).toEqual(answer(1, '10.1.0.2'))
})

test('a name that several claim is all of theirs, this node’s own first, nobody twice', () => {
  expect(joined([answer(1, 'a', 'b'), answer(1, 'c', 'b', 'd')])).toEqual(answer(2, 'a', 'c', 'b', 'd'))
})

describe('the names of a network', () => {
  const ids = ['x', 'y', 'z'].map((text) => idOf(text) as ServiceId)
  const claims = fc.array(
    fc.record({
      service: fc.constantFrom(...ids),
      names: fc.dictionary(
        fc.constantFrom('web', 'db', '__proto__', 'constructor'),
        fc.record({ addresses: fc.uniqueArray(fc.constantFrom('1', '2', '3')), local: fc.constant(0) }),
        { noNullPrototype: true },
      ),
    }),
    { maxLength: 8 },
  )

  test('are what its services claim now, whatever they claimed before and in whatever order', () => {
    fc.assert(
      fc.property(claims, (steps) => {
        const network = new NetworkNames()
        const now = new Map<ServiceId, ReadonlyMap<string, Answer>>()
        for (const { service, names } of steps) {
          const after = new Map(Object.entries(names))
          network.change(service, now.get(service), after)
          now.set(service, after)
        }
        const fresh = new NetworkNames()
        for (const [service, names] of [...now].toReversed()) fresh.change(service, undefined, names)
        const sorted = (of: NetworkNames) => Object.entries(of.names()).sort(([a], [b]) => (a < b ? -1 : 1))
        expect(sorted(network)).toEqual(sorted(fresh))
        for (const [service, names] of now) network.change(service, names, undefined)
        expect(network.isEmpty).toBe(true)
        expect(Object.keys(network.names())).toEqual([])
      }),
    )
  })

  test('are one value while nothing changes', () => {
    const network = new NetworkNames()
    const names = new Map([['web', answer(0, '1')]])
    network.change(ids[0]!, undefined, names)
    const before = network.names()
    network.change(ids[0]!, names, new Map([['web', answer(0, '1')]]))
    expect(network.names()).toBe(before)
  })
})
