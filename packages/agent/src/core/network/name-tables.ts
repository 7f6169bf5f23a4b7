import type { GuestId, NodeId, ResourceId, ServiceId } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import type { AttachedServices } from './attached-services.ts'
import type { FrontsInput } from './fronts.ts'
import { type Guest, guestNames, type Guests } from './guests.ts'
import { type NamedService, namesOf, NetworkNames, type ServiceNames } from './names.ts'
import type { NamedNetwork } from './name-table.ts'
import type { View } from '../view.ts'
import type { Address, Cidr } from './plane.ts'
import type { Subnets } from './subnets.ts'

const none: ServiceNames = new Map()
const noNames: NamedNetwork['names'] = {}

interface Named {
  readonly services: FrontsInput['services']
  readonly virtualIps: FrontsInput['virtualIps']
  readonly endpoints: FrontsInput['endpoints']
  readonly guests: Guests
}

/** Names of all networks as one node answers them; a service or a guest of which nothing changed costs a look at it. */
export class NameTables {
  readonly #networks = new Map<ResourceId, NetworkNames>()
  readonly #tables = new Map<ResourceId, NamedNetwork>()
  readonly #known = new Map<ServiceId, { readonly from: NamedService; readonly names: ServiceNames }>()
  readonly #guests = new Map<GuestId, { readonly guest: Guest; readonly names: ServiceNames }>()

  update(
    self: NodeId,
    { services, virtualIps, endpoints, guests }: Named,
    subnets: Subnets,
    networks: View['networks'],
  ): readonly NamedNetwork[] {
    for (const [id, { service, attachments }] of services) {
      const from = {
        service,
        attachments,
        virtualIps: virtualIps.get(id),
        endpoints: endpoints.get(id),
      }
      const before = this.#known.get(id)
      if (before !== undefined && isSame(before.from, from)) continue
      const names = namesOf(from, self)
      this.#change(id, before?.names ?? none, names)
      this.#known.set(id, { from, names })
    }
    this.#forget(services)
    this.#readGuests(guests, self)
    return [...subnets]
      .sort(([a], [b]) => compareText(a, b))
      .flatMap(([id, standing]) =>
        standing.kind === 'has'
          ? [this.#named(id, standing.cidr, networks.get(id)?.spec.Internal === true)]
          : [],
      )
  }

  /** The same value while nothing of it changed. */
  #named(id: ResourceId, subnet: Cidr, isInternal: boolean): NamedNetwork {
    const names = this.#networks.get(id)?.names() ?? noNames
    const before = this.#tables.get(id)
    if (before?.names === names && before.subnet === subnet && before.isInternal === isInternal) return before
    const named = { id, subnet, isInternal, names, reverse: this.#reverse(id) }
    this.#tables.set(id, named)
    return named
  }

  /** Whose an address is: a task's by its own name, a virtual IP its service's. */
  #reverse(id: ResourceId): NamedNetwork['reverse'] {
    const reverse: [Address, string][] = []
    for (const { from } of this.#known.values()) {
      if (from.attachments.ingress === id) continue
      const name = from.service.name.toLowerCase()
      const virtualIp = from.virtualIps?.get(id)
      if (virtualIp !== undefined) reverse.push([virtualIp, name])
      for (const { address, slot, task } of from.endpoints?.get(id)?.up ?? [])
        reverse.push([address, `${name}.${slot}.${task}`])
    }
    for (const { guest } of this.#guests.values()) {
      if (guest.network === id) reverse.push([guest.address, guest.names[0] ?? guest.id])
    }
    return Object.fromEntries(reverse)
  }

  #forget(services: AttachedServices): void {
    for (const [id, { names }] of this.#known) {
      if (services.has(id)) continue
      this.#change(id, names, none)
      this.#known.delete(id)
    }
  }

  #readGuests(guests: Guests, self: NodeId): void {
    for (const [id, { names }] of this.#guests) {
      if (guests.has(id)) continue
      this.#change(id, names, none)
      this.#guests.delete(id)
    }
    for (const guest of guests.values()) {
      const before = this.#guests.get(guest.id)
      if (before?.guest === guest) continue
      const names = new Map([[guest.network, guestNames(guest, self)]])
      this.#change(guest.id, before?.names ?? none, names)
      this.#guests.set(guest.id, { guest, names })
    }
  }

  #change(id: ServiceId | GuestId, before: ServiceNames, after: ServiceNames): void {
    for (const on of new Set([...before.keys(), ...after.keys()])) {
      const network = this.#networks.get(on) ?? new NetworkNames()
      this.#networks.set(on, network)
      network.change(id, before.get(on), after.get(on))
      if (network.isEmpty) this.#networks.delete(on)
    }
  }
}

/** A service is written to for many reasons that are none of its names'. */
function isSame(a: NamedService, b: NamedService): boolean {
  return (
    a.attachments === b.attachments &&
    a.virtualIps === b.virtualIps &&
    a.endpoints === b.endpoints &&
    (a.service === b.service ||
      (a.service.name === b.service.name && a.service.spec.Labels === b.service.spec.Labels))
  )
}
