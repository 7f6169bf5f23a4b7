import type { ContainerId, TaskEntry, TaskId } from '@moot/crdt-state'
import type { ContainerObservation } from '../reconcile/actions.ts'
import type { ReconcileInput } from '../reconcile/input.ts'
import { specOfTask } from '../reconcile/spec.ts'
import { hasProbes, probesOf } from './labels.ts'
import type { HealthProbes, ProbeRole } from './probe.ts'

/** A running container, what is to be asked of it, and where. */
export interface Subject {
  readonly task: TaskId
  readonly container: ContainerId
  readonly probes: HealthProbes
  /** Undefined: it has none that this host could reach. */
  readonly address: string | undefined
  /** It was well before, by its record. */
  readonly isUp: boolean
  /** What its probes said last, by its record: why it is not ready, or not alive. */
  readonly failed: { readonly [Role in Exclude<ProbeRole, 'startup'>]?: string }
}

/**
 * This node's tasks that are to be probed. A task is asked what its own spec says: while an update goes on, the older
 * tasks have the older labels, which fit to their image.
 */
export function subjectsOf(
  input: Pick<ReconcileInput, 'view' | 'specAt' | 'containers'>,
): readonly Subject[] {
  const own = input.view.records.get(input.view.self)
  const subjects: Subject[] = []
  for (const task of own?.tasks.values() ?? []) {
    if (isLeaving(task)) continue
    const container = runningContainer(input.containers.get(task.id), task)
    const spec = container === undefined ? undefined : specOfTask({ input }, task)
    if (container === undefined || spec === undefined) continue
    const probes = probesOf(spec)
    if (!hasProbes(probes)) continue
    const isHostNetwork = (spec.TaskTemplate.Networks ?? spec.Networks ?? []).some(
      ({ Target }) => Target === 'host',
    )
    subjects.push({
      task: task.id,
      container: container.container,
      probes,
      address: isHostNetwork ? '127.0.0.1' : addressOf(container.addresses ?? task.addresses),
      isUp: task.state === 'running',
      failed: failedOf(task),
    })
  }
  return subjects
}

/** By Docker's health check it may be ill and unready as well. */
function failedOf({ unready, illness }: TaskEntry): Subject['failed'] {
  const [readiness] = /^readiness: .*/.exec(unready?.why ?? '') ?? []
  const [liveness] = /liveness: .*/.exec(illness?.why ?? '') ?? []
  return { ...(readiness !== undefined && { readiness }), ...(liveness !== undefined && { liveness }) }
}

/** It is being stopped: nobody asks how it is any more. */
export function isLeaving(task: TaskEntry): boolean {
  return task.desired === 'shutdown' || task.desired === 'remove' || task.illness?.kind === 'stopping'
}

function runningContainer(
  all: readonly ContainerObservation[] | undefined,
  task: TaskEntry,
): ContainerObservation | undefined {
  const running = all?.filter(({ state }) => state === 'running')
  return running?.find(({ container }) => container === task.containerId) ?? running?.[0]
}

/** Every local bridge leads to the same processes: the first will do. */
function addressOf(addresses: TaskEntry['addresses']): string | undefined {
  return addresses?.[0]?.address.split('/')[0]
}
