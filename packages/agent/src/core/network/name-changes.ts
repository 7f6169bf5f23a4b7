import type { ResourceId } from '@moot/crdt-state'
import type { Answer, Client, NamedNetwork, NameTable } from './name-table.ts'
import type { Address } from './plane.ts'

/** What makes one table of another. A thousand services are 15,000 names, and a task that comes or goes changes four. */
export interface NameChanges {
  readonly networks: readonly NetworkChanges[]
  readonly goneNetworks: readonly ResourceId[]
  /** All of them, where any has changed: a node has at most some hundred. */
  readonly clients?: readonly Client[]
}

export interface NetworkChanges extends Pick<NamedNetwork, 'id' | 'subnet' | 'isInternal'> {
  /** Null: this name is no more. */
  readonly names: Readonly<Record<string, Answer | null>>
  readonly reverse: Readonly<Record<Address, string | null>>
}

/** What makes it of an empty one. */
export function allOf(table: NameTable): NameChanges {
  return { ...table, goneNetworks: [] }
}

/** Undefined: both say the same. */
export function changesBetween(before: NameTable, after: NameTable): NameChanges | undefined {
  const old = new Map(before.networks.map((network) => [network.id, network]))
  const networks: NetworkChanges[] = []
  for (const network of after.networks) {
    const changed = networkChanges(old.get(network.id), network)
    if (changed !== undefined) networks.push(changed)
    old.delete(network.id)
  }
  const goneNetworks = [...old.keys()]
  const isSame = areSame(before.clients, after.clients, isSameClient)
  if (isSame && networks.length === 0 && goneNetworks.length === 0) return undefined
  return { networks, goneNetworks, ...(isSame ? {} : { clients: after.clients }) }
}

function networkChanges(before: NamedNetwork | undefined, after: NamedNetwork): NetworkChanges | undefined {
  if (before === after) return undefined
  const names = entryChanges(before?.names ?? {}, after.names, isSameAnswer)
  const reverse = entryChanges(before?.reverse ?? {}, after.reverse, (one, other) => one === other)
  const { id, subnet, isInternal } = after
  const isSame =
    before?.subnet === subnet && before.isInternal === isInternal && names.length + reverse.length === 0
  if (isSame) return undefined
  return { id, subnet, isInternal, names: Object.fromEntries(names), reverse: Object.fromEntries(reverse) }
}

function entryChanges<T>(
  before: Readonly<Record<string, T>>,
  after: Readonly<Record<string, T>>,
  same: (one: T, other: T) => boolean,
): [string, T | null][] {
  const changes: [string, T | null][] = []
  if (before === after) return changes
  for (const key of Object.keys(after)) {
    const value = after[key]
    if (value === undefined) continue
    // An alias can be called `__proto__`.
    const old = Object.hasOwn(before, key) ? before[key] : undefined
    if (old === undefined || !same(old, value)) changes.push([key, value])
  }
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) changes.push([key, null])
  return changes
}

function isSameAnswer(one: Answer, other: Answer): boolean {
  return (
    one === other || (one.local === other.local && areSame(one.addresses, other.addresses, (a, b) => a === b))
  )
}

function isSameClient(one: Client, other: Client): boolean {
  const same = (a: string, b: string): boolean => a === b
  return (
    one === other ||
    (areSame(one.addresses, other.addresses, same) &&
      areSame(one.networks, other.networks, same) &&
      areSame(one.nameservers, other.nameservers, same))
  )
}

function areSame<T>(one: readonly T[], other: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return (
    one === other ||
    (one.length === other.length &&
      one.every((value, index) => {
        const against = other[index]
        return against !== undefined && same(value, against)
      }))
  )
}
