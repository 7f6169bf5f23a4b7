import {
  digestId,
  slotId,
  specDigest,
  updateKey,
  type NetworkSpec,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  type SlotId,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import { slotKey } from '../lease/contract.ts'
import type { SlotKey } from '../lease/messages.ts'
import { attachedTo, networkOf, predefinedNetworks, publishesInIngress } from '../network/attachments.ts'
import { constraintsOf } from '../placement/misfit.ts'
import type { TaskSetup } from './actions.ts'
import type { Draft } from './draft.ts'
import type { ReconcileInput } from './input.ts'
import { needOf } from './lease-need.ts'

/**
 * A hash, so that the core draws nothing. The record's sequence is in it because the same slot may be claimed twice
 * with one attempt (withdrawn and forgotten in between), and a task's id must never come back to life.
 */
export function newTaskId(draft: Draft, slot: SlotId, attempt: number): TaskId {
  const { node, epoch, seq } = draft.own
  return digestId('task', slot, String(attempt), node, String(epoch), String(seq)) as TaskId
}

/** The spec that a task runs, which need not be the service's newest. */
export function specOfTask(
  { input }: { readonly input: Pick<ReconcileInput, 'view' | 'specAt'> },
  task: TaskEntry,
): ServiceSpec | undefined {
  const service = input.view.services.get(task.service)
  if (service !== undefined && specDigest(service.spec) === task.digest) return service.spec
  return input.specAt(task.service, task.digest)
}

/** It says that it leaves its slot for an update that something newer has overtaken: its node has not heard of that yet. */
export function leavesForOlder({ leaves }: TaskEntry, { spec }: Resource<ServiceSpec>): boolean {
  return leaves !== undefined && leaves.update !== updateKey(spec)
}

/** What the engine needs to make a task's container, or what is still missing here. */
export function setupOf(
  draft: Draft,
  task: TaskEntry,
):
  | { readonly kind: 'ready'; readonly setup: TaskSetup }
  | { readonly kind: 'missing'; readonly what: string } {
  const { view } = draft.input
  const service = view.services.get(task.service)
  const spec = specOfTask(draft, task)
  if (service === undefined || spec === undefined) {
    return {
      kind: 'missing',
      what: `spec ${task.digest} of service ${task.service} is not known on this node yet`,
    }
  }
  const networks: Resource<NetworkSpec>[] = []
  for (const { Target } of attachedTo(spec)) {
    const network = networkOf(view.networks, Target)
    if (network !== undefined) networks.push(network)
    else if (!predefinedNetworks.has(Target)) {
      return { kind: 'missing', what: `network ${Target} is not known on this node yet` }
    }
  }
  const lease = setupLease(draft, task, service)
  return {
    kind: 'ready',
    setup: { task, service, spec, networks, overlays: [], ...(lease !== undefined && { lease }) },
  }
}

function setupLease(
  draft: Draft,
  { service: id, slot, fence, leased }: TaskEntry,
  service: Resource<ServiceSpec>,
): TaskSetup['lease'] {
  if (leased !== undefined) return { slot: leased as SlotKey, fence }
  if (needOf(draft, id, slot) === undefined) return undefined
  return { slot: slotKey(service.name, slot), fence: undefined }
}

/** Do nodes send traffic to its tasks, by its name on a network or by a port that every node answers on? */
export function isBalanced(spec: ServiceSpec): boolean {
  return attachedTo(spec).some(({ Target }) => !predefinedNetworks.has(Target)) || publishesInIngress(spec)
}

/** What is remembered in a task of the constraints that hold now. */
export function placedBy(spec: ServiceSpec): Pick<TaskEntry, 'constraints'> {
  const constraints = constraintsOf(spec)
  return constraints.length === 0 ? {} : { constraints }
}

export function isGlobal(spec: ServiceSpec): boolean {
  return spec.Mode.Global !== undefined || spec.Mode.GlobalJob !== undefined
}

/** Docker's default is one replica. */
export function replicasOf(spec: ServiceSpec): number {
  return spec.Mode.Replicated?.Replicas ?? 1
}

/** Does the spec ask for this slot? Of a global service every node's slot may be asked for. */
export function asksFor(spec: ServiceSpec, slot: Slot): boolean {
  return isGlobal(spec) ? typeof slot === 'string' : typeof slot === 'number' && slot <= replicasOf(spec)
}

/** Slots in the order in which they are updated: replicas by number, a global service's by node id. */
export function compareSlots(a: Slot, b: Slot): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0
}

export function slotIdOf(service: ServiceId, slot: Slot): SlotId {
  return slotId(service, slot)
}

/** Docker's durations are nanoseconds. */
export function toMs(nanoseconds: number): number {
  return Math.round(nanoseconds / 1_000_000)
}

/** How long its container may take to stop, ms. */
export function stopGraceOf(spec: ServiceSpec | undefined, settings: Pick<Defaults, 'stopGraceMs'>): number {
  const given = spec?.TaskTemplate.ContainerSpec.StopGracePeriod
  return given === undefined ? settings.stopGraceMs : toMs(given)
}
