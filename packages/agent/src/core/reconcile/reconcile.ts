import { claimVacant } from './claim.ts'
import { withdraw } from './desire.ts'
import { concludeReleases } from './conclude-releases.ts'
import { closeDraft, openDraft } from './draft.ts'
import type { ReconcileInput, ReconcileOutput } from './input.ts'
import { observe } from './observe.ts'
import { giveUp } from './give-up.ts'
import { rebalance } from './rebalance.ts'
import { concludeLoosened } from './lease.ts'
import { leaseOrders } from './lease-orders.ts'
import { decideEnded, replaceUnleased, replaceUnreachable } from './restart.ts'
import { advanceTasks } from './advance.ts'
import { keepGuests, placeGuests } from './guests.ts'
import { removeOrphans, trimHistory, withdrawRejections } from './tidy.ts'
import { tidyBlocks } from './tidy-blocks.ts'
import { latchFacts, stepUpdates } from './update.ts'

export type { ReconcileInput, ReconcileOutput } from './input.ts'
export { updateStatus, type UpdateStatus } from './progress.ts'

const nothing: ReconcileOutput = {
  changes: new Map(),
  actions: [],
  conclusions: [],
  guests: new Map(),
  idleBlocks: new Map(),
  leases: new Map(),
  wakeAtMs: undefined,
}

/**
 * What this node does next: given all that it knows, which entries of its record change and which engine calls it
 * makes. Level-triggered: nothing depends on having seen an event, and asked again with the changes in the record and
 * the actions under way it comes to rest. While the engine does not answer, or has not been listed in full, nothing
 * is known of the containers: nothing is failed, started or stopped, and after a while others take the slots over.
 */
export function reconcile(input: ReconcileInput): ReconcileOutput {
  const own = input.view.records.get(input.view.self)
  if (own === undefined) return nothing
  const draft = openDraft(input, own)
  if (input.engine.kind === 'up' && !input.listed) return closeDraft(draft, leaseOrders(draft))
  concludeReleases(draft)
  if (input.engine.kind === 'down') {
    giveUp(draft, input.engine)
    return closeDraft(draft, leaseOrders(draft))
  }
  observe(draft)
  withdraw(draft)
  replaceUnleased(draft)
  replaceUnreachable(draft)
  concludeLoosened(draft)
  latchFacts(draft)
  decideEnded(draft)
  stepUpdates(draft)
  rebalance(draft)
  claimVacant(draft)
  keepGuests(draft)
  advanceTasks(draft)
  placeGuests(draft)
  trimHistory(draft)
  withdrawRejections(draft)
  tidyBlocks(draft)
  removeOrphans(draft)
  return closeDraft(draft, leaseOrders(draft))
}
