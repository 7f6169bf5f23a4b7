import type { NodeId, TaskId } from '@moot/crdt-state'
import type { HealthCheck } from '../../packages/agent/src/core/health/probe.ts'
import type {
  ContainerObservation,
  GuestObservation,
  TaskSetup,
} from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Rules } from '../../packages/agent/src/core/rules.ts'
import type { Defaults } from '../../packages/agent/src/defaults.ts'
import type { MemoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import type { MemoryBehaviour } from '../../packages/agent/src/ports/engine.memory.ts'
import type { MemoryNetwork } from '../../packages/agent/src/ports/mesh.memory.ts'
import type { Listener } from '../../packages/agent/src/ports/prober.memory.ts'
import type { Host } from './host.ts'
import type { Random } from './random.ts'
import type { Sabotage } from './sabotage.ts'

/** What a host is made of, and whom it tells of what happens on it. */
export interface HostOptions {
  readonly name: string
  readonly clock: MemoryClock
  /** How fast its own clock runs, and what it says at the beginning: for how long the host has been up. */
  readonly clockRate: number
  readonly upForMs: number
  readonly network: MemoryNetwork
  /** Its own stream of chance. */
  readonly random: Random
  readonly settings: Defaults
  readonly behaviour: (setup: TaskSetup) => MemoryBehaviour
  /** The decision rules that its agent can follow; default: all. */
  readonly rules?: readonly Rules[]
  readonly sabotage?: Sabotage | undefined
  /** It is another node from now on. */
  readonly onNewKey: (host: Host, before: NodeId) => void
  /** The agent could not start; it is tried again. */
  readonly onFailedStart: (host: Host, error: unknown) => void
  readonly onContainer: (host: Host, setup: TaskSetup, observation: ContainerObservation) => void
  /** Is there a way from its cable to the gateway? */
  readonly reachesGateway: (host: Host) => boolean
  /** What answers a probe of a container of this host. */
  readonly listenerAt: (host: Host, address: string, check: HealthCheck) => Listener
  /** The power fails in the middle of a write. */
  readonly onTear: (host: Host) => void
  /** The agent ends itself for good. */
  readonly onHalt: (host: Host) => void
  /** The agent stops or removes a container that runs. */
  readonly onStop: (host: Host, task: TaskId) => void
  readonly onCreate: (host: Host, setup: TaskSetup) => void
  /** A person puts a container on a network there. */
  readonly onGuest: (host: Host, guest: GuestObservation) => void
  /** Its watchdog has killed a task whose lease is over. */
  readonly onKill: (host: Host, setup: TaskSetup) => void
}
