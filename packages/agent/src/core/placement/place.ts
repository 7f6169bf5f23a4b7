import type { Placement, PlacementInput } from './placement.ts'
import { Placer } from './placer.ts'

export { openSlots } from './slot-table.ts'

/**
 * Where every wanted slot goes, or why it cannot. A pure function of its input: the same on every agent, whatever the
 * order of the maps (design/placement.md).
 *
 * @example
 * const { slots } = place({ services, nodes })
 * slots.get(slotId(service, 1)) // { kind: 'vacant', to: 'node…', attempt: 1, assumed: [] }
 */
export function place(input: PlacementInput): Placement {
  return new Placer().update(input)
}

/**
 * The same answers as `place`, in milliseconds where little changed: parts of the input that are `===` to those of the
 * call before are not read again. So they must be immutable, as the view's are.
 */
export function createPlacer(): { update(input: PlacementInput): Placement } {
  return new Placer()
}
