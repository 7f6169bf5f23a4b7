/** What is to happen, by true time; of one time in the order in which it was said. */
export class Timeline {
  nowMs = 0
  #heap: { readonly atMs: number; readonly serial: number; readonly act: () => void }[] = []
  #serial = 0

  at(atMs: number, act: () => void): void {
    const heap = this.#heap
    heap.push({ atMs: Math.max(atMs, this.nowMs), serial: this.#serial++, act })
    for (let child = heap.length - 1; child > 0;) {
      const parent = (child - 1) >> 1
      if (!this.#isBefore(child, parent)) break
      this.#swap(child, parent)
      child = parent
    }
  }

  after(delayMs: number, act: () => void): void {
    this.at(this.nowMs + delayMs, act)
  }

  runUntil(untilMs: number): void {
    for (;;) {
      const [first] = this.#heap
      if (first === undefined || first.atMs > untilMs) break
      this.#removeFirst()
      this.nowMs = first.atMs
      first.act()
    }
    this.nowMs = untilMs
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    heap[0] = last
    for (let parent = 0; ;) {
      let least = parent
      for (const child of [2 * parent + 1, 2 * parent + 2])
        if (child < heap.length && this.#isBefore(child, least)) least = child
      if (least === parent) return
      this.#swap(parent, least)
      parent = least
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (one === undefined || other === undefined) return false
    return one.atMs < other.atMs || (one.atMs === other.atMs && one.serial < other.serial)
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (one === undefined || other === undefined) return
    this.#heap[a] = other
    this.#heap[b] = one
  }
}

/** A host's clock: goes on at some rate from where it stood. */
export class HostClock {
  #trueMs = 0
  #localMs: number
  #rate: number

  constructor(localMs: number, rate: number) {
    this.#localMs = localMs
    this.#rate = rate
  }

  at(trueMs: number): number {
    return Math.floor(this.#localMs + (trueMs - this.#trueMs) * this.#rate)
  }

  /** The first true time at which it shows this. */
  when(localMs: number): number {
    return Math.ceil(this.#trueMs + (localMs - this.#localMs) / this.#rate)
  }

  setRate(trueMs: number, rate: number): void {
    this.#localMs += (trueMs - this.#trueMs) * this.#rate
    this.#trueMs = trueMs
    this.#rate = rate
  }

  /** A boot. */
  restart(trueMs: number, localMs: number): void {
    this.#trueMs = trueMs
    this.#localMs = localMs
  }
}
