import { type Clock, sleepBy } from '../../../packages/agent/src/ports/clock.ts'

/** Virtual time in whole milliseconds: what is to happen when, in the order in which it was asked for. */
export class Calendar {
  nowMs = 0
  readonly #due = new Map<number, (() => void)[]>()

  after(delayMs: number, act: () => void): void {
    const atMs = this.nowMs + Math.max(0, Math.round(delayMs))
    const others = this.#due.get(atMs)
    if (others === undefined) this.#due.set(atMs, [act])
    else others.push(act)
  }

  /** As a clock of one agent. */
  clock(): Clock {
    const after: Clock['after'] = (delayMs, act) => {
      let isCancelled = false
      this.after(delayMs, () => {
        if (!isCancelled) act()
      })
      return () => {
        isCancelled = true
      }
    }
    const now = (): number => this.nowMs
    return { monotonicMs: now, bootMs: now, wallMs: now, after, sleep: sleepBy(after) }
  }

  /** Until `isOver` says so, which is asked once a millisecond. False: it did not within the limit. */
  run(limitMs: number, isOver: () => boolean): boolean {
    const endMs = this.nowMs + limitMs
    for (;;) {
      const due = this.#due.get(this.nowMs) ?? []
      // What is added for this very millisecond is at the end of the same list.
      for (const act of due) act()
      this.#due.delete(this.nowMs)
      this.nowMs += 1
      if (isOver()) return true
      if (this.nowMs >= endMs) return false
    }
  }
}
