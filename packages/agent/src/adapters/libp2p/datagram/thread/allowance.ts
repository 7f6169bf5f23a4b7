/** So many in a second, and a second's worth at once (a token bucket). Times are of any one clock, in ms. */
export class Allowance {
  readonly #perSecond: number
  #left: number
  #atMs: number | undefined

  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#left = perSecond
  }

  take(nowMs: number): boolean {
    const passedMs = Math.max(0, nowMs - (this.#atMs ?? nowMs))
    this.#atMs = nowMs
    this.#left = Math.min(this.#perSecond, this.#left + (passedMs * this.#perSecond) / 1_000)
    if (this.#left < 1) return false
    this.#left -= 1
    return true
  }
}
