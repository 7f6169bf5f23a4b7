import {
  isTerminal,
  type ContainerId,
  type GuestEntry,
  type NodeRecord,
  type ResourceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import type { Attachments } from './attachments.ts'
import { parseAddress } from './ipv4.ts'
import type { Client } from './name-table.ts'
import type { Address } from './plane.ts'

/**
 * This node's containers, known by their addresses to the name server. A task's own spec counts, which an update of its service may have
 * left behind; where that is not known any more it hears of the networks that it has an address on.
 */
export function clientsOf(
  own: Pick<NodeRecord, 'tasks' | 'guests'> | undefined,
  attachmentsOf: (spec: ServiceSpec) => Attachments,
  specOf: (task: TaskEntry) => ServiceSpec | undefined,
): readonly Client[] {
  const clients: Client[] = []
  for (const task of own?.tasks.values() ?? []) {
    const on = addressesOf(task)
    if (isTerminal(task.state) || on.size === 0) continue
    const spec = specOf(task)
    const attached = spec === undefined ? undefined : attachmentsOf(spec)
    const inOrder =
      attached?.networks.map(({ network }) => network).filter((network) => on.has(network)) ?? []
    clients.push({
      addresses: [...on.values()],
      // `ingress` too: nobody has a name there, but it leads out into the world.
      networks: [...new Set([...inOrder, ...on.keys()])],
      nameservers: nameserversOf(spec),
    })
  }
  return [...clients, ...guestClients([...(own?.guests.values() ?? [])])]
}

/** One container may be on several networks. */
function guestClients(guests: readonly GuestEntry[]): readonly Client[] {
  const byContainer = new Map<ContainerId | GuestEntry['id'], GuestEntry[]>()
  for (const guest of guests.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) {
    const key = guest.container?.id ?? guest.id
    byContainer.set(key, [...(byContainer.get(key) ?? []), guest])
  }
  return [...byContainer.values()].map((all) => ({
    addresses: all.map(({ address }) => address),
    networks: all.map(({ network }) => network),
    nameservers: (all[0]?.nameservers ?? []).filter((text) => parseAddress(text) !== undefined),
  }))
}

function addressesOf({ addresses = [] }: TaskEntry): ReadonlyMap<ResourceId, Address> {
  const on = new Map<ResourceId, Address>()
  for (const { id, address } of addresses) {
    const text = address.split('/')[0] ?? ''
    if (id !== undefined && parseAddress(text) !== undefined) on.set(id, text)
  }
  return on
}

function nameserversOf(spec: ServiceSpec | undefined): readonly Address[] {
  const given = spec?.TaskTemplate.ContainerSpec.DNSConfig?.Nameservers ?? []
  return given.filter((text) => parseAddress(text) !== undefined)
}
