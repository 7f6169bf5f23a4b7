import {
  isClaim,
  specDigest,
  updateFact,
  type NodeId,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type SpecDigest,
  type TaskEntry,
} from '@moot/crdt-state'
import { serviceTasks } from '../service-tasks.ts'
import { isStewardOf } from '../steward.ts'
import type { Draft } from './draft.ts'
import type { Conclusion } from './input.ts'
import { isDue } from './draft.ts'
import { culpritOf, isOver, isServing, monitorMs, ownProgress } from './progress.ts'
import { asksFor } from './spec.ts'

/**
 * What became of an update is written down beside the spec, by one of those who see it: that it failed, so that all go
 * back; that it ended well, so that it may be gone back to. Two who write the same do no harm (DESIGN section 1).
 */
export function concludeUpdate(draft: Draft, service: Resource<ServiceSpec>): void {
  const id = service.id as ServiceId
  const digest = specDigest(service.spec)
  if (isConcluded(service)) return
  if (!isSteward(draft, id, (record) => hasPart(record, service, digest))) return
  const outcome = outcomeOf(draft, service)
  if (outcome !== undefined) draft.conclusions.push({ service: id, digest, outcome })
}

/** What was gone back to has been proven before; and whoever goes back by hand does not want to go forth again. */
function isConcluded({ rolledBack, facts, spec }: Resource<ServiceSpec>): boolean {
  return rolledBack || facts.has(updateFact.completed(specDigest(spec)))
}

/** Is it to be written down that it runs well, though no slot had to be changed for it? The spec that was there first needs no proof. */
export function isUnproven(service: Resource<ServiceSpec>): boolean {
  return !isConcluded(service) && service.previous !== undefined
}

function outcomeOf(draft: Draft, service: Resource<ServiceSpec>): Conclusion['outcome'] | undefined {
  const progress = ownProgress(draft, service)
  if (!progress.paused) {
    // What goes on whatever fails may end with nothing that is well.
    const isWell =
      progress.positions.length === 0
        ? runsInFull(draft, service)
        : isOver(progress) && progress.settledWell > 0
    return isWell ? { kind: 'completed' } : undefined
  }
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
function hasPart(record: NodeRecord, service: Resource<ServiceSpec>, digest: SpecDigest): boolean {
  const id = service.id as ServiceId
  const claims = serviceTasks(record, id).filter(isClaim)
  if (claims.length === 0) return false
  return isUnproven(service) || record.updates.has(id) || claims.some((task) => task.digest !== digest)
}

/**
 * All its slots run it, and this node's have for Monitor: what was written while it had no replicas, or none that had a place, is proven
 * without a step.
 */
function runsInFull(draft: Draft, service: Resource<ServiceSpec>): boolean {
  const { spec } = service
  const id = service.id as ServiceId
  const isWell = (task: TaskEntry): boolean =>
    isServing(task) &&
    task.illness === undefined &&
    task.unready === undefined &&
    task.digest === specDigest(spec)
  const own = [...draft.tasks.values()].filter((task) => task.service === id && isClaim(task))
  const watchMs = monitorMs(draft, service)
  if (!own.every((task) => isWell(task) && isDue(draft, task.stateAtMs, watchMs))) return false
  const { liveness, view } = draft.input
  const slots = new Set<Slot>()
  for (const [node, record] of view.records) {
    if (liveness.get(node)?.kind === 'down') continue
    const claims = serviceTasks(record, id).filter((task) => isClaim(task) && asksFor(spec, task.slot))
    if (!claims.every(isWell)) return false
    for (const { slot } of claims) slots.add(slot)
  }
  return slots.size > 0 && slots.size >= (spec.Mode.Replicated?.Replicas ?? 0)
}
