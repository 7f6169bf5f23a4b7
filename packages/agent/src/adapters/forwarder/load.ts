/** So many at once, of all ports together. */
export class Load {
  readonly #max: number
  #open = 0
  /** Turned away since it started. */
  dropped = 0

  constructor(max: number) {
    this.#max = max
  }

  get open(): number {
    return this.#open
  }

  /** False: no more at a time. Each that was taken is given back. */
  take(): boolean {
    if (this.#open >= this.#max) {
      this.dropped += 1
      return false
    }
    this.#open += 1
    return true
  }

  giveBack(): void {
    this.#open -= 1
  }
}
