import type { EngineEvent } from './engine.ts'

/**
 * What stands between an engine's events and one reader. Bounded: a reader that falls behind loses the backlog and is
 * told `disconnected` and `connected`, as after any other loss, and so lists again.
 */
export class EngineEventQueue implements AsyncIterable<EngineEvent> {
  readonly #limit: number
  #events: EngineEvent[] = []
  #wake: (() => void) | undefined
  #ended = false
  /** Events that were dropped at the bound, for metrics. */
  dropped = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(event: EngineEvent): void {
    if (this.#ended) return
    if (this.#events.length >= this.#limit) {
      this.dropped += this.#events.length
      this.#events = [
        { kind: 'disconnected', error: `events lost: more than ${this.#limit} waited to be read` },
        { kind: 'connected' },
      ]
    }
    this.#events.push(event)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EngineEvent> {
    while (true) {
      const batch = this.#events
      this.#events = []
      yield* batch
      if (this.#events.length > 0) continue
      if (this.#ended) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
