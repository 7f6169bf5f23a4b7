import {
  type Author,
  type Resource,
  type ServiceSpec,
  specDigest,
  updateFact,
  updateKey,
} from '@moot/crdt-state'
import type { Api } from '../call.ts'
import { updateStatus } from '../task-view.ts'

/**
 * Docker: whoever updates a service whose update is paused lets it go on, whatever else the write changes ("docker service update",
 * FailureAction). A write that begins an update of its own has nothing to resume.
 *
 * @param service as it was before the write.
 * @param written as it is after it: the client may have asked on top of an older version, from before the paused update.
 * @returns warnings.
 */
export async function resumeUpdate(
  api: Api,
  service: Resource<ServiceSpec>,
  written: ServiceSpec,
  author: Author,
): Promise<readonly string[]> {
  if (updateKey(written) !== updateKey(service.spec)) return []
  const state = updateStatus(api, service)?.State
  if (state !== 'paused' && state !== 'rollback_paused') return []
  const key = updateFact.resumed(specDigest(written), `${author.node}-${author.atMs}`)
  const facts = new Map([[key, { atMs: author.atMs }]])
  return (await api.cluster.addFacts('service', service.id, facts, author)).warnings
}
