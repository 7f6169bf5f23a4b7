import type { Deed } from './acts.ts'

/** What people have asked for of each service's partition contract, whether they were answered or not. */
export class Contracts {
  readonly #exclusive = new Set<string>()
  readonly #available = new Set<string>()
  readonly #tightened = new Set<string>()

  say(deed: Deed): void {
    switch (deed.kind) {
      case 'deploy':
        return this.#set(deed.service, deed.shape.exclusive === true)
      case 'contract':
        return this.#set(deed.service, deed.exclusive)
      case 'rollback':
      case 'restore':
        // Whatever it was before.
        return this.#undo(deed.service)
      case 'image':
        // One that fails goes back by itself, with all that was written since.
        if (!/:good/.test(deed.image)) this.#undo(deed.service)
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

  #set(service: string, isExclusive: boolean): void {
    if (isExclusive) {
      this.#undo(service)
      this.#exclusive.add(service)
    } else this.#available.add(service)
  }

  #undo(service: string): void {
    if (this.#available.has(service)) this.#tightened.add(service)
  }
}
