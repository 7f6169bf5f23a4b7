import type {
  ContainerId,
  NetworkSpec,
  Resource,
  ResourceId,
  ServiceId,
  ServiceSpec,
  TaskEntry,
  TaskId,
} from '@moot/crdt-state'
import type { SlotKey } from '../lease/messages.ts'

/** What one container of ours looks like, as the engine reports it. */
export interface ContainerObservation {
  readonly container: ContainerId
  readonly task: TaskId
  readonly service: ServiceId
  readonly state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'
  readonly exitCode?: number
  readonly oomKilled?: boolean
  readonly error?: string
  readonly pid?: number
  /** `none` = no health check. A task with one is running only when `healthy`. */
  readonly health: 'none' | 'starting' | 'healthy' | 'unhealthy'
  readonly ports?: TaskEntry['ports']
  readonly addresses?: TaskEntry['addresses']
  /** While it runs: the own addresses of the bridges that it is on. None of one that leads nowhere else (`Internal`). */
  readonly gateways?: readonly string[]
  /** The lease under which it was made. */
  readonly lease?: ContainerLease
}

/** Of an exclusive task's container: by these it is known what may run, also where no record speaks of it any more. */
export interface ContainerLease {
  readonly slot: SlotKey
  readonly fence: number
}

/** A container on a network of the cluster that is no task's: a person put it there. */
export interface GuestObservation {
  readonly container: ContainerId
  readonly name: string
  readonly isUp: boolean
  readonly network: ResourceId
  /** The one that it was given, also while it does not run; absent: none was, and it does not run. */
  readonly address?: string
}

/** A network that reaches over hosts, as this node has it, and a container's address there (design/network.md). */
export interface Overlay {
  readonly network: Resource<NetworkSpec>
  readonly bridge: string
  /** `10.128.0.0/18` */
  readonly subnet: string
  /** This node's own address: the container's gateway and name server. */
  readonly gateway: string
  readonly address: string
}

/** All that an engine needs to make a task's container. */
export interface TaskSetup {
  readonly task: TaskEntry
  readonly service: Resource<ServiceSpec>
  /** The spec that this task runs: of the task's digest, which need not be the service's newest. */
  readonly spec: ServiceSpec
  /** Networks that the spec names, resolved. */
  readonly networks: readonly Resource<NetworkSpec>[]
  /** What it has on networks that reach over hosts, in the order of its networks. None: this node has no such networks. */
  readonly overlays: readonly Overlay[]
  /** It runs under a lease of this slot; the image is had before there is one, a container is made only with its fence. */
  readonly lease?: { readonly slot: SlotKey; readonly fence: number | undefined }
}

/** Effects of a reconciliation on the local engine. At most one is in flight per task. */
export type Action =
  /** Have the image here (present, or pulled). */
  | { readonly kind: 'prepare'; readonly task: TaskId; readonly setup: TaskSetup }
  | { readonly kind: 'create'; readonly task: TaskId; readonly setup: TaskSetup }
  | { readonly kind: 'start'; readonly task: TaskId; readonly container: ContainerId }
  /** Has everybody who sends traffic to the task told that it stops, for as long as that may take. */
  | { readonly kind: 'drain'; readonly task: TaskId }
  /** Stop signal, grace, SIGKILL. */
  | {
      readonly kind: 'stop'
      readonly task: TaskId
      readonly container: ContainerId
      readonly graceMs: number
    }
  | { readonly kind: 'remove'; readonly task: TaskId; readonly container: ContainerId }

/** What came of an action: fed back into the next reconciliation. */
export type ActionResult =
  | { readonly kind: 'done'; readonly container?: ContainerObservation }
  | {
      readonly kind: 'failed'
      readonly error: string
      /** `rejected`: this node cannot run this spec (no such image, invalid mount); `engine`: the engine is unwell. */
      readonly cause: 'rejected' | 'failed' | 'engine'
    }
