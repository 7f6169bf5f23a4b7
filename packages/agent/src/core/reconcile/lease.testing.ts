import {
  partitionLabel,
  slotId,
  type PartitionPast,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import { labelTerm } from '../lease/contract.ts'
import type { LeaseStatus } from '../lease/lease-status.ts'
import type { SlotKey } from '../lease/messages.ts'
import type { Leases } from '../lease/orders.ts'
import type { ContainerObservation } from './actions.ts'
import { reconcile } from './reconcile.ts'
import { containerFor, inputOf, serviceOf, type Scene } from './testing.ts'

export const key = 'db.1' as SlotKey
export const term = (changes: number): number => labelTerm(1, changes)
export const labelled = (value: string | undefined, changes = 1): Resource<ServiceSpec> => {
  const partition: PartitionPast = { changes, wasExclusive: true }
  return {
    ...serviceOf('db', { Labels: value === undefined ? {} : { [partitionLabel]: value } }),
    partition,
  }
}
export const db = labelled('exclusive')
export const slot = slotId(db.id as ServiceId, 1)
export const held = (fence: number): LeaseStatus => ({ kind: 'held', fence, deadlineMs: 1_009_000 })
export const waiting: LeaseStatus = { kind: 'waiting' }
export const leasesOf = (status: LeaseStatus, more: Partial<Leases> = {}): Leases => ({
  isReady: true,
  status: () => status,
  explain: () => '',
  ...more,
})
export const run = (scene: Scene) => reconcile(inputOf(scene))
export const leased = (fence: number): Partial<TaskEntry> => ({ fence, leased: key })
export const upWith = (task: TaskEntry, state: ContainerObservation['state'] = 'running', more = {}) =>
  containerFor(task, state, {
    ...(task.fence !== undefined && { lease: { slot: key, fence: task.fence } }),
    ...more,
  })
export const wanted = { term: term(1), as: 'exclusive' }
export const prepared = (task: TaskEntry): NonNullable<Scene['results']> => ({
  [task.id]: { action: 'prepare', result: { kind: 'done' } },
})
