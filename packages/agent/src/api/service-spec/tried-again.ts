import { type Resource, type ServiceSpec, specDigest, type SpecDigest, updateFact } from '@moot/crdt-state'

/**
 * What became of an update stands in the service's facts for good. Whoever asks again for what was gone back from, by
 * itself or with its release, wants it tried again, as by `--force`; and what was well once may not be so this time (a
 * tag that was moved): each gets a digest of its own, and is judged anew. What runs already is not tried.
 *
 * @param service as it is when it is written.
 * @param merged what the write makes of it: a client that read an older version, and scales, asks for nothing but the scale.
 */
export function triedAgain(service: Resource<ServiceSpec>, merged: ServiceSpec): ServiceSpec {
  const current = specDigest(service.spec)
  let asked = merged
  for (let digest = specDigest(asked); digest !== current && isJudged(service, current, digest);) {
    const { TaskTemplate: template } = asked
    asked = { ...asked, TaskTemplate: { ...template, ForceUpdate: (template.ForceUpdate ?? 0) + 1 } }
    digest = specDigest(asked)
  }
  return asked
}

function isJudged({ facts }: Resource<ServiceSpec>, current: SpecDigest, digest: SpecDigest): boolean {
  const failed = updateFact.failed(digest)
  if ([...facts.keys()].some((key) => key === failed || key.startsWith(`${failed}/`))) return true
  // Where the update away from it is not over yet, slots may still run it: they stay as they are.
  return facts.has(updateFact.completed(digest)) && facts.has(updateFact.completed(current))
}
