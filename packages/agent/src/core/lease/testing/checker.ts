import type { NodeId } from '@moot/crdt-state'
import type { Epoch, SlotKey } from '../messages.ts'

/** A task that runs, as anybody with true time in hand would see it. */
export interface RunningTask {
  readonly slot: SlotKey
  readonly node: NodeId
  readonly fence: number
  /** Runs without a lease, since it is allowed to. */
  isLoose: boolean
  /** Its node has heard that the service is not exclusive any more. */
  knowsLoosened: boolean
}

/** Looks at tasks alone, and knows nothing of voters. */
export class ExclusivityChecker {
  readonly violations: string[] = []
  /** How often a slot was got, and by how many different nodes in a row. */
  starts = 0
  moves = 0
  readonly #running = new Set<RunningTask>()
  readonly #epochs = new Map<number, string>()
  readonly #last = new Map<SlotKey, { readonly node: NodeId; readonly fence: number }>()

  /** A node believes that these vote. */
  learnt(epoch: Epoch, nowMs: number): void {
    const known = this.#epochs.get(epoch.number)
    if (known === undefined) this.#epochs.set(epoch.number, JSON.stringify(epoch))
    else if (known !== JSON.stringify(epoch))
      this.violations.push(`${nowMs}: two epochs ${epoch.number}: ${known} and ${JSON.stringify(epoch)}`)
  }

  started(task: RunningTask, nowMs: number): void {
    this.starts += 1
    const last = this.#last.get(task.slot)
    if (!task.isLoose) {
      if (last !== undefined && last.node !== task.node) this.moves += 1
      const isNewer =
        last === undefined ||
        task.fence > last.fence ||
        (task.node === last.node && task.fence === last.fence)
      if (!isNewer)
        this.violations.push(
          `${nowMs}: ${task.node} runs ${task.slot} with fence ${task.fence} after ${last?.node} with ${last?.fence}`,
        )
      this.#last.set(task.slot, task)
    }
    this.#running.add(task)
    this.look(task, nowMs)
  }

  /** Also when a task becomes loose. */
  look(task: RunningTask, nowMs: number): void {
    for (const other of this.#running) {
      if (other.slot !== task.slot || other.node === task.node || mayBoth(other, task)) continue
      this.violations.push(
        `${nowMs}: ${task.slot} runs on ${task.node} (fence ${task.fence}, ${task.isLoose ? 'loose' : 'leased'}) and on ${other.node} (fence ${other.fence}, ${other.isLoose ? 'loose' : 'leased'})`,
      )
    }
  }

  ended(task: RunningTask): void {
    this.#running.delete(task)
  }

  holderOf(slot: SlotKey): readonly RunningTask[] {
    return [...this.#running].filter((task) => task.slot === slot)
  }
}

/** One of a node that believes in exclusivity, and another: never. */
function mayBoth(a: RunningTask, b: RunningTask): boolean {
  return a.knowsLoosened && b.knowsLoosened
}
