import { type Resource, type ServiceSpec, specDigest, updateFact } from '@moot/crdt-state'

/**
 * What was gone back from, by itself or with its release, stands in the service's facts for good. Whoever asks for it
 * again wants it tried again, as by `--force`: so it gets a digest of its own. What runs already is not tried.
 */
export function triedAgain(service: Resource<ServiceSpec>, spec: ServiceSpec): ServiceSpec {
  const current = specDigest(service.spec)
  let asked = spec
  for (let digest = specDigest(asked); digest !== current && isGoneBackFrom(service, digest);) {
    const { TaskTemplate: template } = asked
    asked = { ...asked, TaskTemplate: { ...template, ForceUpdate: (template.ForceUpdate ?? 0) + 1 } }
    digest = specDigest(asked)
  }
  return asked
}

function isGoneBackFrom({ facts }: Resource<ServiceSpec>, digest: ReturnType<typeof specDigest>): boolean {
  const failed = updateFact.failed(digest)
  return [...facts.keys()].some((key) => key === failed || key.startsWith(`${failed}/`))
}
