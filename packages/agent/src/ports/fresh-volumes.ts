import type { ContainerId } from '@moot/crdt-state'

interface Fresh {
  /** Containers that use it, of those that have not run. */
  readonly users: Set<ContainerId>
  /** Creates under way that may make it. */
  pending: number
}

/**
 * Volumes that were made for containers of ours which have not run: there is no data in them, and where such a container
 * never runs (its start is refused, its claim withdrawn) they must tie no slot, even when it is gone again. What
 * another container uses holds data. Forgotten with the process: then they count as any other's.
 */
export class FreshVolumes {
  readonly #fresh = new Map<string, Fresh>()

  has(volume: string): boolean {
    return this.#fresh.has(volume)
  }

  /**
   * Makes a container, and notes what is made with it.
   *
   * @param missing those of the volumes it uses that were not there just now.
   */
  async during(
    uses: readonly string[],
    missing: readonly string[],
    create: () => Promise<ContainerId>,
  ): Promise<ContainerId> {
    for (const volume of missing) this.#entry(volume).pending += 1
    try {
      const container = await create()
      // Whatever has run meanwhile has taken its volumes out.
      this.noted(container, uses, [])
      return container
    } finally {
      for (const volume of missing) {
        const fresh = this.#fresh.get(volume)
        if (fresh !== undefined && fresh.pending > 0) fresh.pending -= 1
      }
    }
  }

  /** The container is made, with these volumes that were not there before. */
  noted(container: ContainerId, uses: readonly string[], made: readonly string[]): void {
    for (const volume of made) this.#entry(volume)
    for (const volume of uses) this.#fresh.get(volume)?.users.add(container)
  }

  /** It writes what it will. */
  started(container: ContainerId): void {
    for (const [volume, { users }] of this.#fresh) if (users.has(container)) this.#fresh.delete(volume)
  }

  /** A container is about to run with it: one of ours is told of by `started`, which may yet be refused. */
  mounted(volume: string, container: string): void {
    if (this.#fresh.get(volume)?.users.has(container as ContainerId) === false) this.#fresh.delete(volume)
  }

  /** It is gone; whoever makes another of that name fills it. */
  destroyed(volume: string): void {
    this.#fresh.delete(volume)
  }

  removed(container: ContainerId): void {
    for (const { users } of this.#fresh.values()) users.delete(container)
  }

  /** Of a listing in full: what was never made, or went unseen, is forgotten. */
  listed(volumes: ReadonlySet<string>): void {
    for (const [volume, { users, pending }] of this.#fresh) {
      if (users.size === 0 && pending === 0 && !volumes.has(volume)) this.#fresh.delete(volume)
    }
  }

  #entry(volume: string): Fresh {
    let fresh = this.#fresh.get(volume)
    if (fresh === undefined) this.#fresh.set(volume, (fresh = { users: new Set(), pending: 0 }))
    return fresh
  }
}
