import type { ContainerId } from '@moot/crdt-state'

/**
 * Volumes that were made for containers which have not run yet: there is no data in them, and where such a container
 * never runs (its start is refused, its claim withdrawn) they must tie no slot. Forgotten with the process: then they count
 * as any other's.
 */
export class FreshVolumes {
  readonly #users = new Map<string, Set<ContainerId>>()

  has(volume: string): boolean {
    return this.#users.has(volume)
  }

  /** @param made of the volumes that the container uses those that were not there before. */
  created(container: ContainerId, uses: readonly string[], made: ReadonlySet<string>): void {
    for (const volume of uses) {
      if (made.has(volume) && !this.#users.has(volume)) this.#users.set(volume, new Set())
      this.#users.get(volume)?.add(container)
    }
  }

  /** It writes what it will. */
  started(container: ContainerId): void {
    for (const [volume, users] of this.#users) if (users.has(container)) this.#users.delete(volume)
  }

  /** What stays of a container that never ran may be anybody's by now. */
  removed(container: ContainerId): void {
    for (const [volume, users] of this.#users) {
      users.delete(container)
      if (users.size === 0) this.#users.delete(volume)
    }
  }
}
