import type { NodeState } from '../node-state.ts'
import type { Refusal } from '../placement.ts'
import type { Workload } from '../workload.ts'
import { availabilityFilter, drainFilter } from './availability.ts'
import { constraintsFilter } from './constraints.ts'
import { engineFilter } from './engine.ts'
import type { Ask, Filter, NodeFilter } from './filter.ts'
import { genericResourcesFilter } from './generic-resources.ts'
import { hostPortsFilter } from './host-ports.ts'
import { livenessFilter } from './liveness.ts'
import { maxReplicasFilter, maxReplicasHeldFilter } from './max-replicas.ts'
import { maxTasksFilter } from './max-tasks.ts'
import { platformFilter } from './platform.ts'
import { pluginsFilter } from './plugins.ts'
import { rejectionFilter } from './rejection.ts'
import { resourcesFilter } from './resources.ts'
import { volumesFilter } from './volumes.ts'

/** Depend on the node alone: asked once per node. */
export const nodeFilters: readonly NodeFilter[] = [livenessFilter, availabilityFilter, engineFilter]

/** What a service asks of a node, whatever happens there. */
export const suitFilters: readonly Filter[] = [constraintsFilter, platformFilter, pluginsFilter]

/** Depend on the service and on what the node is, not on its load: asked once per service and node. */
export const serviceFilters: readonly Filter[] = [...suitFilters, rejectionFilter]

/** Depend on the slot, or on what is taken on the node by now. */
export const loadFilters: readonly Filter[] = [
  volumesFilter,
  resourcesFilter,
  genericResourcesFilter,
  hostPortsFilter,
  maxReplicasFilter,
  maxTasksFilter,
]

/** All that a node must pass to be given a slot, in the order in which it is told. */
export const placeFilters: readonly Filter[] = [...nodeFilters, ...serviceFilters, ...loadFilters]

/**
 * What an incumbent must still pass. Not resources: what runs, runs. Not liveness: what may be down is not yet down.
 * Not the engine: one that is being restarted comes back.
 */
export const keepFilters: readonly Filter[] = [
  drainFilter,
  constraintsFilter,
  platformFilter,
  maxReplicasHeldFilter,
]

/** Its constraints wait for its turn in the update (`misfit`). */
export const keepFiltersOfMisfit = keepFilters.filter((filter) => filter !== constraintsFilter)

/** Where a global service is wanted at all; a node that lacks room has its slot pending, with the explanation. */
export const globalFilters: readonly Filter[] = [drainFilter, constraintsFilter, platformFilter]

export function passesAll(filters: readonly Filter[], node: NodeState, ask: Ask): boolean {
  for (const filter of filters) if (!filter.passes(node, ask)) return false
  return true
}

/** Those that may refuse this workload. */
export function concerning(filters: readonly Filter[], workload: Workload): readonly Filter[] {
  return filters.filter((filter) => filter.concerns?.(workload) ?? true)
}

export function firstRefusal(filters: readonly Filter[], node: NodeState, ask: Ask): Refusal | undefined {
  const filter = filters.find((candidate) => !candidate.passes(node, ask))
  return filter && { node: node.id, filter: filter.name, reason: filter.explain(node, ask) }
}

const byName: ReadonlyMap<string, Filter> = new Map(placeFilters.map((filter) => [filter.name, filter]))

/** The filter that a refusal came from; undefined for one of another version's. */
export function filterNamed(name: string): Filter | undefined {
  return byName.get(name)
}
