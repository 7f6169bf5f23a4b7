import {
  type Drawn,
  drawnFacts,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
} from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { compareText } from '../placement/order.ts'
import type { Attachments } from './attachments.ts'
import { formatAddress, formatRange, holds, parseAddress, sizeOf } from './ipv4.ts'
import type { Address } from './plane.ts'
import type { HasSubnet, Subnets } from './subnets.ts'
import type { ServiceWait } from './waits.ts'

/** A service and where it is. */
export interface AttachedService {
  readonly service: Resource<ServiceSpec>
  readonly attachments: Attachments
}

export interface VirtualIps {
  readonly held: ReadonlyMap<ServiceId, ReadonlyMap<ResourceId, Address>>
  /** What the stewards of these services are to write beside them. */
  readonly draws: ReadonlyMap<ServiceId, ReadonlyMap<ResourceId, Drawn<Address>>>
  readonly waits: ReadonlyMap<ServiceId, readonly ServiceWait[]>
}

/** One virtual IP that is asked for. */
interface Wish {
  readonly service: ServiceId
  readonly network: ResourceId
  readonly standing: HasSubnet
  readonly drawn: Drawn<Address> | undefined
}

export function hasVirtualIp({ EndpointSpec }: ServiceSpec): boolean {
  return EndpointSpec?.Mode !== 'dnsrr'
}

/**
 * The address of each service on each of its networks, if it has endpoint mode vip. Claims, as subnets are: who comes later
 * changes nobody's, and of two that have the same, which only sides of a partition can draw, the lower service id keeps it.
 * `ingress` needs none: nobody asks for a name there.
 */
export function virtualIpsOf(services: Iterable<AttachedService>, subnets: Subnets): VirtualIps {
  const result = new Outcome()
  const takers = new Map<ResourceId, Map<number, ServiceId>>()
  const open: { readonly wish: Wish; readonly by: ServiceId | undefined }[] = []
  for (const wish of wishesOf(services, subnets, result)) {
    const { service, network, drawn } = wish
    const taken = takers.get(network) ?? new Map<number, ServiceId>()
    takers.set(network, taken)
    const address = parseAddress(drawn?.value ?? '')
    const by = address === undefined ? undefined : taken.get(address)
    if (address === undefined || by !== undefined || !isVirtual(wish, address)) open.push({ wish, by })
    else {
      taken.set(address, service)
      result.hold(service, network, formatAddress(address))
    }
  }
  if (open.length > 0) draw(open, remembered(services), result)
  return result
}

class Outcome implements VirtualIps {
  readonly held = new Map<ServiceId, Map<ResourceId, Address>>()
  readonly draws = new Map<ServiceId, Map<ResourceId, Drawn<Address>>>()
  readonly waits = new Map<ServiceId, ServiceWait[]>()

  hold(service: ServiceId, network: ResourceId, address: Address): void {
    const others = this.held.get(service)
    if (others === undefined) this.held.set(service, new Map([[network, address]]))
    else others.set(network, address)
  }

  draw(service: ServiceId, network: ResourceId, drawn: Drawn<Address>): void {
    const others = this.draws.get(service)
    if (others === undefined) this.draws.set(service, new Map([[network, drawn]]))
    else others.set(network, drawn)
  }

  wait(service: ServiceId, wait: ServiceWait): void {
    const others = this.waits.get(service)
    if (others === undefined) this.waits.set(service, [wait])
    else others.push(wait)
  }
}

/** By service id: the order in which they are served. */
function wishesOf(services: Iterable<AttachedService>, subnets: Subnets, result: Outcome): readonly Wish[] {
  const wishes: Wish[] = []
  for (const { service, attachments } of services) {
    if (!hasVirtualIp(service.spec)) continue
    const id = service.id as ServiceId
    const { virtualIps } = drawnFacts(service.facts)
    for (const { network } of attachments.networks) {
      const standing = subnets.get(network)
      if (standing?.kind !== 'has') result.wait(id, { kind: 'no-subnet', network })
      else if (network !== attachments.ingress) {
        wishes.push({ service: id, network, standing, drawn: virtualIps.get(network) })
      }
    }
  }
  return wishes.sort((a, b) => compareText(a.service, b.service))
}

/** The first address of the subnet is the network's own. */
function isVirtual({ standing: { geometry, reserved } }: Wish, address: number): boolean {
  return holds(geometry.virtual, address) && address !== geometry.virtual.first && !reserved.has(address)
}

/** All that was ever the latest: a service that has left a network, or is on dnsrr for a while, finds its address as it was. */
function remembered(services: Iterable<AttachedService>): Map<ResourceId, Set<number>> {
  const addresses = new Map<ResourceId, Set<number>>()
  for (const { service } of services) {
    for (const [network, { value }] of drawnFacts(service.facts).virtualIps) {
      const address = parseAddress(value)
      if (address === undefined) continue
      const others = addresses.get(network)
      if (others === undefined) addresses.set(network, new Set([address]))
      else others.add(address)
    }
  }
  return addresses
}

/** By hash, so that two sides of a partition hardly ever draw the same; for all at once, so that on one side no two do. */
function draw(
  open: readonly { readonly wish: Wish; readonly by: ServiceId | undefined }[],
  avoided: Map<ResourceId, Set<number>>,
  result: Outcome,
): void {
  for (const { wish, by } of open) {
    const { service, network, drawn, standing } = wish
    const taken = avoided.get(network) ?? new Set<number>()
    avoided.set(network, taken)
    const n = (drawn?.n ?? 0) + 1
    const address = probe(wish, hashText(`${service}/${network}/${n}`), taken)
    if (address === undefined) {
      result.wait(service, { kind: 'vips-full', network, virtual: formatRange(standing.geometry.virtual) })
      continue
    }
    taken.add(address)
    result.draw(service, network, { n, value: formatAddress(address) })
    if (drawn === undefined || by === undefined) result.wait(service, { kind: 'vip-not-drawn', network })
    else result.wait(service, { kind: 'vip-taken', network, address: drawn.value, by })
  }
}

function probe(wish: Wish, start: number, taken: ReadonlySet<number>): number | undefined {
  const { virtual } = wish.standing.geometry
  const size = sizeOf(virtual)
  for (let step = 0; step < size; step += 1) {
    const address = virtual.first + ((start + step) % size)
    if (isVirtual(wish, address) && !taken.has(address)) return address
  }
  return undefined
}
