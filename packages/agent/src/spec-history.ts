import {
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SpecDigest,
  specDigest,
  type SpecStore,
} from '@moot/crdt-state'

export type SpecHistory = (service: ServiceId, digest: SpecDigest) => ServiceSpec | undefined

/** Specs remembered, and digests known to be in no history: a few for each service whose tasks are being updated. */
const remembered = 1_000

/**
 * Older specs of a service by digest, for tasks that still run them. What was current while this agent ran is
 * remembered: where two people edited at once, the merge of both is what ran, and stands in nobody's history. The rest
 * is looked up in the history once; it is dear to read (a long one takes half a second), so that a digest is not there
 * is remembered too, until the service changes.
 */
export function createSpecHistory(specs: Pick<SpecStore, 'get' | 'history'>): {
  readonly specAt: SpecHistory
  /** This is, or was, current. */
  readonly remember: (service: Resource<ServiceSpec>) => void
} {
  const known = new Map<string, ServiceSpec>()
  const missing = new Map<string, Resource<ServiceSpec>>()

  function specAt(service: ServiceId, digest: SpecDigest): ServiceSpec | undefined {
    const key = `${service}/${digest}`
    const found = known.get(key)
    if (found !== undefined) return found
    const resource = specs.get('service', service)
    if (resource === undefined) return undefined
    if (specDigest(resource.spec) === digest) return resource.spec
    if (missing.get(key) === resource) return undefined
    for (const { spec } of specs.history('service', service))
      put(known, `${service}/${specDigest(spec)}`, spec)
    if (!known.has(key)) put(missing, key, resource)
    return known.get(key)
  }

  return {
    specAt,
    remember: (service) => put(known, `${service.id}/${specDigest(service.spec)}`, service.spec),
  }
}

/** The newest stay. */
function put<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= remembered) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}
