/** Virtual time: what is due runs in order of time, then in the order in which it was asked for. */
export interface Timeline {
  readonly nowMs: number
  after(delayMs: number, run: () => void): void
  /** Runs all that is due until `nowMs` + `durationMs`. */
  advance(durationMs: number): void
}

interface Due {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

export function createTimeline(): Timeline {
  const heap: Due[] = []
  let nowMs = 0
  let order = 0

  function before(a: Due, b: Due): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
  }

  function push(due: Due): void {
    heap.push(due)
    let index = heap.length - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (before(heap[parent]!, due)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = due
  }

  function pop(): Due {
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1
      if (before(last, heap[child]!)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
    return first
  }

  return {
    get nowMs() {
      return nowMs
    },
    after(delayMs, run) {
      order += 1
      push({ atMs: nowMs + Math.max(0, delayMs), order, run })
    },
    advance(durationMs) {
      const endMs = nowMs + durationMs
      while (heap[0] !== undefined && heap[0].atMs <= endMs) {
        const due = pop()
        nowMs = due.atMs
        due.run()
      }
      nowMs = endMs
    },
  }
}
