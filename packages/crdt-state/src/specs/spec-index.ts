import { DigestTree } from '../document/digest-tree.ts'
import type { LiveDocument } from '../document/live-document.ts'
import { tombstoneHash } from '../document/tombstone.ts'
import { resourceId } from '../hash.ts'
import type { ResourceId } from '../ids.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type { Resource, Tombstone } from '../spec-store.ts'

/** A grave: the last document of a removed resource, for `restore`. */
export interface Grave {
  readonly document: LiveDocument
  /** Grows with each burial: the lowest go first. */
  readonly order: number
}

/**
 * What the store holds in memory. A name shows its highest incarnation: a lower one that is still here lives only
 * until its tombstone, which must exist somewhere, arrives.
 */
export class SpecIndex {
  readonly digest = new DigestTree()
  readonly graves = new Map<ResourceId, Grave>()
  #documents = new Map<ResourceId, LiveDocument>()
  #byName = new Map<string, readonly LiveDocument[]>()
  #tombstones = new Map<string, Tombstone>()
  #collections = new Map<SpecKind, ReadonlyMap<ResourceId, Resource<SpecOf[SpecKind]>>>()

  document(id: ResourceId): LiveDocument | undefined {
    return this.#documents.get(id)
  }

  documents(): IterableIterator<LiveDocument> {
    return this.#documents.values()
  }

  /** What people see under this name. */
  visible(kind: SpecKind, name: string): LiveDocument | undefined {
    return this.#byName.get(nameKey(kind, name))?.at(-1)
  }

  /** All incarnations that are here, lowest first. */
  incarnations(kind: SpecKind, name: string): readonly LiveDocument[] {
    return this.#byName.get(nameKey(kind, name)) ?? []
  }

  tombstone(kind: SpecKind, name: string): Tombstone | undefined {
    return this.#tombstones.get(nameKey(kind, name))
  }

  tombstones(): readonly Tombstone[] {
    return [...this.#tombstones.values()]
  }

  /** The tombstone whose entry in the digest has this id. */
  tombstoneById(id: string): Tombstone | undefined {
    return this.#tombstoneIds.get(id)
  }
  #tombstoneIds = new Map<string, Tombstone>()

  collection(kind: SpecKind): ReadonlyMap<ResourceId, Resource<SpecOf[SpecKind]>> {
    const known = this.#collections.get(kind)
    if (known !== undefined) return known
    const made = new Map<ResourceId, Resource<SpecOf[SpecKind]>>()
    for (const documents of this.#byName.values()) {
      const shown = documents.at(-1)
      if (shown?.kind === kind) made.set(shown.id, shown.resource)
    }
    this.#collections.set(kind, made)
    return made
  }

  put(document: LiveDocument): void {
    const key = nameKey(document.kind, document.name)
    const others = (this.#byName.get(key) ?? []).filter(({ id }) => id !== document.id)
    this.#documents.set(document.id, document)
    this.#byName.set(
      key,
      [...others, document].sort((a, b) => a.incarnation - b.incarnation),
    )
    this.digest.set(document.id, { heads: document.summary.heads, dead: false })
    this.#collections.delete(document.kind)
  }

  remove(document: LiveDocument): void {
    const key = nameKey(document.kind, document.name)
    const left = (this.#byName.get(key) ?? []).filter(({ id }) => id !== document.id)
    this.#documents.delete(document.id)
    if (left.length === 0) this.#byName.delete(key)
    else this.#byName.set(key, left)
    this.digest.delete(document.id)
    this.#collections.delete(document.kind)
  }

  bury(tombstone: Tombstone): void {
    const { kind, name, incarnation } = tombstone
    const key = nameKey(kind, name)
    const before = this.#tombstones.get(key)
    if (before !== undefined) {
      const id = resourceId(kind, name, before.incarnation)
      this.#tombstoneIds.delete(id)
      this.digest.delete(id)
    }
    const id = resourceId(kind, name, incarnation)
    this.#tombstones.set(key, tombstone)
    this.#tombstoneIds.set(id, tombstone)
    this.digest.set(id, { heads: [tombstoneHash(tombstone)], dead: true })
  }
}

/** Also the storage key of a tombstone. Kinds have no slash. */
export function nameKey(kind: SpecKind, name: string): string {
  return `${kind}/${name}`
}
