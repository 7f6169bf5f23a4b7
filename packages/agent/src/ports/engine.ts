import type { ContainerId, ServiceId, TaskId } from '@moot/crdt-state'
import type { ContainerObservation, GuestObservation, Overlay, TaskSetup } from '../core/reconcile/actions.ts'

export interface EngineFacts {
  readonly version: string
  readonly apiVersion: string
  readonly hostname: string
  readonly os: string
  readonly architecture: string
  /** Changes when the host boots (kernel boot id and the host's own pid namespace), not when the engine restarts. */
  readonly bootId: string
  readonly nanoCpus: number
  readonly memoryBytes: number
  readonly generic: readonly { readonly kind: string; readonly value: number | readonly string[] }[]
  readonly labels: Readonly<Record<string, string>>
  readonly plugins: readonly { readonly type: string; readonly name: string }[]
  /** How it makes containers' cgroups (`cgroupfs`, `systemd`, `none`); a rootless one cannot be given a parent of ours. */
  readonly cgroups: { readonly driver: string; readonly isRootless: boolean }
}

/** A change of one of our containers, as it happens. `listed-again` = events may have been lost: list. */
export type EngineEvent =
  | { readonly kind: 'container'; readonly observation: ContainerObservation }
  | { readonly kind: 'removed'; readonly task: TaskId; readonly container: ContainerId }
  /** Something of a container that is not ours, or a network was removed: who is on our networks may be another. */
  | { readonly kind: 'guests' }
  /** A volume was made or removed. */
  | { readonly kind: 'volumes' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'disconnected'; readonly error: string }

/**
 * The local Docker engine. It knows and touches only containers that carry this cluster's and this node's labels.
 * Every call may reject with `EngineUnavailableError` (the engine does not answer), `TaskRejectedError` (this spec
 * cannot run here) or `EngineCallError` (anything else, with Docker's status and message).
 */
export interface Engine {
  facts(signal: AbortSignal): Promise<EngineFacts>
  /** All containers of ours, running or not. */
  list(signal: AbortSignal): Promise<readonly ContainerObservation[]>
  /** Has the process of a container that ran ended, as the host's kernel knows without the engine? No where that cannot be told. */
  hasEnded(container: ContainerObservation): boolean
  /** Names of the volumes whose data is on this host, whoever made them; not those without a name, nor `FreshVolumes`. */
  volumes(signal: AbortSignal): Promise<readonly string[]>
  /** Ends when aborted; reconnects with back-off by itself and says `connected` and `disconnected`. */
  events(signal: AbortSignal): AsyncIterable<EngineEvent>
  prepare(setup: TaskSetup, signal: AbortSignal): Promise<void>
  /** Idempotent by task id: a container that exists for this task is returned. */
  create(setup: TaskSetup, signal: AbortSignal): Promise<ContainerObservation>
  start(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation>
  /** Resolves when the container is stopped (or gone). */
  stop(
    container: ContainerId,
    graceMs: number,
    signal: AbortSignal,
  ): Promise<ContainerObservation | undefined>
  remove(container: ContainerId, signal: AbortSignal): Promise<void>
  /** This engine's name of a network that reaches over hosts; it is made where it is missing. */
  network(overlay: Overlay, signal: AbortSignal): Promise<string>
  /** All containers on networks of ours that are no tasks. */
  guests(signal: AbortSignal): Promise<readonly GuestObservation[]>
  /** Takes one of these off its network; it runs on. No error where it is not there any more. */
  detach(guest: GuestObservation, signal: AbortSignal): Promise<void>
  /** Removes networks that Moot made for networks and services that are gone. */
  sweep(
    wanted: { readonly services: ReadonlySet<ServiceId>; readonly networks: ReadonlySet<string> },
    signal: AbortSignal,
  ): Promise<void>
  /** Docker's raw log stream of a task's container (multiplexed frames unless it has a TTY). */
  logs(
    container: ContainerId,
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>
}
