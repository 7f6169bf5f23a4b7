import {
  isExclusive,
  lastExclusive,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
} from '@moot/crdt-state'
import type { View } from '../view.ts'
import { labelTerm, leaseNeed, type PartitionLabel } from './contract.ts'
import type { Wanted } from './holder.ts'

/** What the documents say of one name, for all its slots. */
interface NameLabel {
  readonly isExclusive: boolean
  readonly term: number
  readonly exclusiveTerm: number | undefined
  /** By slot. */
  readonly loosened: ReadonlyMap<string, number>
}

/** Read once for each version of a service: its resource is never changed in place. */
const known = new WeakMap<Resource<ServiceSpec>, NameLabel>()
type Services = View['services']
/** Of those that were ever exclusive. Where there are none, a reconciliation asks this once and nothing else. */
const concerned = new WeakMap<Services, ReadonlyMap<ServiceId, Resource<ServiceSpec>>>()

/** Services of which some slot may need a lease. */
export function leasedServices(services: Services): ReadonlyMap<ServiceId, Resource<ServiceSpec>> {
  let found = concerned.get(services)
  if (found === undefined) {
    found = new Map([...services].filter(([, service]) => isConcerned(service)))
    concerned.set(services, found)
  }
  return found
}

function isConcerned(service: Resource<ServiceSpec>): boolean {
  if (service.partition === undefined && service.facts.size === 0 && !isExclusive(service.spec)) return false
  return nameLabel(service).exclusiveTerm !== undefined
}

/** What is to be done before a slot of the service may run; undefined: nothing. */
export function slotNeed(service: Resource<ServiceSpec>, slot: Slot): Wanted | undefined {
  return leaseNeed(partitionLabelOf(service, slot))
}

/** A function of the service's document alone, so two nodes with the same document say the same. */
export function partitionLabelOf(service: Resource<ServiceSpec>, slot: Slot): PartitionLabel {
  const { loosened, ...label } = nameLabel(service)
  return { ...label, loosenedTerm: loosened.get(String(slot)) }
}

function nameLabel(service: Resource<ServiceSpec>): NameLabel {
  let label = known.get(service)
  if (label === undefined) {
    label = readLabel(service)
    known.set(service, label)
  }
  return label
}

function readLabel(service: Resource<ServiceSpec>): NameLabel {
  const term = labelTerm(service.incarnation, service.partition?.changes ?? 0)
  const isNow = isExclusive(service.spec)
  return {
    isExclusive: isNow,
    term,
    exclusiveTerm: isNow ? term : lastTerm(service, term),
    loosened: loosenedTerms(service),
  }
}

/**
 * Of changes that were made at once nobody can say which was in force when, only that all of them are known now. So what
 * was exclusive at some time is taken to have been until the last change: a slot is loosened for exactly what is known.
 */
function lastTerm(service: Resource<ServiceSpec>, term: number): number | undefined {
  const incarnation = lastExclusive(service)
  if (incarnation === undefined) return undefined
  return Math.min(term, labelTerm(incarnation + 1, 0)) - 1
}

function loosenedTerms({ facts }: Resource<ServiceSpec>): ReadonlyMap<string, number> {
  const terms = new Map<string, number>()
  for (const key of facts.keys()) {
    const [, slot, text] = /^loosened\/([^/]+)\/(\d+)$/.exec(key) ?? []
    if (slot !== undefined) terms.set(slot, Math.max(terms.get(slot) ?? 0, Number(text)))
  }
  return terms
}
