import type { ServiceSpec, TaskEntry } from '@moot/crdt-state'
import { type DescribedNode, requirementOf, type Requirement } from './constraint.ts'

/** Specs are immutable, and asked in every reconciliation. */
const known = new WeakMap<ServiceSpec, readonly Requirement[]>()

export function constraintsOf(spec: ServiceSpec): readonly string[] {
  return spec.TaskTemplate.Placement?.Constraints ?? []
}

/**
 * What keeps its node from having the task now, where that is no fault of the node. The task was placed by other constraints than the service has now, and its node meets those, but not these: so it is the
 * service that changed, and the slot moves when its turn in the update comes. Where a node stops meeting what a task was placed by, the slot
 * leaves at once, as with Swarm's constraint enforcer (swarmkit manager/orchestrator/constraintenforcer).
 */
export function misfit(spec: ServiceSpec, node: DescribedNode, task: TaskEntry): Requirement | undefined {
  const asked = constraintsOf(spec)
  if (asked.length === 0) return undefined
  let requirements = known.get(spec)
  if (requirements === undefined) known.set(spec, (requirements = asked.map(requirementOf)))
  const unmet = requirements.find((requirement) => !requirement.isMet(node))
  if (unmet === undefined) return undefined
  const wasMet = (task.constraints ?? []).map(requirementOf).every((requirement) => requirement.isMet(node))
  return wasMet ? unmet : undefined
}
