import type { ResourceId } from '@moot/crdt-state'
import type { Address, Cidr } from './plane.ts'

/** What the name server of a node answers from, as one value: a function of the view (design/network.md, "Names"). */
export interface NameTable {
  readonly networks: readonly NamedNetwork[]
  /** Containers on this node: who asks is known by its address. Whoever is not here is known by the subnet that its address is in. */
  readonly clients: readonly Client[]
}

export interface NamedNetwork {
  readonly id: ResourceId
  readonly subnet: Cidr
  /** Whoever is on such networks alone is told no name of the world: a question that is passed on is a way out too (CVE-2024-29018). */
  readonly isInternal: boolean
  /** In lower case, without a dot at the end and without `.moot.internal`: `web`, `tasks.web`, `local.web`, `web.shop`. */
  readonly names: Readonly<Record<string, Answer>>
  /** Whose an address is, in the same form: of tasks and of virtual IPs. */
  readonly reverse: Readonly<Record<Address, string>>
}

export interface Answer {
  readonly addresses: readonly Address[]
  /** How many of these, the first ones, are on this node. All are shuffled, these among themselves and before the others. */
  readonly local: number
}

export interface Client {
  /** Its address on each of its networks: any of them may be where a question comes from. */
  readonly addresses: readonly Address[]
  /** Networks whose names it knows, in its own order: the first that knows a name answers. */
  readonly networks: readonly ResourceId[]
  /** Its service's own (DNSConfig.Nameservers), for what is no name of ours; none: the host's. */
  readonly nameservers: readonly Address[]
}
