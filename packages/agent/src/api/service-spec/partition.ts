import { exclusiveValue, isExclusive, partitionLabel, type ServiceSpec } from '@moot/crdt-state'
import { badRequest } from '../errors.ts'

const values: readonly string[] = ['available', exclusiveValue]

export function checkPartition(spec: ServiceSpec): void {
  const container = spec.TaskTemplate.ContainerSpec
  if (container.Labels?.[partitionLabel] !== undefined)
    throw badRequest(
      `${partitionLabel} is a label of the service (in a stack file: deploy.labels), not of its containers`,
    )
  const value = spec.Labels[partitionLabel]
  if (value === undefined) return
  if (!values.includes(value))
    throw badRequest(
      `invalid label ${partitionLabel}=${value.slice(0, 80)}: give available (each side of a partition keeps what it can) or exclusive (at most one task of each slot, wherever)`,
    )
  if (isExclusive(spec)) checkExclusive(spec)
}

function checkExclusive(spec: ServiceSpec): void {
  if (spec.Mode.Global !== undefined)
    throw badRequest(
      `${partitionLabel}=exclusive makes no sense for a global service: each node has a slot of its own, which no other node ever runs. Leave the label out, or make the service replicated`,
    )
  const isFence = (entry: string): boolean => entry.split('=')[0] === 'MOOT_FENCE'
  if (spec.TaskTemplate.ContainerSpec.Env?.some(isFence) === true)
    throw badRequest(
      'invalid environment variable: MOOT_FENCE is set by Moot in the tasks of an exclusive service',
    )
}

/** What is done otherwise than it is asked for. */
export function partitionWarnings(spec: ServiceSpec): readonly string[] {
  if (!isExclusive(spec)) return []
  return (['UpdateConfig', 'RollbackConfig'] as const)
    .filter((config) => spec[config]?.Order === 'start-first')
    .map(
      (config) =>
        `${config}.Order start-first is treated as stop-first: a slot of an exclusive service has one task at a time`,
    )
}
