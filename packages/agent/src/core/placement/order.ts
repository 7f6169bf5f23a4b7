import type { ServiceId, Slot } from '@moot/crdt-state'

/**
 * The canonical order of the fold (rule 2). Global services first: they are what other services on a node rely on
 * (log collectors, agents). Then everybody's first replica, everybody's second, …: where room is short no service
 * takes it all. Within one number by service id, which is a hash, so no name is always first.
 */
export function compareSlots(
  a: { readonly service: ServiceId; readonly slot: Slot },
  b: { readonly service: ServiceId; readonly slot: Slot },
): number {
  if (typeof a.slot === 'number' && typeof b.slot === 'number') {
    return a.slot - b.slot || compareText(a.service, b.service)
  }
  if (typeof a.slot === 'number') return 1
  if (typeof b.slot === 'number') return -1
  return compareText(a.service, b.service) || compareText(a.slot, b.slot)
}

/** By UTF-16 units: `localeCompare` depends on the machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
