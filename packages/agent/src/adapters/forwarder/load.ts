import { type ForwarderCounts, nothingForwarded } from '../../ports/forwarder.ts'

/** So many connections at once, of all ports together; and what became of those that came. */
export class Load {
  readonly #max: number
  readonly counts: { -readonly [K in keyof ForwarderCounts]: number } = { ...nothingForwarded }
  #open = 0

  constructor(max: number) {
    this.#max = max
  }

  get open(): number {
    return this.#open
  }

  /** False: no more at a time. Each that was taken is given back. */
  take(): boolean {
    if (this.#open >= this.#max) {
      this.counts.turnedAway += 1
      return false
    }
    this.#open += 1
    this.counts.connections += 1
    return true
  }

  giveBack(): void {
    this.#open -= 1
  }
}
