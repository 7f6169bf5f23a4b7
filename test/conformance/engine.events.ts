import type { Engine, EngineEvent } from '../../packages/agent/src/ports/engine.ts'

/** What an engine has told, and a way to wait for what it is still to tell. */
export class EventRecorder {
  readonly seen: EngineEvent[] = []
  readonly atMs: number[] = []
  readonly #stop = new AbortController()
  readonly #waiters = new Set<() => void>()
  readonly #done: Promise<void>

  constructor(engine: Engine) {
    this.#done = this.#read(engine)
  }

  /** The first event, from `from` on, that passes; fails after `timeoutMs` with all that was told. */
  async until(
    sentence: string,
    test: (event: EngineEvent) => boolean,
    { from = 0, timeoutMs = 20_000 } = {},
  ): Promise<EngineEvent> {
    const deadline = AbortSignal.timeout(timeoutMs)
    for (let at = from; ; at++) {
      while (at >= this.seen.length) {
        if (deadline.aborted) throw new Error(`not told: ${sentence}\n${JSON.stringify(this.seen, null, 1)}`)
        await this.#change(deadline)
      }
      const event = this.seen[at]
      if (event !== undefined && test(event)) return event
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #read(engine: Engine): Promise<void> {
    for await (const event of engine.events(this.#stop.signal)) {
      this.seen.push(event)
      this.atMs.push(performance.now())
      for (const wake of this.#waiters) wake()
    }
  }

  async #change(deadline: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#waiters.add(wake)
    deadline.addEventListener('abort', wake, { once: true })
    await promise
    this.#waiters.delete(wake)
    deadline.removeEventListener('abort', wake)
  }
}
