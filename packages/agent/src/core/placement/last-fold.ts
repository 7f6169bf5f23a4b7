import { isClaim, slotId, type NodeId, type SlotId, type TaskEntry, type TaskId } from '@moot/crdt-state'
import type { SlotPlacement } from './placement.ts'

type Tasks = ReadonlyMap<TaskId, TaskEntry>

/**
 * What the last fold decided, for as long as nothing has happened since but that nodes did what it told them (and
 * that tasks went on their way). Then the law of half-executed placements says that the rest is still right, and it
 * need not be worked out again: while 1,000 nodes carry out a deployment of 10,000 tasks, every agent hears of 1,000
 * records.
 */
export class LastFold {
  #isValid = false
  readonly #to = new Map<SlotId, NodeId | undefined>()
  /** What each node has still to claim, in order. */
  readonly #queues = new Map<NodeId, SlotId[]>()

  remember(open: readonly (readonly [SlotId, SlotPlacement])[]): void {
    this.#to.clear()
    this.#queues.clear()
    this.#isValid = true
    for (const [id, where] of open) {
      const to = where.kind === 'vacant' || where.kind === 'moving' ? where.to : undefined
      this.#to.set(id, to)
      if (to === undefined) continue
      const queue = this.#queues.get(to)
      if (queue === undefined) this.#queues.set(to, [id])
      else queue.push(id)
    }
  }

  /** Something else happened. */
  forget(): void {
    this.#isValid = false
  }

  /** A node's tasks have changed: was it told to? */
  observe(node: NodeId, before: Tasks | undefined, after: Tasks | undefined): void {
    if (!this.#isValid) return
    const claimed = new Set<SlotId>()
    for (const [id, task] of before ?? []) {
      const now = after?.get(id)
      if (now !== task && (now === undefined || !claimsAlike(task, now))) return this.forget()
    }
    for (const [id, task] of after ?? []) {
      if (before?.has(id) === true) continue
      if (!isClaim(task) || task.done === true || (task.ports?.length ?? 0) > 0) return this.forget()
      claimed.add(slotId(task.service, task.slot))
    }
    // Rule 2: what it claims is the beginning of what it was given; else the law does not hold.
    const queue = this.#queues.get(node) ?? []
    const isPrefix =
      queue.length >= claimed.size && queue.slice(0, claimed.size).every((id) => claimed.has(id))
    if (!isPrefix) this.forget()
  }

  /** Where these slots still go; undefined where that must be worked out anew. */
  decisions(open: readonly SlotId[]): ReadonlyMap<SlotId, NodeId | undefined> | undefined {
    return this.#isValid && open.every((id) => this.#to.has(id)) ? this.#to : undefined
  }
}

/** Do both say the same to placement? A task's way from `assigned` to `running` changes nothing. */
export function claimsAlike(before: TaskEntry, after: TaskEntry): boolean {
  return (
    isClaim(before) === isClaim(after) &&
    before.done === after.done &&
    before.slot === after.slot &&
    before.service === after.service &&
    before.attempt === after.attempt &&
    before.digest === after.digest &&
    before.leaves?.update === after.leaves?.update &&
    isSameList(before.constraints, after.constraints) &&
    before.balance?.kind === after.balance?.kind &&
    isSameList(before.balance?.shares, after.balance?.shares) &&
    isSameList(before.ports, after.ports) &&
    isSameList(before.assumed, after.assumed)
  )
}

function isSameList(before: readonly unknown[] | undefined, after: readonly unknown[] | undefined): boolean {
  return before === after || JSON.stringify(before ?? []) === JSON.stringify(after ?? [])
}
