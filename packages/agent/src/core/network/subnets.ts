import {
  type ClusterSpec,
  type Drawn,
  drawnFacts,
  type NetworkSpec,
  type Resource,
  type ResourceId,
} from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { compareText } from '../placement/order.ts'
import { type Geometry, geometryOf, isTooSmall, smallestSubnetBits } from './geometry.ts'
import { formatRange, holds, overlaps, parseAddress, parseRange, type Range, subrange } from './ipv4.ts'
import type { Cidr } from './plane.ts'
import type { SubnetWait } from './waits.ts'

type Network = Resource<NetworkSpec>
type Networks = ReadonlyMap<ResourceId, Network>

export interface HasSubnet {
  readonly kind: 'has'
  readonly geometry: Geometry
  /** The subnet as text. */
  readonly cidr: Cidr
  /** Addresses that a person set aside: the network's gateway and auxiliary addresses. Nobody is given them. */
  readonly reserved: ReadonlySet<number>
}

export type SubnetStanding = HasSubnet | { readonly kind: 'waits'; readonly wait: SubnetWait }

export type Subnets = ReadonlyMap<ResourceId, SubnetStanding>

/** Where subnets are drawn from, and how large. */
export interface Pool {
  readonly ranges: readonly Range[]
  readonly bits: number
}

/**
 * Half of 10.0.0.0/8, the half in which fewer sites have anything: 512 networks, each of 4,096 virtual IPs and 768 blocks of 16
 * addresses. A cluster has its own with `docker swarm init --default-addr-pool`.
 */
export const ownPool: Pool = { ranges: [parseRange('10.128.0.0/9') as Range], bits: 18 }
/** Docker's default of `--default-addr-pool-mask-length`. */
const givenPoolBits = 24

export function poolOf(cluster: ClusterSpec | undefined): Pool {
  const ranges = (cluster?.DefaultAddrPool ?? []).map(parseRange).filter((range) => range !== undefined)
  if (ranges.length === 0) return ownPool
  return { ranges, bits: Math.min(cluster?.SubnetSize || givenPoolBits, smallestSubnetBits) }
}

interface Wish {
  readonly network: Network
  readonly range: Range
  readonly isGiven: boolean
}

/**
 * Which subnet each network has. Claims, and no computation from what else is there: a network that comes later changes
 * nobody's. Where two overlap, which only sides of a partition can do, one that a person gave comes before one that was
 * drawn, then the lower id.
 */
export function subnetsOf(networks: Networks): Subnets {
  const standings = new Map<ResourceId, SubnetStanding>()
  const taken: Wish[] = []
  for (const wish of wishesOf(networks)) {
    const { network, range, isGiven } = wish
    const subnet = formatRange(range)
    const unfit = isGiven ? unfitness(range) : undefined
    const other = taken.find((each) => overlaps(each.range, range))
    if (unfit !== undefined) standings.set(network.id, { kind: 'waits', wait: unfit })
    else if (other !== undefined) {
      const kind = isGiven ? 'given-taken' : 'drawn-taken'
      standings.set(network.id, { kind: 'waits', wait: { kind, subnet, by: other.network.id } })
    } else {
      taken.push(wish)
      const reserved = reservedIn(network)
      standings.set(network.id, { kind: 'has', geometry: geometryOf(range), cidr: subnet, reserved })
    }
  }
  for (const id of networks.keys()) {
    if (!standings.has(id)) standings.set(id, { kind: 'waits', wait: { kind: 'not-drawn' } })
  }
  return standings
}

/** Why a network with this subnet cannot be made: it is unfit, or overlaps with what any network wishes for, whether it has it or not. */
export function refusalOfSubnet(networks: Networks, range: Range): SubnetWait | undefined {
  const unfit = unfitness(range)
  if (unfit !== undefined) return unfit
  const other = wishesOf(networks).find((each) => overlaps(each.range, range))
  if (other === undefined) return undefined
  return { kind: 'given-taken', subnet: formatRange(range), by: other.network.id }
}

/** In the order in which they are served. */
function wishesOf(networks: Networks): readonly Wish[] {
  const wishes: Wish[] = []
  for (const network of networks.values()) {
    const given = givenSubnet(network.spec)
    const drawn = given ?? parseRange(drawnFacts(network.facts).subnet?.value ?? '')
    // What was drawn is fit, unless somebody wrote nonsense: then it is as if it were not there.
    if (drawn === undefined || (given === undefined && unfitness(drawn) !== undefined)) continue
    wishes.push({ network, range: drawn, isGiven: given !== undefined })
  }
  return wishes.sort(
    (a, b) => Number(b.isGiven) - Number(a.isGiven) || compareText(a.network.id, b.network.id),
  )
}

/** A network may have one of IPv6 beside it, which is kept for when there is IPv6. */
export function givenSubnet({ IPAM }: NetworkSpec): Range | undefined {
  for (const { Subnet } of IPAM?.Config ?? []) {
    const range = parseRange(Subnet ?? '')
    if (range !== undefined) return range
  }
  return undefined
}

function reservedIn({ spec }: Network): ReadonlySet<number> {
  const texts = (spec.IPAM?.Config ?? []).flatMap(({ Gateway, AuxiliaryAddresses }) => [
    Gateway ?? '',
    ...Object.values(AuxiliaryAddresses ?? {}),
  ])
  return new Set(texts.map(parseAddress).filter((address) => address !== undefined))
}

/** RFC 6890: ranges in which no host has an address of its own. */
const notForHosts = (
  [
    ['0.0.0.0/8', 'this network'],
    ['127.0.0.0/8', 'loopback'],
    ['169.254.0.0/16', 'link-local'],
    ['224.0.0.0/3', 'multicast and reserved'],
  ] as const
).map(([cidr, what]) => ({ range: parseRange(cidr) as Range, what }))

function unfitness(range: Range): SubnetWait | undefined {
  const subnet = formatRange(range)
  if (isTooSmall(range)) return { kind: 'too-small', subnet }
  const found = notForHosts.find((each) => overlaps(each.range, range))
  return found && { kind: 'not-for-hosts', subnet, what: found.what }
}

export interface SubnetDraws {
  /** What the stewards of these networks are to write beside them. */
  readonly draws: ReadonlyMap<ResourceId, Drawn<Cidr>>
  readonly waits: ReadonlyMap<ResourceId, SubnetWait>
}

/**
 * A subnet for each network that nobody gave one and that has none, or none any more. By hash, so that two sides of a partition hardly
 * ever draw the same; for all at once, so that on one side no two do. `hosts`: addresses that must stay reachable as they are.
 */
export function drawSubnets(
  networks: Networks,
  subnets: Subnets,
  pool: Pool,
  hosts: readonly number[],
): SubnetDraws {
  const draws = new Map<ResourceId, Drawn<Cidr>>()
  const waits = new Map<ResourceId, SubnetWait>()
  const needy = [...subnets]
    .filter(([, { kind }]) => kind === 'waits')
    .map(([id]) => networks.get(id))
    .filter((network) => network !== undefined && givenSubnet(network.spec) === undefined) as Network[]
  if (needy.length === 0) return { draws, waits }
  const taken = wishesOf(networks).map(({ range }) => range)
  for (const network of needy.sort((a, b) => compareText(a.id, b.id))) {
    const n = (drawnFacts(network.facts).subnet?.n ?? 0) + 1
    const isFree = (range: Range): boolean =>
      !taken.some((each) => overlaps(each, range)) && !hosts.some((host) => holds(range, host))
    const range = probe(pool, hashText(`${network.id}/${n}`), isFree)
    if (range === undefined) {
      waits.set(network.id, { kind: 'pool-full', pool: pool.ranges.map(formatRange), bits: pool.bits })
      continue
    }
    taken.push(range)
    draws.set(network.id, { n, value: formatRange(range) })
  }
  return { draws, waits }
}

function probe(pool: Pool, start: number, isFree: (range: Range) => boolean): Range | undefined {
  const counts = pool.ranges.map(({ bits }) => (bits > pool.bits ? 0 : 2 ** (pool.bits - bits)))
  const total = counts.reduce((sum, count) => sum + count, 0)
  for (let step = 0; step < total; step += 1) {
    let at = (start + step) % total
    const which = counts.findIndex((count) => {
      if (at < count) return true
      at -= count
      return false
    })
    const range = subrange(pool.ranges[which] as Range, pool.bits, at)
    if (isFree(range)) return range
  }
  return undefined
}
