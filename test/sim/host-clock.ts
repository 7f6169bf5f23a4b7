import { type Clock, sleepBy } from '../../packages/agent/src/ports/clock.ts'

/**
 * A host's own clock. It runs a little fast or slow, counts on while a process stands still, and begins anew with the
 * host's power: CLOCK_BOOTTIME, which nobody sets.
 */
export class HostClock implements Clock {
  readonly #world: Clock
  readonly #usualRate: number
  #rate: number
  #sinceMs: number
  #ownMs: number
  readonly sleep: Clock['sleep'] = sleepBy((ms, callback) => this.after(ms, callback))

  /** @param upForMs what it says now. */
  constructor(world: Clock, rate: number, upForMs: number) {
    this.#world = world
    this.#usualRate = rate
    this.#rate = rate
    this.#sinceMs = world.monotonicMs()
    this.#ownMs = upForMs
  }

  monotonicMs(): number {
    return this.#ownMs + (this.#world.monotonicMs() - this.#sinceMs) * this.#rate
  }

  bootMs(): number {
    return this.monotonicMs()
  }

  wallMs(): number {
    return this.#world.wallMs()
  }

  /** A timer that is set keeps the rate that it was set with. */
  after(ms: number, callback: () => void): () => void {
    return this.#world.after(ms / this.#rate, callback)
  }

  setRate(rate = this.#usualRate): void {
    this.#ownMs = this.monotonicMs()
    this.#sinceMs = this.#world.monotonicMs()
    this.#rate = rate
  }

  restart(): void {
    this.#sinceMs = this.#world.monotonicMs()
    this.#ownMs = 0
  }
}
