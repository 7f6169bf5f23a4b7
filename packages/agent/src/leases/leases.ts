import type { NodeId, NodeStatus, Storage } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Voters } from '../cluster.ts'
import type { Holder } from '../core/lease/holder.ts'
import type { Epoch } from '../core/lease/messages.ts'
import type { LeaseOrders, Leases } from '../core/lease/orders.ts'
import type { LivenessMap } from '../core/membership/liveness.ts'
import type { View } from '../core/view.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { EngineFacts } from '../ports/engine.ts'
import type { ExclusiveHost } from '../ports/exclusive-host.ts'
import type { Mesh } from '../ports/mesh.ts'
import { leaseDisk } from './lease-disk.ts'
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.ts'
import { createLeaseRunner } from './lease-runner.ts'
import { type CgroupOf, createSlotGuard } from './slot-guard.ts'
import { createVoterKeeper, type VoterKeeper } from './voter-keeper.ts'

export interface LeaseOptions {
  readonly clusterId: string
  readonly self: NodeId
  /** Grows with each start: the record's boot epoch. */
  readonly life: number
  readonly isFounder: boolean
  readonly storage: Storage
  readonly exclusive: ExclusiveHost
  readonly mesh: Mesh
  readonly clock: Clock
  readonly settings: Defaults
  readonly logger: Logger
  readonly random: () => number
  readonly randomHex: (bytes: number) => string
  readonly isMember: (node: NodeId) => boolean
  readonly view: () => View
  readonly liveness: () => LivenessMap
  readonly engineFacts: () => EngineFacts | undefined
  readonly nameOf: (node: NodeId) => string
  /** Some slot's lease is another, or is watched now, or is not any more. */
  readonly changed: () => void
  /** This node knows other voters: its record has to say so. */
  readonly epochChanged: () => void
}

/** One node's part in leases, as its member and its people use it. */
export interface NodeLeases {
  leases(): Leases
  ordered(orders: LeaseOrders, isAll: boolean): void
  seat(): NonNullable<NodeStatus['seat']>
  voters(): Voters
  force(nodes: readonly NodeId[]): Promise<Epoch>
  handOver(signal: AbortSignal): Promise<void>
  isLostWithoutSelf(): boolean
  counters(): { readonly lost: number; readonly refused: number }
  start(): void
  /** Leases are not given back: tasks run on, and the next agent adopts them. */
  stop(): Promise<void>
}

export async function openLeases(options: LeaseOptions): Promise<NodeLeases> {
  const { self, clock, settings, exclusive } = options
  let keeper: LeaseKeeper | undefined
  let voters: VoterKeeper | undefined
  let followed: Holder | undefined
  const runner = await createLeaseRunner({
    ...options,
    disk: leaseDisk({ ...options, memory: exclusive.memory }),
    changed() {
      const { holder } = runner.member()
      // Most of what a voter hears concerns others.
      if (holder !== followed) keeper?.follow()
      followed = holder
      voters?.follow()
    },
  })
  const guard = createSlotGuard({
    watchdog: exclusive.watchdog(),
    cgroupOf: cgroupsOf(options),
    clock,
    settings,
    changed: () => keeper?.follow(),
  })
  const kept = (keeper = createLeaseKeeper({
    runner,
    guard,
    clock,
    settings,
    nameOf: options.nameOf,
    changed: options.changed,
  }))
  const voting = (voters = createVoterKeeper({
    self,
    view: options.view,
    liveness: options.liveness,
    runner,
    clock,
    settings,
    changed: options.epochChanged,
  }))
  return {
    leases: () => kept.leases(),
    ordered: (orders, isAll) => kept.ordered(orders, isAll),
    seat: () => voting.seat(),
    voters: () => ({
      epoch: voting.epoch(),
      candidates: voting.candidates(),
      health: voting.health(options.nameOf),
    }),
    force: (nodes) => voting.force(nodes),
    handOver: (signal) => voting.handOver(signal),
    isLostWithoutSelf: () => voting.isLostWithoutSelf(),
    counters: () => runner.counters(),
    start() {
      runner.start()
      guard.start()
      voting.start()
    },
    async stop() {
      voting.stop()
      kept.stop()
      await guard.stop()
      await runner.stop()
    },
  }
}

function cgroupsOf({ clusterId, self, engineFacts, exclusive }: LeaseOptions): CgroupOf {
  return (slot) => {
    const cgroups = engineFacts()?.cgroups
    if (cgroups === undefined) return { why: 'its engine has not said yet how it makes cgroups' }
    if (cgroups.isRootless) return { why: 'its engine is rootless: run Docker as root on this host' }
    const path = exclusive.cgroup({ cluster: clusterId, node: self, slot }, cgroups.driver)
    return path === undefined
      ? {
          why: `its engine makes cgroups by "${cgroups.driver}": set Docker's cgroup driver to cgroupfs or systemd`,
        }
      : { path }
  }
}
