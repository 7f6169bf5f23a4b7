import {
  type Drawn,
  drawnFacts,
  type PortConfig,
  type Resource,
  type ServiceId,
  type ServiceSpec,
} from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { compareText } from '../placement/order.ts'
import { portKey } from '../placement/workload.ts'
import type { Protocol } from './plane.ts'
import type { ServiceWait } from './waits.ts'

/** A port that every node answers on. */
export interface PublishedPort {
  readonly protocol: Protocol
  readonly port: number
  /** The container's. */
  readonly target: number
}

export interface PublishedPorts {
  readonly held: ReadonlyMap<ServiceId, readonly PublishedPort[]>
  /** What the stewards of these services are to write beside them, by the target's `80/tcp`. */
  readonly draws: ReadonlyMap<ServiceId, ReadonlyMap<string, Drawn<number>>>
  readonly waits: ReadonlyMap<ServiceId, readonly ServiceWait[]>
}

/** Where a port is drawn from that nobody gave: Swarm's range, below the kernel's own (swarmkit manager/allocator/portallocator.go). */
export const drawnPortFirst = 30_000
export const drawnPortLast = 32_767

type Services = ReadonlyMap<ServiceId, Resource<ServiceSpec>>

interface Wish extends PublishedPort {
  readonly service: ServiceId
  /** 0: nobody gave it, and none was drawn yet. */
  readonly port: number
  readonly isGiven: boolean
}

interface Holder {
  readonly service: ServiceId
  readonly mode: 'ingress' | 'host'
}

/**
 * Who answers on which port of every node. Of two services that publish the same, which the API refuses and only sides of a partition can
 * do, one that was given it comes before one that drew it, then the lower id; the other waits. What a service publishes in host mode is bound by engines
 * and cannot be taken back by a rule: it comes first.
 */
export function publishedPorts(services: Services): PublishedPorts {
  const held = new Map<ServiceId, PublishedPort[]>()
  const waits = new Map<ServiceId, ServiceWait[]>()
  const holders = hostHolders(services)
  const open: Wish[] = []
  for (const wish of wishesOf(services)) {
    const { service, protocol, port, target } = wish
    const key = portKey(port, protocol)
    const holder = holders.get(key)
    // Published twice: once is enough.
    if (holder?.service === service && holder.mode === 'ingress') continue
    if (holder === undefined && port > 0) {
      holders.set(key, { service, mode: 'ingress' })
      append(held, service, { protocol, port, target })
    } else if (!wish.isGiven) open.push(wish)
    else if (holder !== undefined && holder.service !== service) {
      append(waits, service, { kind: 'port-taken', port: key, by: holder.service, mode: holder.mode })
    }
  }
  return { held, waits, draws: drawPorts(services, open, holders, waits) }
}

/** Whom a service that publishes this port stands in the way of, or the other way round. For the API, which refuses it. */
export function portHolder(
  services: Services,
  self: ServiceId | undefined,
  { PublishedPort = 0, Protocol, PublishMode }: PortConfig,
): Holder | undefined {
  if (PublishedPort === 0) return undefined
  const key = portKey(PublishedPort, Protocol)
  const others = self === undefined ? services : new Map([...services].filter(([id]) => id !== self))
  // Two in host mode may be on different nodes: that is the placement's.
  const host = PublishMode === 'ingress' ? hostHolders(others).get(key) : undefined
  const same = wishesOf(others).find((wish) => wish.port === PublishedPort && wish.protocol === Protocol)
  return host ?? (same && { service: same.service, mode: 'ingress' })
}

function hostHolders(services: Services): Map<string, Holder> {
  const holders = new Map<string, Holder>()
  for (const [service, { spec }] of services) {
    for (const { PublishedPort = 0, Protocol, PublishMode } of spec.EndpointSpec?.Ports ?? []) {
      if (PublishMode !== 'host' || PublishedPort === 0) continue
      const key = portKey(PublishedPort, Protocol)
      const other = holders.get(key)
      if (other === undefined || service < other.service) holders.set(key, { service, mode: 'host' })
    }
  }
  return holders
}

/** In the order in which they are served. */
function wishesOf(services: Services): readonly Wish[] {
  const wishes: Wish[] = []
  for (const [service, { spec, facts }] of services) {
    for (const { PublishedPort = 0, Protocol, TargetPort, PublishMode } of spec.EndpointSpec?.Ports ?? []) {
      if (PublishMode !== 'ingress') continue
      const isGiven = PublishedPort > 0
      const drawn = isGiven ? undefined : drawnFacts(facts).ports.get(portKey(TargetPort, Protocol))?.value
      const port = isGiven ? PublishedPort : isDrawable(drawn) ? drawn : 0
      wishes.push({ service, protocol: Protocol, port, target: TargetPort, isGiven })
    }
  }
  return wishes.sort(
    (a, b) => Number(b.isGiven) - Number(a.isGiven) || compareText(a.service, b.service) || a.port - b.port,
  )
}

function isDrawable(port: number | undefined): port is number {
  return port !== undefined && Number.isInteger(port) && port >= drawnPortFirst && port <= drawnPortLast
}

function drawPorts(
  services: Services,
  open: readonly Wish[],
  holders: ReadonlyMap<string, Holder>,
  waits: Map<ServiceId, ServiceWait[]>,
): ReadonlyMap<ServiceId, ReadonlyMap<string, Drawn<number>>> {
  const draws = new Map<ServiceId, Map<string, Drawn<number>>>()
  if (open.length === 0) return draws
  // Also what those have drawn that do not publish it at the moment.
  const taken = new Set(holders.keys())
  for (const { facts } of services.values()) {
    for (const [target, { value }] of drawnFacts(facts).ports) {
      taken.add(portKey(value, target.split('/')[1] ?? ''))
    }
  }
  for (const { service, protocol, target } of open) {
    const key = portKey(target, protocol)
    const own = draws.get(service) ?? new Map<string, Drawn<number>>()
    if (own.has(key)) continue
    const latest = drawnFacts(services.get(service)?.facts ?? new Map()).ports.get(key)
    const n = (latest?.n ?? 0) + 1
    const port = probe(hashText(`${service}/${key}/${n}`), (each) => !taken.has(portKey(each, protocol)))
    if (port === undefined) {
      append(waits, service, { kind: 'ports-full', first: drawnPortFirst, last: drawnPortLast })
      continue
    }
    taken.add(portKey(port, protocol))
    draws.set(service, own.set(key, { n, value: port }))
    append(waits, service, { kind: 'port-not-drawn', port: key })
  }
  return draws
}

function probe(start: number, isFree: (port: number) => boolean): number | undefined {
  const count = drawnPortLast - drawnPortFirst + 1
  for (let step = 0; step < count; step += 1) {
    const port = drawnPortFirst + ((start + step) % count)
    if (isFree(port)) return port
  }
  return undefined
}

function append<K, T>(lists: Map<K, T[]>, key: K, item: T): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [item])
  else list.push(item)
}
