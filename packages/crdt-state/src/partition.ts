import type { Slot } from './ids.ts'

/** Given on a service, so that any client can set it. Restarts nothing: no task has it. */
export const partitionLabel = 'moot.partition'

/** Facts beside a service's spec about this label. They only grow. */
export const partitionFact = {
  /** In that term a majority of the voters knew that the slot is not exclusive. */
  loosened: (slot: Slot, term: number): string => `loosened/${slot}/${term}`,
} as const
