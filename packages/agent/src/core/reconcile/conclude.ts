import {
  isClaim,
  specDigest,
  updateFact,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SpecDigest,
} from '@moot/crdt-state'
import { serviceTasks } from '../service-tasks.ts'
import { isStewardOf } from '../steward.ts'
import type { Draft } from './draft.ts'
import type { Conclusion } from './input.ts'
import { culpritOf, isOver, ownProgress } from './progress.ts'

/**
 * What became of an update is written down beside the spec, by one of those who see it: that it failed, so that all go
 * back; that it ended well, so that it may be gone back to. Two who write the same do no harm (DESIGN section 1).
 */
export function concludeUpdate(draft: Draft, service: Resource<ServiceSpec>): void {
  const id = service.id as ServiceId
  const digest = specDigest(service.spec)
  // What was gone back to has been proven before; and whoever goes back by hand does not want to go forth again.
  if (service.rolledBack || service.facts.has(updateFact.completed(digest))) return
  if (!isSteward(draft, id, (record) => hasPart(record, id, digest))) return
  const outcome = outcomeOf(draft, service)
  if (outcome !== undefined) draft.conclusions.push({ service: id, digest, outcome })
}

function outcomeOf(draft: Draft, service: Resource<ServiceSpec>): Conclusion['outcome'] | undefined {
  const progress = ownProgress(draft, service)
  if (!progress.paused) return isOver(progress) ? { kind: 'completed' } : undefined
  if (progress.config?.FailureAction !== 'rollback') return undefined
  return { kind: 'failed', task: culpritOf(draft.input.view, service, progress) }
}

/** Of those that write records, and may write this. Whose engine is down decides nothing of updates. */
export function isSteward(
  { input: { view, liveness } }: Draft,
  service: ServiceId,
  mayWrite: (record: NodeRecord) => boolean,
): boolean {
  const { records, self } = view
  const may = (node: NodeId): boolean => {
    const record = records.get(node)
    return record !== undefined && record.status?.engine.state !== 'down' && mayWrite(record)
  }
  return isStewardOf(service, self, records.keys(), liveness, may)
}

/** As `servicesToStep` has it: it looks at the update whenever it decides anything. */
function hasPart(record: NodeRecord, service: ServiceId, digest: SpecDigest): boolean {
  const claims = serviceTasks(record, service).filter(isClaim)
  return claims.some((task) => task.digest !== digest) || (claims.length > 0 && record.updates.has(service))
}
