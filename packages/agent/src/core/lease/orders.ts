import type { LeaseStatus } from './lease-status.ts'
import type { Wanted } from './holder.ts'
import type { SlotKey } from './messages.ts'

/** What a reconciliation is told of leases: how they stand at this moment, with the watchdog knowing each deadline. */
export interface Leases {
  /**
   * After a start it is not known at once what the watchdog watches: until then nothing exclusive is started, and nothing that
   * runs is stopped for want of a lease.
   */
  readonly isReady: boolean
  /** `held`: and armed. Whoever runs with another fence is to be stopped. */
  status(slot: SlotKey): LeaseStatus
  /** Why it is not held, in one line for people. '' where nothing is to be said. */
  explain(slot: SlotKey): string
}

/** What this node has to do with one slot. */
export interface LeaseOrder {
  /** It is to run here, for which this is needed; undefined: it is only waited for that nothing of it runs any more. */
  readonly wanted: Wanted | undefined
  /** Of what runs here, or may; undefined: nothing does, nor is a start under way. */
  readonly fence: number | undefined
}

/** All of them, at each reconciliation: what is not named is nobody's here, and is released. */
export type LeaseOrders = ReadonlyMap<SlotKey, LeaseOrder>
