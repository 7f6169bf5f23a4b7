import { sha256, sha256Hex } from '../hash.ts'
import type { SpecDigestEntries, SpecDigestTree } from '../spec-store.ts'

export const bucketCount = 256

interface Entry {
  readonly heads: readonly string[]
  readonly dead: boolean
}

/** Ids are hashes already, but in base 36 their first character has only 36 values. */
export function bucketOf(id: string): number {
  return sha256(id)[0] ?? 0
}

/** Two levels of hashes over all documents and tombstones. A change costs its own bucket, some 40 entries of 10,000. */
export class DigestTree {
  #buckets = Array.from({ length: bucketCount }, () => new Map<string, Entry>())
  #hashes: (string | undefined)[] = Array.from({ length: bucketCount }, () => undefined)
  #tree: SpecDigestTree | undefined

  set(id: string, entry: Entry): void {
    this.#buckets[this.#touched(id)]?.set(id, entry)
  }

  delete(id: string): void {
    this.#buckets[this.#touched(id)]?.delete(id)
  }

  #touched(id: string): number {
    const bucket = bucketOf(id)
    this.#hashes[bucket] = undefined
    this.#tree = undefined
    return bucket
  }

  digest(): SpecDigestTree {
    if (this.#tree !== undefined) return this.#tree
    const buckets = this.#buckets.map((entries, index) => {
      const hash = this.#hashes[index] ?? hashOf(entries)
      this.#hashes[index] = hash
      return hash
    })
    this.#tree = { root: sha256Hex(buckets.join('\n')), buckets }
    return this.#tree
  }

  entries(buckets: readonly number[]): SpecDigestEntries {
    return new Map(buckets.flatMap((bucket) => [...(this.#buckets[bucket] ?? [])]))
  }
}

/** In the order of ids, not of arrival: equal stores have equal roots. */
function hashOf(entries: ReadonlyMap<string, Entry>): string {
  const lines = [...entries.keys()].sort().map((id) => {
    const entry = entries.get(id)
    return `${id} ${entry?.dead === true ? 'dead' : 'live'} ${entry?.heads.join(',')}`
  })
  return sha256Hex(lines.join('\n'))
}
