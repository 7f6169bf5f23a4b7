import {
  releaseOf,
  specDigest,
  stackOf,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type UpdateFailure,
} from '@moot/crdt-state'
import type { View } from '../view.ts'
import { isSteward } from './conclude.ts'
import type { Draft } from './draft.ts'

type Services = View['services']
type Outstanding = readonly { readonly service: Resource<ServiceSpec>; readonly because: Because }[]
interface Because {
  readonly service: string
  readonly failure: UpdateFailure
}

/**
 * One release has one outcome: where a service went back because its update failed, what the same release changed in
 * other services of the stack goes back too, whether that was completed or not. Any member may write it down, since none
 * need have a part in it any more; whether there is something to go back to is seen in the history then.
 */
export function concludeReleases(draft: Draft): void {
  if (!draft.input.synced) return
  for (const { service, because } of outstandingOf(draft.input.view.services)) {
    const id = service.id as ServiceId
    if (!isSteward(draft, id, () => true)) continue
    const release = {
      id: releaseOf(service.spec) ?? '',
      service: because.service,
      undone: because.failure.releases ?? [],
    }
    draft.conclusions.push({
      service: id,
      digest: specDigest(service.spec),
      outcome: { kind: 'failed', task: because.failure.task, release },
    })
  }
}

/** Asked in every reconciliation, and answered anew only when a service has changed. */
const known = new WeakMap<Services, Outstanding>()

function outstandingOf(services: Services): Outstanding {
  let outstanding = known.get(services)
  if (outstanding === undefined) {
    outstanding = readOutstanding(services)
    known.set(services, outstanding)
  }
  return outstanding
}

function readOutstanding(services: Services): Outstanding {
  const failed = failedReleases(services)
  if (failed.size === 0) return []
  return [...services.values()].flatMap((service) => {
    const because = failed.get(keyOf(service.spec, releaseOf(service.spec)))
    // Whoever rolled it back by hand does not want to go anywhere else; and what was created has nowhere to go.
    if (because === undefined || service.rolledBack || service.previous === undefined) return []
    return { service, because }
  })
}

/** By stack and release. */
function failedReleases(services: Services): ReadonlyMap<string, Because> {
  const failed = new Map<string, Because>()
  for (const { name, spec, failure } of services.values()) {
    for (const release of failure?.releases ?? []) {
      const key = keyOf(spec, release)
      const other = failed.get(key)
      // Of two that failed the same one is named on every node.
      if (failure !== undefined && (other === undefined || name < other.service))
        failed.set(key, { service: name, failure })
    }
  }
  return failed
}

function keyOf(spec: ServiceSpec, release: string | undefined): string {
  return JSON.stringify([stackOf(spec) ?? '', release ?? ''])
}
