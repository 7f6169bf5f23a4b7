import type { ServiceId, Slot, TaskEntry } from '@moot/crdt-state'
import { slotKey } from '../lease/contract.ts'
import type { Wanted } from '../lease/holder.ts'
import type { SlotKey } from '../lease/messages.ts'
import { leasedServices, slotNeed } from '../lease/partition-label.ts'
import type { View } from '../view.ts'
import type { ReconcileInput } from './input.ts'

interface Viewing {
  readonly input: Pick<ReconcileInput, 'view'>
}

/** What the voters have to say before a slot may run; undefined: nothing, as for nearly all. */
export function needOf({ input }: Viewing, service: ServiceId, slot: Slot): Wanted | undefined {
  const found = leasedServices(input.view.services).get(service)
  return found && slotNeed(found, slot)
}

/** Is at most one task of the slot to run, wherever? */
export function isExclusiveSlot(draft: Viewing, service: ServiceId, slot: Slot): boolean {
  return needOf(draft, service, slot) !== undefined
}

/** What a task's slot is leased as; undefined where its service is gone, and it never had a lease. */
export function keyOf({ services }: Pick<View, 'services'>, task: TaskEntry): SlotKey | undefined {
  if (task.leased !== undefined) return task.leased as SlotKey
  const name = services.get(task.service)?.name
  return name === undefined ? undefined : slotKey(name, task.slot)
}
