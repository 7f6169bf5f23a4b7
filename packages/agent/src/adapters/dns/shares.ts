/** Places for so many at once, of which one asker has a part at most: nobody takes all of them from the others. */
export class Shares {
  readonly #max: number
  readonly #maxEach: number
  readonly #taken = new Map<string, number>()
  #all = 0

  constructor(max: number, maxEach: number) {
    this.#max = max
    this.#maxEach = maxEach
  }

  /** False: there is none free. Each that was taken is given back. */
  take(asker: string): boolean {
    const own = this.#taken.get(asker) ?? 0
    if (this.#all >= this.#max || own >= this.#maxEach) return false
    this.#all++
    this.#taken.set(asker, own + 1)
    return true
  }

  giveBack(asker: string): void {
    const own = (this.#taken.get(asker) ?? 0) - 1
    this.#all--
    if (own > 0) this.#taken.set(asker, own)
    else this.#taken.delete(asker)
  }
}
