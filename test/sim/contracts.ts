import type { Deed } from './acts.ts'

/** What people have asked for of each service's partition contract, whether they were answered or not. */
export class Contracts {
  readonly #exclusive = new Set<string>()
  readonly #available = new Set<string>()
  readonly #tightened = new Set<string>()
  readonly #loosenedAtMs = new Map<string, number>()

  say(deed: Deed, atMs: number): void {
    switch (deed.kind) {
      case 'deploy':
        return this.#set(deed.service, deed.shape.exclusive === true, atMs)
      case 'contract':
        return this.#set(deed.service, deed.exclusive, atMs)
      case 'rollback':
      case 'restore':
        // Whatever it was before.
        return this.#undo(deed.service, atMs)
      case 'image':
        // One that fails goes back by itself, with all that was written since.
        if (!/:good/.test(deed.image)) this.#undo(deed.service, atMs)
        return
      default:
    }
  }

  /** It was exclusive at some time. */
  isOrWasExclusive(service: string): boolean {
    return this.#exclusive.has(service)
  }

  /** It has been made exclusive, perhaps, when copies of it may have run that were not. */
  mayHaveTightened(service: string): boolean {
    return this.#tightened.has(service)
  }

  /** When that may have been last: what was leased then may have run without a lease ever since. */
  mayHaveLoosenedAtMs(service: string): number {
    return this.#loosenedAtMs.get(service) ?? -Infinity
  }

  #set(service: string, isExclusive: boolean, atMs: number): void {
    if (isExclusive) {
      if (this.#available.has(service)) this.#tightened.add(service)
      this.#exclusive.add(service)
    } else {
      this.#available.add(service)
      this.#loosenedAtMs.set(service, atMs)
    }
  }

  #undo(service: string, atMs: number): void {
    if (!this.#available.has(service)) return
    this.#tightened.add(service)
    this.#loosenedAtMs.set(service, atMs)
  }
}
