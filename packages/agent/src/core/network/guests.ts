import type { GuestEntry, GuestId, NodeId, NodeRecord, ResourceId } from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { compareText } from '../placement/order.ts'
import type { View } from '../view.ts'
import { isOwnerOf, type Tables } from './endpoints.ts'
import type { Answer } from './name-table.ts'
import type { Names } from './names.ts'
import type { Address } from './plane.ts'

/** A container that a person put on a network, where it is up and reached. */
export interface Guest {
  readonly id: GuestId
  readonly node: NodeId
  readonly network: ResourceId
  readonly address: Address
  /** In lower case, first its own. */
  readonly names: readonly string[]
}

export type Guests = ReadonlyMap<GuestId, Guest>

/** Of all nodes, in the order of their ids; not of those that are down, nor where its block is another node's. */
export function guestsOf(
  nodes: View['nodes'],
  records: View['records'],
  liveness: LivenessMap,
  tables: Tables,
): Guests {
  const guests: Guest[] = []
  for (const [node, record] of records) {
    if (record.guests.size === 0 || !nodes.has(node) || !isThere(liveness, node)) continue
    for (const guest of record.guests.values()) {
      const names = namesOfGuest(guest)
      if (names.length === 0 || !isOwnerOf(node, guest.address, tables.get(guest.network))) continue
      const { id, network, address } = guest
      guests.push({ id, node, network, address, names })
    }
  }
  return new Map(guests.sort((a, b) => compareText(a.id, b.id)).map((guest) => [guest.id, guest]))
}

function isThere(liveness: LivenessMap, node: NodeId): boolean {
  const kind = liveness.get(node)?.kind
  return kind !== undefined && kind !== 'down' && kind !== 'unknown'
}

/** As in Docker: its name, its aliases, and the short form of its id (moby daemon/container_operations.go, buildEndpointDNSNames). */
function namesOfGuest({ aliases, container }: GuestEntry): readonly string[] {
  if (container?.isUp !== true) return []
  const names = [container.name, ...aliases, container.id.slice(0, 12)].map((name) => name.toLowerCase())
  return [...new Set(names)].filter((name) => name !== '')
}

export function guestNames({ names, address, node }: Guest, self: NodeId): Names {
  const answer: Answer = { addresses: [address], local: node === self ? 1 : 0 }
  return new Map(names.map((name) => [name, answer]))
}

/** Who has put a container on this network, by what all records tell; not on nodes that are down. */
export function guestsOn(
  network: ResourceId,
  records: View['records'],
  liveness: LivenessMap,
): readonly { readonly node: NodeId; readonly guest: GuestEntry }[] {
  return [...records].flatMap(([node, record]: readonly [NodeId, NodeRecord]) =>
    liveness.get(node)?.kind === 'down'
      ? []
      : [...record.guests.values()]
          .filter((guest) => guest.network === network)
          .map((guest) => ({ node, guest })),
  )
}
