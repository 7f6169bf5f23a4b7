import type { ResourceId } from '@moot/crdt-state'
import { allOf, type NameChanges } from './name-changes.ts'
import type { Answer, Client, NameTable } from './name-table.ts'
import type { Address, Cidr } from './plane.ts'

/** A name table as it is asked: changed in place, so that a change costs what it changes. */
export class NameIndex {
  readonly #networks = new Map<ResourceId, KnownNetwork>()
  #subnets: readonly Subnet[] = []
  #clients: readonly Client[] = []
  readonly #clientByAddress = new Map<Address, Client>()

  static of(table: NameTable): NameIndex {
    const index = new NameIndex()
    index.apply(allOf(table))
    return index
  }

  apply(changes: NameChanges): void {
    for (const id of changes.goneNetworks) this.#networks.delete(id)
    for (const { id, subnet, isInternal, names, reverse } of changes.networks) {
      const known = this.#networks.get(id)
      const network: KnownNetwork = {
        subnet,
        isInternal,
        names: known?.names ?? new Map(),
        reverse: known?.reverse ?? new Map(),
      }
      change(network.names, names)
      change(network.reverse, reverse)
      this.#networks.set(id, network)
    }
    this.#subnets = [...this.#networks]
      .map(([id, { subnet }]) => ({ id, ...rangeOf(subnet) }))
      .toSorted((one, other) => one.first - other.first)
    if (changes.clients === undefined) return
    this.#clients = changes.clients
    this.#clientByAddress.clear()
    for (const client of changes.clients)
      for (const address of client.addresses) this.#clientByAddress.set(address, client)
  }

  /** Undefined: it is on no network of the cluster, and is told nothing. */
  askerAt(address: Address): Asker | undefined {
    const client = this.#clientByAddress.get(address)
    if (client !== undefined) return this.#asker(client.networks, client.nameservers)
    const id = this.networkOf(address)
    return id === undefined ? undefined : this.#asker([id], [])
  }

  /** In whose subnet an address is. */
  networkOf(address: Address): ResourceId | undefined {
    const number = numberOf(address)
    // IPv6, which no network has.
    if (Number.isNaN(number)) return undefined
    let low = 0
    let high = this.#subnets.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const subnet = this.#subnets[middle]
      if (subnet === undefined) return undefined
      if (number < subnet.first) high = middle - 1
      else if (number > subnet.last) low = middle + 1
      else return subnet.id
    }
    return undefined
  }

  toTable(): NameTable {
    const networks = [...this.#networks].map(([id, network]) => ({
      id,
      subnet: network.subnet,
      isInternal: network.isInternal,
      names: Object.fromEntries(network.names),
      reverse: Object.fromEntries(network.reverse),
    }))
    return { networks, clients: this.#clients }
  }

  #asker(ids: readonly ResourceId[], nameservers: readonly Address[]): Asker {
    const networks = ids.flatMap((id) => this.#networks.get(id) ?? [])
    return { networks, nameservers, mayLeave: networks.some(({ isInternal }) => !isInternal) }
  }
}

export interface Asker {
  readonly networks: readonly KnownNetwork[]
  readonly nameservers: readonly Address[]
  /** Whether it may ask for names of the world. */
  readonly mayLeave: boolean
}

export interface KnownNetwork {
  readonly subnet: Cidr
  readonly isInternal: boolean
  readonly names: Map<string, Answer>
  readonly reverse: Map<Address, string>
}

interface Subnet {
  readonly id: ResourceId
  readonly first: number
  readonly last: number
}

function change<T>(map: Map<string, T>, changes: Readonly<Record<string, T | null>>): void {
  for (const key of Object.keys(changes)) {
    const value = changes[key]
    if (value === null || value === undefined) map.delete(key)
    else map.set(key, value)
  }
}

function rangeOf(cidr: Cidr): { readonly first: number; readonly last: number } {
  const [address = '', bits = '32'] = cidr.split('/')
  const size = 2 ** (32 - Number(bits))
  const first = numberOf(address) - (numberOf(address) % size)
  return { first, last: first + size - 1 }
}

function numberOf(address: Address): number {
  return address.split('.').reduce((number, part) => number * 256 + Number(part), 0)
}
