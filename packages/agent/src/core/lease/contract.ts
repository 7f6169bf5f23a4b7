import type { Slot } from '@moot/crdt-state'
import type { Wanted } from './holder.ts'
import type { SlotKey } from './messages.ts'

/** The slot is what follows the last dot: neither a number nor a node's id has one. */
export function slotKey(service: string, slot: Slot): SlotKey {
  return `${service}.${slot}` as SlotKey
}

/** More changes of the label than this in one incarnation count as one. */
const changesMax = 2 ** 20

/**
 * Orders what people have said about a name's label, over all incarnations of the name: nodes that know more know a higher
 * term, and two that know the same know the same term.
 *
 * @param changes how often the label's value has changed in the document's history.
 */
export function labelTerm(incarnation: number, changes: number): number {
  return incarnation * changesMax + Math.min(changes, changesMax - 1)
}

/** What a node's documents say of one slot's name: this incarnation, and those that were removed. */
export interface PartitionLabel {
  readonly isExclusive: boolean
  readonly term: number
  /** The last term in which the name was exclusive, of this incarnation or an older one. */
  readonly exclusiveTerm: number | undefined
  /** A fact beside the spec: in that term a majority of the voters knew that the slot is not exclusive. */
  readonly loosenedTerm: number | undefined
}

/**
 * What the voters have to say before the slot may run; undefined: nothing. A name that was exclusive once needs their word
 * also when it is not any more: elsewhere somebody may hold the lease who has not heard of the change.
 */
export function leaseNeed(label: PartitionLabel): Wanted | undefined {
  const { isExclusive, term, exclusiveTerm, loosenedTerm } = label
  if (isExclusive) return { term, as: 'exclusive' }
  if (exclusiveTerm === undefined) return undefined
  if (loosenedTerm !== undefined && loosenedTerm > exclusiveTerm) return undefined
  return { term, as: 'loosening' }
}
