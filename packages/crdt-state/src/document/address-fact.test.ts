import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { digestId } from '../hash.ts'
import type { ResourceId } from '../ids.ts'
import { networkSpecSchema } from '../schema/resources.ts'
import { author, openSpecs, overTheWire, serviceSpec, sync } from '../testing/spec-fixtures.ts'
import { addressFact, drawnFacts } from './address-fact.ts'

const network = digestId('network') as ResourceId
const other = digestId('other') as ResourceId

describe('what was drawn for a document', () => {
  test('is the latest of each, in whatever order the facts were learnt', () => {
    const facts = [
      addressFact.subnet({ n: 2, value: '10.2.0.0/18' }),
      addressFact.subnet({ n: 10, value: '10.10.0.0/18' }),
      addressFact.virtualIp(network, { n: 1, value: '10.1.0.1' }),
      addressFact.virtualIp(network, { n: 3, value: '10.1.0.3' }),
      addressFact.virtualIp(other, { n: 1, value: '10.3.0.1' }),
      addressFact.port('80/tcp', { n: 1, value: 30_001 }),
      addressFact.port('80/udp', { n: 1, value: 30_002 }),
      ['completed/abc', {}] as const,
    ]
    fc.assert(
      fc.property(fc.shuffledSubarray(facts, { minLength: facts.length }), (facts) => {
        expect(drawnFacts(new Map(facts))).toEqual({
          subnet: { n: 10, value: '10.10.0.0/18' },
          virtualIps: new Map([
            [network, { n: 3, value: '10.1.0.3' }],
            [other, { n: 1, value: '10.3.0.1' }],
          ]),
          ports: new Map([
            ['80/tcp', { n: 1, value: 30_001 }],
            ['80/udp', { n: 1, value: 30_002 }],
          ]),
        })
      }),
    )
  })

  test('counts though it is nonsense, so that something better can be written above it', () => {
    const facts = new Map<string, unknown>([
      ['subnet/4', { not: 'a text' }],
      [`vip/${network}/2`, 7],
      ['port/80/tcp/9', 'x'],
    ])
    expect(drawnFacts(facts)).toEqual({
      subnet: { n: 4, value: '' },
      virtualIps: new Map([[network, { n: 2, value: '' }]]),
      ports: new Map([['80/tcp', { n: 9, value: 0 }]]),
    })
  })

  test('no other fact is taken for it', () => {
    const others: readonly (readonly [string, unknown])[] = [
      ['completed/abc', {}],
      ['move/1/1/node/1', true],
    ]
    fc.assert(
      fc.property(fc.string(), (key) => {
        const facts = new Map<string, unknown>([[key, '10.0.0.1'], ...others])
        expect(drawnFacts(facts)).toEqual(drawnFacts(new Map()))
      }),
    )
  })

  test('stands beside a network as beside a service, is found after a restart, and leaves the spec alone', async () => {
    const opened = await openSpecs()
    const { store } = opened
    const spec = networkSpecSchema.parse({ Name: 'front' })
    const { resource } = await store.create('network', 'front', spec, author)
    await store.addFact(
      'network',
      resource.id,
      ...addressFact.subnet({ n: 1, value: '10.128.0.0/18' }),
      author,
    )
    const web = await store.create('service', 'web', serviceSpec(), author)
    const vip = addressFact.virtualIp(resource.id, { n: 1, value: '10.128.0.5' })
    await store.addFact('service', web.resource.id, ...vip, author)
    const again = (await opened.reopen()).store
    const found = again.get('network', resource.id)!
    expect(drawnFacts(found.facts).subnet).toEqual({ n: 1, value: '10.128.0.0/18' })
    expect(found.spec).toEqual(spec)
    expect(found.previous).toBeUndefined()
    expect(drawnFacts(again.get('service', web.resource.id)!.facts).virtualIps.get(resource.id)?.value).toBe(
      '10.128.0.5',
    )
  })

  test('by two stewards at once is one value on both sides once they meet', async () => {
    const [here, there] = [(await openSpecs()).store, (await openSpecs()).store]
    const created = await here.create('network', 'front', networkSpecSchema.parse({ Name: 'front' }), author)
    await there.receive(overTheWire(created.messages))
    const { id } = created.resource
    await here.addFact('network', id, ...addressFact.subnet({ n: 1, value: '10.128.0.0/18' }), author)
    await there.addFact('network', id, ...addressFact.subnet({ n: 1, value: '10.129.0.0/18' }), author)
    await sync(here, there)
    const [a, b] = [here, there].map((store) => drawnFacts(store.get('network', id)!.facts))
    expect(a).toEqual(b)
    expect(['10.128.0.0/18', '10.129.0.0/18']).toContain(a?.subnet?.value)
  })
})
