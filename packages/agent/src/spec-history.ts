import {
  type ServiceId,
  type ServiceSpec,
  type SpecDigest,
  specDigest,
  type SpecStore,
} from '@moot/crdt-state'

/** Older specs of a service by digest, for tasks that still run them. Remembered, since a digest never changes its meaning. */
export function createSpecHistory(
  specs: SpecStore,
): (service: ServiceId, digest: SpecDigest) => ServiceSpec | undefined {
  const known = new Map<string, ServiceSpec>()
  const bound = 1_000
  return (service, digest) => {
    const key = `${service}/${digest}`
    const found = known.get(key)
    if (found !== undefined) return found
    const resource = specs.get('service', service)
    if (resource === undefined) return undefined
    if (specDigest(resource.spec) === digest) return resource.spec
    for (const entry of specs.history('service', service).toReversed()) {
      if (specDigest(entry.spec) !== digest) continue
      if (known.size >= bound) known.clear()
      known.set(key, entry.spec)
      return entry.spec
    }
    return undefined
  }
}
