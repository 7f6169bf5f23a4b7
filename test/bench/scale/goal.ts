import type { NodeRecord, TaskEntry } from '@moot/crdt-state'
import type { VirtualAgent } from './agent.ts'
import type { Calendar } from './calendar.ts'

/** So many tasks of a kind are to run, and every living agent is to know it. Counted as records come, not by looking. */
export class Goal {
  /** When the last of them ran, and when the last agent knew; undefined: not (or no longer). */
  ranAtMs: number | undefined
  knownAtMs: number | undefined
  readonly #calendar: Calendar
  readonly #agents: readonly VirtualAgent[]
  readonly #wanted: (task: TaskEntry) => boolean
  readonly #target: number
  /** What each agent's newest record holds of it. */
  readonly #own: Int32Array
  /** What each agent (row) knows of each other. */
  readonly #known: Int32Array
  readonly #totals: Int32Array
  #ownTotal = 0
  #reached = 0
  #living = 0

  constructor(
    calendar: Calendar,
    agents: readonly VirtualAgent[],
    wanted: (task: TaskEntry) => boolean,
    target: number,
  ) {
    const size = agents.length
    this.#calendar = calendar
    this.#agents = agents
    this.#wanted = wanted
    this.#target = target
    this.#own = Int32Array.from(agents, ({ record }, index) => this.count(index, record))
    this.#ownTotal = this.#own.reduce((sum, count) => sum + count, 0)
    // At rest everybody knows everybody's newest record.
    this.#known = new Int32Array(size * size)
    for (let index = 0; index < size; index += 1) this.#known.set(this.#own, index * size)
    this.#totals = new Int32Array(size).fill(this.#ownTotal)
    this.#living = agents.filter(({ isAlive }) => isAlive).length
    this.#reached = this.#ownTotal === target ? this.#living : 0
  }

  count(index: number, record: NodeRecord): number {
    if (this.#agents[index]?.isAlive !== true) return 0
    let count = 0
    for (const task of record.tasks.values()) if (task.state === 'running' && this.#wanted(task)) count += 1
    return count
  }

  wrote(index: number, record: NodeRecord): void {
    const count = this.count(index, record)
    this.#ownTotal += count - (this.#own[index] ?? 0)
    this.#own[index] = count
    if (this.#ownTotal !== this.#target) this.ranAtMs = undefined
    else this.ranAtMs ??= this.#calendar.nowMs
    this.heard(index, index, count)
  }

  heard(index: number, source: number, count: number): void {
    if (this.#agents[index]?.isAlive !== true) return
    const at = index * this.#agents.length + source
    const before = this.#totals[index] ?? 0
    const after = before + count - (this.#known[at] ?? 0)
    this.#known[at] = count
    this.#totals[index] = after
    this.#reached += Number(after === this.#target) - Number(before === this.#target)
    if (this.#reached !== this.#living) this.knownAtMs = undefined
    else this.knownAtMs ??= this.#calendar.nowMs
  }

  get isReached(): boolean {
    return this.ranAtMs !== undefined && this.knownAtMs !== undefined
  }

  story(): string {
    return `${this.#ownTotal} of ${this.#target} run, ${this.#reached} of ${this.#living} agents know`
  }
}
