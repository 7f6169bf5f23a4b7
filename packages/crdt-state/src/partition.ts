import type { Slot } from './ids.ts'
import type { ServiceSpec } from './schema/service.ts'
import type { Resource } from './spec-store.ts'

/** `available` (default) or `exclusive`: what becomes of a service's slots in a partition. Restarts nothing: no task has it. */
export const partitionLabel = 'moot.partition'
export const partitionPointer = `/Labels/${partitionLabel}`
export const exclusiveValue = 'exclusive'

/** Any other value, which a merge may have let in, is as if there were none. */
export function isExclusive({ Labels }: ServiceSpec): boolean {
  return Labels[partitionLabel] === exclusiveValue
}

/** What one document's history tells of the label. Grows with what is known of it, whatever came in which order. */
export interface PartitionPast {
  /** How many writes have changed it. */
  readonly changes: number
  /** One of them made it exclusive. */
  readonly wasExclusive: boolean
}

/** Facts beside a service's spec about this label. They only grow. */
export const partitionFact = {
  /** In that term a majority of the voters knew that the slot is not exclusive. */
  loosened: (slot: Slot, term: number): string => `loosened/${slot}/${term}`,
  /** The name was exclusive once, last in this incarnation, which was removed. Written as the next one is created. */
  exclusive: (incarnation: number): string => `exclusive/${incarnation}`,
} as const

/** The last incarnation of a name that was exclusive at some time, of those that a document knows of. */
export function lastExclusive({
  incarnation,
  partition,
  facts,
}: Pick<Resource<unknown>, 'incarnation' | 'partition' | 'facts'>): number | undefined {
  if (partition?.wasExclusive === true) return incarnation
  const before = [...facts.keys()].flatMap((key) => /^exclusive\/(\d+)$/.exec(key)?.[1] ?? [])
  return before.length === 0 ? undefined : Math.max(...before.map(Number))
}
