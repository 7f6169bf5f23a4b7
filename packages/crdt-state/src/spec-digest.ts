import { canonicalJson } from './canonical-json.ts'
import { sha256Hex } from './hash.ts'
import type { SpecDigest, UpdateKey } from './ids.ts'
import type { ServiceSpec } from './schema/service.ts'

/** 96 bits: two different specs of one service never meet by accident, and labels stay readable. */
const digestLength = 24
/** Specs are immutable and asked for their digest in every reconciliation. */
const known = new WeakMap<ServiceSpec, SpecDigest>()
const knownKeys = new WeakMap<ServiceSpec, UpdateKey>()

/**
 * What a task runs. As swarmkit decides whether a task is dirty (manager/orchestrator/task.go `IsTaskDirty`): the
 * whole task template, but not its placement (tasks that still fit stay), and the endpoint's ports as far as the
 * container itself has them (host mode). Labels, replicas and update config of the service restart nothing.
 */
export function specDigest(spec: ServiceSpec): SpecDigest {
  const cached = known.get(spec)
  if (cached !== undefined) return cached
  const { Placement: _, ...template } = spec.TaskTemplate
  const text = canonicalJson(
    pruned({
      template,
      // Docker's older field for the same thing; it counts where the template names no networks.
      networks: template.Networks === undefined ? spec.Networks : undefined,
      hostPorts: spec.EndpointSpec?.Ports?.filter((port) => port.PublishMode === 'host'),
    }),
  )
  const digest = sha256Hex(text).slice(0, digestLength) as SpecDigest
  known.set(spec, digest)
  return digest
}

/** Tasks that still fit stay where the constraints change; but those that do not are moved as an update says. */
export function updateKey(spec: ServiceSpec): UpdateKey {
  const cached = knownKeys.get(spec)
  if (cached !== undefined) return cached
  const key = keyOf(spec)
  knownKeys.set(spec, key)
  return key
}

function keyOf(spec: ServiceSpec): UpdateKey {
  const constraints = spec.TaskTemplate.Placement?.Constraints ?? []
  const digest = specDigest(spec)
  if (constraints.length === 0) return digest as string as UpdateKey
  return `${digest}+${sha256Hex(canonicalJson(constraints)).slice(0, digestLength)}` as UpdateKey
}

export function digestOfUpdate(key: UpdateKey): SpecDigest {
  return key.slice(0, digestLength) as SpecDigest
}

/**
 * Clients write the same spec in several ways (Go's `omitempty`, the CLI's empty `Resources`): an empty object or
 * list, `false` and a `ForceUpdate` of 0 mean the same as absent. `Init` is Docker's one three-valued boolean; a 0
 * is kept, because for durations and retries Docker's zero is not its default.
 */
function pruned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => pruned(item) ?? {})
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value as Record<string, unknown>)
    .map(([key, member]) => [key, pruned(member)] as const)
    .filter(([key, member]) => !isAbsent(key, member))
  return members.length === 0 ? undefined : Object.fromEntries(members)
}

function isAbsent(key: string, value: unknown): boolean {
  if (value === undefined || value === null) return true
  if (Array.isArray(value)) return value.length === 0
  if (value === false) return key !== 'Init'
  return key === 'ForceUpdate' && value === 0
}
