import type { GenericResource } from '@moot/crdt-state'
import { TaskRejectedError } from '../../ports/engine.errors.ts'
import type { EngineFacts } from '../../ports/engine.ts'

/** Kind → the named resources that a task holds, or how many of a kind that has no names. */
export type AssignedResources = Readonly<Record<string, readonly string[] | number>>

/**
 * Which of this node's generic resources a task gets, given what its other containers hold. Named ones (GPU ids) are
 * taken in the order in which the engine lists them, as swarmkit does (api/genericresource/resource_management.go).
 */
export function assignResources(
  reserved: readonly GenericResource[],
  available: EngineFacts['generic'],
  held: readonly AssignedResources[],
): AssignedResources {
  const assigned: Record<string, readonly string[] | number> = {}
  for (const { NamedResourceSpec: named, DiscreteResourceSpec: discrete } of reserved) {
    if (named !== undefined) {
      const before = assigned[named.Kind]
      assigned[named.Kind] = [...(Array.isArray(before) ? (before as string[]) : []), named.Value]
    }
    if (discrete !== undefined && discrete.Value > 0) {
      assigned[discrete.Kind] = take(discrete.Kind, discrete.Value, available, held)
    }
  }
  return assigned
}

function take(
  kind: string,
  count: number,
  available: EngineFacts['generic'],
  held: readonly AssignedResources[],
): readonly string[] | number {
  const names = available.flatMap(({ kind: k, value }) =>
    k === kind && typeof value !== 'number' ? [...value] : [],
  )
  if (names.length === 0) return count
  const taken = new Set(
    held.flatMap((resources) => {
      const value = resources[kind]
      return typeof value === 'object' ? [...value] : []
    }),
  )
  const free = names.filter((name) => !taken.has(name))
  if (free.length < count) {
    throw new TaskRejectedError(`needs ${count} of "${kind}", this node has ${free.length} free`)
  }
  return free.slice(0, count)
}

/** `DOCKER_RESOURCE_<KIND>=a,b`, as Swarm tells a task (swarmkit api/genericresource/string.go EnvFormat). */
export function resourceEnv(assigned: AssignedResources): readonly string[] {
  return Object.entries(assigned).map(
    ([kind, value]) =>
      `DOCKER_RESOURCE_${kind.toUpperCase()}=${typeof value === 'number' ? value : value.join(',')}`,
  )
}
