import {
  addressFact,
  clusterSpecSchema,
  drawnFacts,
  type NetworkSpec,
  type Resource,
  type ResourceId,
} from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatRange, overlaps, parseAddress, parseRange } from './ipv4.ts'
import { network } from './scene.testing.ts'
import {
  drawSubnets,
  ownPool,
  type Pool,
  poolOf,
  refusalOfSubnet,
  type SubnetStanding,
  subnetsOf,
} from './subnets.ts'

type Network = Resource<NetworkSpec>
type Networks = ReadonlyMap<ResourceId, Network>

function mapOf(...networks: readonly Network[]): Networks {
  return new Map(networks.map((each) => [each.id, each]))
}

/** A network for which this was drawn. */
function drawnAs(name: string, subnet: string, n = 1): Network {
  return network(name, {}, [addressFact.subnet({ n, value: subnet })])
}

function cidrOf(standing: SubnetStanding | undefined): string | undefined {
  return standing?.kind === 'has' ? standing.cidr : undefined
}

function cidrsOf(networks: Networks): Map<ResourceId, string | undefined> {
  return new Map([...subnetsOf(networks)].map(([id, standing]) => [id, cidrOf(standing)]))
}

const draw = (networks: Networks, pool: Pool = ownPool, hosts: readonly number[] = []) =>
  drawSubnets(networks, subnetsOf(networks), pool, hosts)

/** As the stewards write it. */
function written(networks: Networks, pool: Pool = ownPool): Networks {
  const after = new Map(networks)
  for (const [id, drawn] of draw(networks, pool).draws) {
    const before = after.get(id)!
    after.set(id, { ...before, facts: new Map(before.facts).set(...addressFact.subnet(drawn)) })
  }
  return after
}

/** Small, so that two sides draw the same often enough. */
const smallPool: Pool = { ranges: [parseRange('10.128.0.0/22')!], bits: 24 }
const names = fc.uniqueArray(
  fc.integer({ min: 1, max: 500 }).map((n) => `network${n}`),
  { maxLength: 4 },
)

describe('a network', () => {
  test('has the subnet that a person gave it, whatever was drawn', () => {
    const given = network('given', { subnet: '10.1.2.3/16' }, [
      addressFact.subnet({ n: 1, value: '10.128.0.0/18' }),
    ])
    expect(cidrOf(subnetsOf(mapOf(given)).get(given.id))).toBe('10.1.0.0/16')
  })

  test('has the first subnet of IPv4 that a person gave it', () => {
    const both = network('both', { IPAM: { Config: [{ Subnet: 'fd00::/64' }, { Subnet: '10.1.0.0/16' }] } })
    expect(cidrOf(subnetsOf(mapOf(both)).get(both.id))).toBe('10.1.0.0/16')
  })

  test('has the latest that was drawn for it, and none where that is nonsense', () => {
    const front = network('front', {}, [
      addressFact.subnet({ n: 1, value: '10.128.0.0/18' }),
      addressFact.subnet({ n: 2, value: '10.129.0.0/18' }),
    ])
    expect(cidrOf(subnetsOf(mapOf(front)).get(front.id))).toBe('10.129.0.0/18')
    for (const value of ['', '10.0.0.0/30', '127.0.0.0/18', 'x']) {
      const odd = drawnAs('odd', value, 3)
      expect(subnetsOf(mapOf(odd)).get(odd.id)).toEqual({ kind: 'waits', wait: { kind: 'not-drawn' } })
      expect(draw(mapOf(odd)).draws.get(odd.id)?.n).toBe(4)
    }
  })

  test('keeps apart what a person set aside in it', () => {
    const Config = [
      { Subnet: '10.1.0.0/16', Gateway: '10.1.0.1', AuxiliaryAddresses: { router: '10.1.0.9', odd: 'x' } },
    ]
    const given = network('given', { IPAM: { Config } })
    expect(subnetsOf(mapOf(given)).get(given.id)).toMatchObject({
      reserved: new Set([parseAddress('10.1.0.1'), parseAddress('10.1.0.9')]),
    })
  })

  test.each(['10.1.0.0/29', '10.1.0.0/30', '10.1.0.0/32'])('cannot have %s, which is too small', (subnet) => {
    const small = network('small', { subnet })
    expect(subnetsOf(mapOf(small)).get(small.id)).toEqual({
      kind: 'waits',
      wait: { kind: 'too-small', subnet },
    })
    // It waits for the person who gave it, and is given no other behind his back.
    expect(draw(mapOf(small)).draws.size).toBe(0)
  })

  test.each(['127.0.0.0/8', '224.1.0.0/16', '0.0.0.0/0', '169.254.0.0/24'])(
    'cannot have %s, which is not for hosts',
    (subnet) => {
      const odd = network('odd', { subnet })
      expect(subnetsOf(mapOf(odd)).get(odd.id)).toMatchObject({
        wait: { kind: 'not-for-hosts', subnet },
      })
    },
  )
})

describe('of two networks that took what overlaps', () => {
  const [first, second] = ['a', 'b'].map((name) => network(name)).sort((a, b) => (a.id < b.id ? -1 : 1))

  test('the one with the lower id keeps it, and only the other draws anew', () => {
    const networks = mapOf(drawnAs(second!.name, '10.128.0.0/18'), drawnAs(first!.name, '10.128.0.0/18', 3))
    const standings = subnetsOf(networks)
    expect(cidrOf(standings.get(first!.id))).toBe('10.128.0.0/18')
    expect(standings.get(second!.id)).toEqual({
      kind: 'waits',
      wait: { kind: 'drawn-taken', subnet: '10.128.0.0/18', by: first!.id },
    })
    expect([...draw(networks).draws.keys()]).toEqual([second!.id])
    const after = subnetsOf(written(networks))
    expect(cidrOf(after.get(first!.id))).toBe('10.128.0.0/18')
    expect(after.get(second!.id)?.kind).toBe('has')
    expect(drawnFacts(written(networks).get(second!.id)!.facts).subnet?.n).toBe(2)
  })

  test('the one that a person gave comes before the one that was drawn', () => {
    const networks = mapOf(
      drawnAs(first!.name, '10.128.0.0/18'),
      network(second!.name, { subnet: '10.128.1.0/24' }),
    )
    expect(cidrsOf(written(networks)).get(second!.id)).toBe('10.128.1.0/24')
    expect(cidrsOf(written(networks)).get(first!.id)).not.toBe('10.128.0.0/18')
  })

  test('given both, the second waits for a person', () => {
    const networks = mapOf(...[first!, second!].map(({ name }) => network(name, { subnet: '10.1.0.0/16' })))
    expect(subnetsOf(networks).get(second!.id)).toEqual({
      kind: 'waits',
      wait: { kind: 'given-taken', subnet: '10.1.0.0/16', by: first!.id },
    })
    expect(draw(networks).draws.size).toBe(0)
  })
})

describe('what is drawn', () => {
  test('is a /18 of 10.128.0.0/9, another for each network', () => {
    const networks = written(mapOf(...Array.from({ length: 40 }, (_, n) => network(`n${n}`))))
    const ranges = [...cidrsOf(networks).values()].map((cidr) => parseRange(cidr!)!)
    expect(ranges.every((range) => range.bits === 18 && overlaps(range, ownPool.ranges[0]!))).toBe(true)
    expect(new Set(ranges.map(formatRange)).size).toBe(40)
  })

  test('contains no member’s address, and nothing that a person gave to a network that waits', () => {
    const hosts = ['10.128.0.9', '10.128.2.1'].map((text) => parseAddress(text)!)
    const waiting = network('waiting', { subnet: '10.128.1.0/29' })
    // Wherever they begin to look.
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
      const [drawn] = draw(mapOf(network(name), waiting), smallPool, hosts).draws.values()
      expect(drawn).toEqual({ n: 1, value: '10.128.3.0/24' })
    }
  })

  test('is nothing where nothing is free, which is said', () => {
    const networks = written(mapOf(...Array.from({ length: 4 }, (_, n) => network(`n${n}`))), smallPool)
    const late = network('late')
    const { draws, waits } = draw(new Map(networks).set(late.id, late), smallPool)
    expect(draws.size).toBe(0)
    expect(waits.get(late.id)).toEqual({ kind: 'pool-full', pool: ['10.128.0.0/22'], bits: 24 })
  })

  test('comes from the pool of `docker swarm init`, and from ours where that is none', () => {
    const spec = (more: object) => clusterSpecSchema.parse({ ClusterId: 'c', ...more })
    expect(poolOf(undefined)).toEqual(ownPool)
    expect(poolOf(spec({ DefaultAddrPool: ['fd00::/64'] }))).toEqual(ownPool)
    const pool = poolOf(spec({ DefaultAddrPool: ['10.20.0.0/16', '10.30.0.0/20'], SubnetSize: 26 }))
    expect(pool.bits).toBe(26)
    expect(pool.ranges.map(formatRange)).toEqual(['10.20.0.0/16', '10.30.0.0/20'])
    expect(poolOf(spec({ DefaultAddrPool: ['10.20.0.0/16'] })).bits).toBe(24)
    const two: Pool = { ranges: [parseRange('10.20.0.0/24')!, parseRange('10.30.0.0/24')!], bits: 25 }
    const networks = written(mapOf(...Array.from({ length: 4 }, (_, n) => network(`n${n}`))), two)
    expect(new Set(cidrsOf(networks).values())).toEqual(
      new Set(['10.20.0.0/25', '10.20.0.128/25', '10.30.0.0/25', '10.30.0.128/25']),
    )
  })
})

test('a new network with a subnet that overlaps with any other’s is refused, with the reason', () => {
  const front = network('front', { subnet: '10.1.0.0/16' })
  expect(refusalOfSubnet(mapOf(front), parseRange('10.1.7.0/24')!)).toEqual({
    kind: 'given-taken',
    subnet: '10.1.7.0/24',
    by: front.id,
  })
  expect(refusalOfSubnet(mapOf(front), parseRange('10.2.0.0/24')!)).toBeUndefined()
  expect(refusalOfSubnet(mapOf(front), parseRange('10.2.0.0/30')!)?.kind).toBe('too-small')
})

describe('any networks', () => {
  test('have the same subnets and the same draws, in whatever order they were learnt', () => {
    const networks = fc.uniqueArray(
      fc.record({ n: fc.nat({ max: 30 }), at: fc.nat({ max: 3 }), isGiven: fc.boolean() }),
      { selector: ({ n }) => n, maxLength: 5 },
    )
    fc.assert(
      fc.property(networks, fc.infiniteStream(fc.nat()), (some, dice) => {
        const made = some.map(({ n, at, isGiven }) => {
          const subnet = `10.128.${at}.0/24`
          return isGiven ? network(`n${n}`, { subnet }) : drawnAs(`n${n}`, subnet)
        })
        const shuffled = made
          .map((each) => [dice.next().value, each] as const)
          .sort(([a], [b]) => a - b)
          .map(([, each]) => each)
        expect(cidrsOf(mapOf(...shuffled))).toEqual(cidrsOf(mapOf(...made)))
        expect(draw(mapOf(...shuffled), smallPool)).toEqual(draw(mapOf(...made), smallPool))
      }),
    )
  })

  test('that come later change no earlier one’s subnet', () => {
    fc.assert(
      fc.property(names, names, (earlier, later) => {
        let networks = written(mapOf(...earlier.map((name) => network(name))), smallPool)
        const before = cidrsOf(networks)
        for (const name of later) {
          const added = network(name)
          if (!networks.has(added.id)) networks = written(new Map(networks).set(added.id, added), smallPool)
          expect(new Map([...cidrsOf(networks)].filter(([id]) => before.has(id)))).toEqual(before)
        }
      }),
    )
  })

  test('of two sides of a partition settle when these meet: no two overlap, and of a pair only one changed', () => {
    let collisions = 0
    fc.assert(
      fc.property(names, names, (here, there) => {
        const sides = [here, there].map((side) =>
          written(mapOf(...side.map((name) => network(name))), smallPool),
        )
        // What both made is one document, with one fact: this side's.
        const met = new Map([...sides[1]!, ...sides[0]!])
        const before = cidrsOf(new Map([...met].map(([id, each]) => [id, each])))
        const wished = new Map([...met].map(([id, { facts }]) => [id, drawnFacts(facts).subnet?.value]))
        const after = cidrsOf(written(met, smallPool))
        const ranges = [...after.values()].flatMap((cidr) => (cidr === undefined ? [] : [parseRange(cidr)!]))
        for (const [at, range] of ranges.entries())
          for (const other of ranges.slice(at + 1)) expect(overlaps(range, other)).toBe(false)
        for (const [id, cidr] of before) expect([cidr, undefined]).toContain(cidr && after.get(id))
        const losers = [...before].filter(([id, cidr]) => cidr === undefined && wished.get(id) !== undefined)
        collisions += losers.length
        for (const [id] of losers) {
          const keepers = [...before].filter(([other, cidr]) => other !== id && cidr === wished.get(id))
          expect(keepers).toHaveLength(1)
        }
      }),
      { numRuns: 300 },
    )
    expect(collisions).toBeGreaterThan(50)
  })
})
