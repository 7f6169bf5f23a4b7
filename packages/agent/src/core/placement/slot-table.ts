import { slotId, type ServiceId, type SlotId } from '@moot/crdt-state'
import { compareText } from './order.ts'
import type { Placement, SlotPlacement } from './placement.ts'

/** One service's wanted slots: those that stand by their claims, and those that the fold has decided. */
export interface ServiceSlots {
  readonly service: ServiceId
  /** Undefined for a global service. */
  readonly replicas: number | undefined
  readonly settled: ReadonlyMap<SlotId, SlotPlacement>
  readonly folded: ReadonlyMap<SlotId, SlotPlacement>
}

/**
 * All slots, as a map in canonical order, over the maps of the services: a change of one service copies that service's
 * map instead of 100,000 entries. Immutable.
 */
export class SlotTable implements ReadonlyMap<SlotId, SlotPlacement> {
  readonly #services: ReadonlyMap<ServiceId, ServiceSlots>
  readonly size: number
  /** What the fold has decided: nobody's slots, and those that must move and have no successor. */
  readonly open: readonly (readonly [SlotId, SlotPlacement])[]

  constructor(
    services: ReadonlyMap<ServiceId, ServiceSlots>,
    open: readonly (readonly [SlotId, SlotPlacement])[],
  ) {
    this.open = open
    this.#services = services
    let size = 0
    for (const { settled, folded } of services.values()) size += settled.size + folded.size
    this.size = size
  }

  get(id: SlotId): SlotPlacement | undefined {
    const slots = this.#services.get(id.slice(0, id.indexOf('.')) as ServiceId)
    return slots && lookUp(slots, id)
  }

  has(id: SlotId): boolean {
    return this.get(id) !== undefined
  }

  /** The wanted slots of one service, in slot order. */
  *ofService(service: ServiceId): IterableIterator<[SlotId, SlotPlacement]> {
    const slots = this.#services.get(service)
    if (slots === undefined) return
    if (slots.replicas === undefined) yield* globalEntries(slots)
    for (let number = 1; number <= (slots.replicas ?? 0); number += 1) yield* replicaEntry(slots, number)
  }

  *entries(): MapIterator<[SlotId, SlotPlacement]> {
    const services = [...this.#services.values()].sort((a, b) => compareText(a.service, b.service))
    for (const slots of services) if (slots.replicas === undefined) yield* globalEntries(slots)
    let wanting = services.filter((slots) => slots.replicas !== undefined)
    for (let number = 1; wanting.length > 0; number += 1) {
      wanting = wanting.filter((slots) => (slots.replicas ?? 0) >= number)
      for (const slots of wanting) yield* replicaEntry(slots, number)
    }
  }

  *keys(): MapIterator<SlotId> {
    for (const [id] of this.entries()) yield id
  }

  *values(): MapIterator<SlotPlacement> {
    for (const [, placement] of this.entries()) yield placement
  }

  [Symbol.iterator](): MapIterator<[SlotId, SlotPlacement]> {
    return this.entries()
  }

  forEach(
    callback: (value: SlotPlacement, key: SlotId, map: ReadonlyMap<SlotId, SlotPlacement>) => void,
  ): void {
    for (const [id, placement] of this.entries()) callback(placement, id, this)
  }
}

function lookUp({ settled, folded }: ServiceSlots, id: SlotId): SlotPlacement | undefined {
  return settled.get(id) ?? folded.get(id)
}

function* replicaEntry(slots: ServiceSlots, number: number): MapIterator<[SlotId, SlotPlacement]> {
  const id = slotId(slots.service, number)
  const placement = lookUp(slots, id)
  if (placement !== undefined) yield [id, placement]
}

function* globalEntries(slots: ServiceSlots): MapIterator<[SlotId, SlotPlacement]> {
  const ids = [...slots.settled.keys(), ...slots.folded.keys()].sort(compareText)
  for (const id of ids) {
    const placement = lookUp(slots, id)
    if (placement !== undefined) yield [id, placement]
  }
}

/**
 * The slots that somebody is to claim, or that wait, in the order in which they are to be claimed. For whoever acts on
 * each placement: there are few of them in a cluster at rest, where all slots are 100,000.
 */
export function openSlots({ slots }: Placement): readonly (readonly [SlotId, SlotPlacement])[] {
  if (slots instanceof SlotTable) return slots.open
  return [...slots].filter(
    ([, where]) => where.kind !== 'held' && (where.kind !== 'moving' || where.successor === undefined),
  )
}
