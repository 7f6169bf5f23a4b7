import { addressFact, type Resource, type ServiceId, type ServiceSpec } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { attachmentsOf } from './attachments.ts'
import { holds, parseAddress, parseRange } from './ipv4.ts'
import { network, onNetworks } from './scene.testing.ts'
import { subnetsOf } from './subnets.ts'
import { virtualIpsOf } from './virtual-ips.ts'

type Service = Resource<ServiceSpec>

const front = network('front', { subnet: '10.1.0.0/16' })
/** Three virtual IPs: services meet. */
const tiny = network('tiny', { subnet: '10.2.0.0/28' })
const undrawn = network('undrawn')
const ingress = network('ingress', { Ingress: true, subnet: '10.3.0.0/16' })
const networks = new Map([front, tiny, undrawn, ingress].map((each) => [each.id, each]))
const subnets = subnetsOf(networks)

const attached = (services: readonly Service[]) =>
  services.map((service) => ({ service, attachments: attachmentsOf(service.spec, networks) }))
const ipsOf = (services: readonly Service[]) => virtualIpsOf(attached(services), subnets)

/** As the stewards write it. */
function written(services: readonly Service[]): readonly Service[] {
  const { draws } = ipsOf(services)
  return services.map((service) => {
    const facts = new Map(service.facts)
    for (const [id, drawn] of draws.get(service.id as ServiceId) ?? [])
      facts.set(...addressFact.virtualIp(id, drawn))
    return { ...service, facts }
  })
}

/** Service and address on this network, of those that have one. */
function heldOn(services: readonly Service[], at = tiny): Map<string, string> {
  return new Map(
    [...ipsOf(services).held].flatMap(([id, held]) => {
      const address = held.get(at.id)
      return address === undefined ? [] : [[id, address]]
    }),
  )
}

const vip = (address: string, n = 1, at = tiny) => addressFact.virtualIp(at.id, { n, value: address })

describe('a service with endpoint mode vip', () => {
  test('has an address in the first quarter of each of its networks', () => {
    const services = written([onNetworks('web', [front, tiny])])
    const held = ipsOf(services).held.get(services[0]!.id as ServiceId)!
    expect([...held.keys()]).toEqual([front.id, tiny.id])
    expect(holds(parseRange('10.1.0.0/18')!, parseAddress(held.get(front.id)!)!)).toBe(true)
    expect(['10.2.0.1', '10.2.0.2', '10.2.0.3']).toContain(held.get(tiny.id))
    expect(ipsOf(services).draws.size).toBe(0)
    expect(ipsOf(services).waits.size).toBe(0)
  })

  test('waits while none is drawn, or its network has no subnet', () => {
    const web = onNetworks('web', [tiny, undrawn])
    expect(ipsOf([web]).waits.get(web.id as ServiceId)).toEqual([
      { kind: 'no-subnet', network: undrawn.id },
      { kind: 'vip-not-drawn', network: tiny.id },
    ])
  })

  test('draws anew where its network has another subnet by now, or somebody wrote nonsense', () => {
    for (const value of ['10.9.0.1', '10.2.0.0', '10.2.0.4', 'x', '']) {
      const web = onNetworks('web', [tiny], {}, [vip(value, 4)])
      expect(
        ipsOf([web])
          .draws.get(web.id as ServiceId)
          ?.get(tiny.id)?.n,
      ).toBe(5)
      expect(heldOn(written([web])).size).toBe(1)
    }
  })

  test('is given no address that a person set aside', () => {
    const Config = [{ Subnet: '10.2.0.0/28', Gateway: '10.2.0.1', AuxiliaryAddresses: { a: '10.2.0.2' } }]
    const kept = { ...tiny, spec: { ...tiny.spec, IPAM: { Config } } }
    const web = onNetworks('web', [kept])
    const { draws } = virtualIpsOf(attached([web]), subnetsOf(new Map([[kept.id, kept]])))
    expect(draws.get(web.id as ServiceId)?.get(kept.id)?.value).toBe('10.2.0.3')
  })

  test('has none on ingress, where nobody asks for its name', () => {
    const web = onNetworks('web', [], { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } })
    expect(ipsOf([web])).toMatchObject({ held: new Map(), draws: new Map(), waits: new Map() })
  })

  test('waits where all are taken, which is said', () => {
    let services: readonly Service[] = []
    for (const name of ['a', 'b', 'c']) services = written([...services, onNetworks(name, [tiny])])
    const late = onNetworks('late', [tiny])
    expect(ipsOf([...services, late]).waits.get(late.id as ServiceId)).toEqual([
      { kind: 'vips-full', network: tiny.id, virtual: '10.2.0.0/30' },
    ])
  })
})

test('a service with dnsrr has no virtual IP, and finds its old one when it has vip again', () => {
  const web = onNetworks('web', [tiny], {}, [vip('10.2.0.2')])
  const dnsrr = { ...web, spec: { ...web.spec, EndpointSpec: { Mode: 'dnsrr' as const } } }
  expect(ipsOf([dnsrr]).held.size).toBe(0)
  // Meanwhile nobody else was given it.
  let others: readonly Service[] = [dnsrr]
  for (const name of ['a', 'b', 'c']) others = written([...others, onNetworks(name, [tiny])])
  expect([...heldOn(others).values()]).not.toContain('10.2.0.2')
  expect(heldOn([web, ...others.slice(1)]).get(web.id)).toBe('10.2.0.2')
})

test('of two services that drew one address, the one with the lower id keeps it, and only the other draws anew', () => {
  const [first, second] = ['a', 'b']
    .map((name) => onNetworks(name, [tiny], {}, [vip('10.2.0.2', 3)]))
    .sort((a, b) => (a.id < b.id ? -1 : 1)) as [Service, Service]
  const { held, waits, draws } = ipsOf([second, first])
  expect([...held.keys()]).toEqual([first.id])
  expect(waits.get(second.id as ServiceId)).toEqual([
    { kind: 'vip-taken', network: tiny.id, address: '10.2.0.2', by: first.id },
  ])
  expect([...draws.keys()]).toEqual([second.id])
  expect(heldOn(written([second, first])).get(first.id)).toBe('10.2.0.2')
  expect(heldOn(written([second, first])).size).toBe(2)
})

describe('any services', () => {
  const some = fc
    .uniqueArray(fc.record({ n: fc.nat({ max: 30 }), at: fc.integer({ min: 0, max: 4 }) }), {
      selector: ({ n }) => n,
      maxLength: 5,
    })
    .map((all) =>
      all.map(({ n, at }) => onNetworks(`s${n}`, [tiny], {}, at === 0 ? [] : [vip(`10.2.0.${at}`)])),
    )

  test('have the same addresses and draws in whatever order they were learnt', () => {
    fc.assert(
      fc.property(some, (services) => {
        const other = services.toReversed()
        expect(heldOn(other)).toEqual(heldOn(services))
        expect(ipsOf(other).draws).toEqual(ipsOf(services).draws)
      }),
    )
  })

  test('that come later change no earlier one’s address', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 99 }), { maxLength: 6 }), (numbers) => {
        let services: readonly Service[] = []
        for (const n of numbers) {
          const before = heldOn(services)
          services = written([...services, onNetworks(`s${n}`, [tiny])])
          for (const [id, address] of before) expect(heldOn(services).get(id)).toBe(address)
        }
      }),
    )
  })

  test('that two sides of a partition gave one address settle: each has its own, and only losers changed', () => {
    let lost = 0
    fc.assert(
      fc.property(some, (services) => {
        const before = heldOn(services)
        const after = heldOn(written(services))
        for (const [id, address] of before) expect(after.get(id)).toBe(address)
        expect(new Set(after.values()).size).toBe(after.size)
        lost += services.filter(({ id, facts }) => facts.size > 0 && !before.has(id)).length
      }),
      { numRuns: 200 },
    )
    expect(lost).toBeGreaterThan(50)
  })
})
