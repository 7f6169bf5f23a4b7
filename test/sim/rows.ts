import type { NodeId, ServiceSpec, TaskId } from '@moot/crdt-state'

/** One service as an agent's API tells of it, as far as it is looked at here. */
export interface ServiceRow {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: ServiceSpec
  readonly UpdateStatus?: { readonly State: string; readonly Message?: string }
}

export interface NodeRow {
  readonly ID: NodeId
  readonly Version: { readonly Index: number }
  readonly Spec: { readonly Availability: string; readonly Labels: Readonly<Record<string, string>> }
  readonly Status: { readonly State: string }
}

export interface TaskRow {
  readonly ID: TaskId
  readonly ServiceID: string
  readonly Slot?: number
  readonly Status: { readonly State: string; readonly Err?: string; readonly Message?: string }
}

export interface VotersAnswer {
  readonly health: 'well' | 'weak' | 'lost'
  readonly voters: readonly { readonly id: string; readonly problem?: string }[]
}
