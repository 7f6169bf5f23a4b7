import type { NodeId, Resource, ServiceId, ServiceSpec, Slot, SlotId, TaskId } from '@moot/crdt-state'
import { slotId } from '@moot/crdt-state'
import type { OpenSlot } from './fold.ts'
import type { NodeState } from './node-state.ts'
import type { Claim, SlotPlacement } from './placement.ts'
import type { ServiceSlots } from './slot-table.ts'
import type { Workload } from './workload.ts'

const noEntries: readonly Claim[] = []

/** What the placer remembers of one service between updates, also of one that was removed and still has tasks. */
export class ServiceState {
  readonly id: ServiceId
  resource: Resource<ServiceSpec> | undefined
  workload: Workload | undefined
  /** Every task of a slot in members' records, ended ones too: attempts and volume homes are read from them. */
  readonly entries = new Map<Slot, Claim[]>()
  readonly dirty = new Set<Slot>()
  allDirty = false
  readonly open = new Map<Slot, OpenSlot>()
  readonly surplus = new Map<Slot, readonly Claim[]>()
  /** This update's decisions about `open`. */
  folded = new Map<SlotId, SlotPlacement>()
  candidates: { readonly version: number; readonly nodes: readonly NodeState[] } | undefined
  #settled = new Map<SlotId, SlotPlacement>()
  /** The map was handed out: it is copied before it is written to. */
  #isShared = false

  constructor(id: ServiceId) {
    this.id = id
  }

  get settled(): ReadonlyMap<SlotId, SlotPlacement> {
    return this.#settled
  }

  settledForWriting(): Map<SlotId, SlotPlacement> {
    if (this.#isShared) {
      this.#settled = new Map(this.#settled)
      this.#isShared = false
    }
    return this.#settled
  }

  entriesOf(slot: Slot): readonly Claim[] {
    return this.entries.get(slot) ?? noEntries
  }

  addTask(claim: Claim): void {
    const others = this.entries.get(claim.task.slot)
    if (others === undefined) this.entries.set(claim.task.slot, [claim])
    else others.push(claim)
  }

  removeTask(slot: Slot, node: NodeId, task: TaskId): void {
    const left = this.entriesOf(slot).filter((claim) => claim.node !== node || claim.task.id !== task)
    if (left.length === 0) this.entries.delete(slot)
    else this.entries.set(slot, left)
  }

  touch(slot: Slot): void {
    if (!this.allDirty) this.dirty.add(slot)
  }

  forget(slot: Slot): void {
    const id = slotId(this.id, slot)
    if (this.#settled.has(id)) this.settledForWriting().delete(id)
    this.open.delete(slot)
    this.surplus.delete(slot)
  }

  forgetAll(): void {
    this.#settled = new Map()
    this.#isShared = false
    this.open.clear()
    this.surplus.clear()
  }

  publish(workload: Workload): ServiceSlots {
    this.#isShared = true
    return {
      service: this.id,
      replicas: workload.mode.kind === 'replicated' ? workload.mode.replicas : undefined,
      settled: this.#settled,
      folded: this.folded,
    }
  }
}
