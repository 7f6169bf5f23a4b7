import { stateDefaults } from '../defaults.ts'
import { encodeDocument, type LiveDocument } from '../document/live-document.ts'
import type { ResourceId } from '../ids.ts'
import type { SpecKind } from '../schema/resources.ts'
import type { SpecChange, Tombstone } from '../spec-store.ts'
import type { StorageWrite } from '../storage.ts'
import { encodeGrave } from './grave.ts'
import { type Grave, nameKey, type SpecIndex } from './spec-index.ts'

/**
 * What one operation is about to change, on top of the index: read through, committed as a whole, and only then
 * applied. A commit that fails leaves nothing behind.
 */
export class Staging {
  readonly #index: SpecIndex
  #documents = new Map<ResourceId, LiveDocument | undefined>()
  #tombstones = new Map<string, Tombstone>()
  #graves = new Map<ResourceId, Grave | undefined>()
  #dropped = new Set<ResourceId>()
  #lostEdits = new Map<ResourceId, LiveDocument>()
  #touchedNames = new Map<string, { readonly kind: SpecKind; readonly name: string }>()

  constructor(index: SpecIndex) {
    this.#index = index
  }

  document(id: ResourceId): LiveDocument | undefined {
    return this.#documents.has(id) ? this.#documents.get(id) : this.#index.document(id)
  }

  tombstone(kind: SpecKind, name: string): Tombstone | undefined {
    return this.#tombstones.get(nameKey(kind, name)) ?? this.#index.tombstone(kind, name)
  }

  grave(id: ResourceId): Grave | undefined {
    return this.#graves.has(id) ? this.#graves.get(id) : this.#index.graves.get(id)
  }

  incarnations(kind: SpecKind, name: string): readonly LiveDocument[] {
    const ids = new Set(this.#index.incarnations(kind, name).map(({ id }) => id))
    for (const [id, document] of this.#documents) {
      if (document?.kind === kind && document.name === name) ids.add(id)
    }
    return [...ids].flatMap((id) => this.document(id) ?? []).sort((a, b) => a.incarnation - b.incarnation)
  }

  put(document: LiveDocument): void {
    this.#documents.set(document.id, document)
    this.#touch(document)
  }

  /** Buries all incarnations that this tombstone ends. `droppedEdit` says whether a document held a concurrent edit. */
  bury(tombstone: Tombstone, droppedEdit: (document: LiveDocument) => boolean): void {
    for (const document of this.incarnations(tombstone.kind, tombstone.name)) {
      if (document.incarnation > tombstone.incarnation) continue
      this.#documents.set(document.id, undefined)
      this.#touch(document)
      this.keepGrave(document)
      if (droppedEdit(document)) this.#dropped.add(document.id)
    }
    this.#tombstones.set(nameKey(tombstone.kind, tombstone.name), tombstone)
  }

  keepGrave(document: LiveDocument): void {
    const known = this.grave(document.id)
    this.#graves.set(document.id, { document, order: known?.order ?? this.#nextOrder() })
    const all = [...this.#gravesNow()]
    const surplus = all.length - stateDefaults.graveyardMax
    if (surplus <= 0) return
    all.sort(([, a], [, b]) => a.order - b.order)
    for (const [id] of all.slice(0, surplus)) this.#graves.set(id, undefined)
  }

  /** An edit that arrived after its resource was removed; it is in the grave now. */
  lostEdit(document: LiveDocument): void {
    this.keepGrave(document)
    this.#lostEdits.set(document.id, document)
  }

  *#gravesNow(): Iterable<readonly [ResourceId, Grave]> {
    const ids = new Set([...this.#index.graves.keys(), ...this.#graves.keys()])
    for (const id of ids) {
      const grave = this.grave(id)
      if (grave !== undefined) yield [id, grave]
    }
  }

  #nextOrder(): number {
    let highest = 0
    for (const [, { order }] of this.#gravesNow()) highest = Math.max(highest, order)
    return highest + 1
  }

  #touch({ kind, name }: LiveDocument): void {
    this.#touchedNames.set(nameKey(kind, name), { kind, name })
  }

  writes(): readonly StorageWrite[] {
    const documents = [...this.#documents].map(([id, document]) =>
      write('document', id, document === undefined ? undefined : encodeDocument(document)),
    )
    const tombstones = [...this.#tombstones].map(([key, tombstone]) =>
      write('tombstone', key, Buffer.from(JSON.stringify(tombstone))),
    )
    const graves = [...this.#graves].map(([id, grave]) =>
      write('graveyard', id, grave === undefined ? undefined : encodeGrave(grave)),
    )
    return [...tombstones, ...documents, ...graves]
  }

  /** Call once `writes` are durable. Returns what watchers are told. */
  apply(origin: SpecChange['origin']): readonly SpecChange[] {
    const before = [...this.#touchedNames.values()].map(({ kind, name }) => this.#index.visible(kind, name))
    // A tombstone has its document's id: the document leaves the digest before the tombstone enters it.
    for (const [id, document] of this.#documents) {
      const old = this.#index.document(id)
      if (document !== undefined) this.#index.put(document)
      else if (old !== undefined) this.#index.remove(old)
    }
    for (const tombstone of this.#tombstones.values()) this.#index.bury(tombstone)
    for (const [id, grave] of this.#graves) {
      if (grave === undefined) this.#index.graves.delete(id)
      else this.#index.graves.set(id, grave)
    }
    const names = [...this.#touchedNames.values()]
    return [
      ...names.flatMap(({ kind, name }, at) =>
        this.#changes(before[at], this.#index.visible(kind, name), origin),
      ),
      ...this.#lostEditChanges(origin),
    ]
  }

  #changes(
    before: LiveDocument | undefined,
    after: LiveDocument | undefined,
    origin: SpecChange['origin'],
  ): readonly SpecChange[] {
    if (before === after) return []
    const change = (of: LiveDocument, shown: Pick<SpecChange, 'before' | 'after'>): SpecChange => ({
      kind: of.kind,
      id: of.id,
      ...shown,
      origin,
      ...(this.#dropped.has(of.id) ? { droppedEdit: true } : {}),
    })
    if (before !== undefined && after !== undefined && before.id === after.id) {
      return [change(after, { before: before.resource, after: after.resource })]
    }
    return [
      ...(before === undefined ? [] : [change(before, { before: before.resource, after: undefined })]),
      ...(after === undefined ? [] : [change(after, { before: undefined, after: after.resource })]),
    ]
  }

  /** Not told where the name lives again: watchers would take it for that one's removal. */
  #lostEditChanges(origin: SpecChange['origin']): readonly SpecChange[] {
    return [...this.#lostEdits.values()]
      .filter(({ kind, name }) => this.#index.visible(kind, name) === undefined)
      .map(({ kind, id, resource }) => ({
        kind,
        id,
        before: resource,
        after: undefined,
        origin,
        droppedEdit: true,
      }))
  }
}

function write(table: StorageWrite['table'], key: string, bytes: Uint8Array | undefined): StorageWrite {
  return bytes === undefined ? { kind: 'delete', table, key } : { kind: 'put', table, key, bytes }
}
