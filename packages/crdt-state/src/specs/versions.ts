import { stateDefaults } from '../defaults.ts'
import {
  changesOf,
  type Document,
  type DocumentChange,
  headsAfter,
  keysOf,
  readingActor,
  registersAt,
  withDocument,
} from '../document/automerge.ts'
import { type LiveDocument, versionIndexOf } from '../document/live-document.ts'
import { effectiveSpec } from '../document/effective.ts'
import { StaleVersionError } from '../errors.ts'
import type { ResourceId } from '../ids.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type { HistoryEntry, Resource } from '../spec-store.ts'

/** Which heads a version index of a document stood for: those that this node has shown lately. */
export class RecentVersions {
  #byDocument = new Map<ResourceId, Map<number, readonly string[]>>()

  remember({ id, versionIndex, heads }: Resource<unknown>): void {
    const versions = this.#byDocument.get(id) ?? new Map<number, readonly string[]>()
    versions.set(versionIndex, heads)
    for (const oldest of versions.keys()) {
      if (versions.size <= stateDefaults.recentVersionsMax) break
      versions.delete(oldest)
    }
    this.#byDocument.set(id, versions)
  }

  forget(id: ResourceId): void {
    this.#byDocument.delete(id)
  }

  /**
   * The spec that a client saw under this version, here or at another node: remembered, or else found among the
   * states that the history went through. Throws `StaleVersionError` where we cannot tell what the client saw.
   */
  baseOf(document: LiveDocument, versionIndex: number): SpecOf[SpecKind] {
    if (document.resource.versionIndex === versionIndex) return document.resource.spec
    const remembered = this.#byDocument.get(document.id)?.get(versionIndex)
    return withDocument(document.bytes, readingActor, (opened) => {
      const heads = remembered ?? headsOfVersion(changesOf(opened), versionIndex)
      if (heads === undefined) throw new StaleVersionError(document.kind, document.name)
      return specAt(document, opened, heads)
    })
  }
}

function headsOfVersion(
  changes: ReturnType<typeof changesOf>,
  versionIndex: number,
): readonly string[] | undefined {
  const count = Math.floor(versionIndex / 2 ** 20)
  if (count < 1 || count > changes.length) return undefined
  const heads = headsAfter(changes.slice(0, count))
  return versionIndexOf(count, heads) === versionIndex ? heads : undefined
}

/** Oldest first. `spec` is what the change's author saw after it. */
export function historyOf(document: LiveDocument): readonly HistoryEntry<SpecOf[SpecKind]>[] {
  return withDocument(document.bytes, readingActor, (opened) => {
    const changes = changesOf(opened)
    const numbers = numbersOf(changes)
    return changes.map(({ hash, author, action }) => ({
      number: numbers.get(hash) ?? 0,
      heads: [hash],
      author,
      action,
      ...keysOf(opened, hash),
      spec: specAt(document, opened, [hash]),
    }))
  })
}

/** By a change's hash: how many writes lead up to it. Changes stand after all that they depend on. */
function numbersOf(changes: readonly DocumentChange[]): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>()
  for (const { hash, deps, action } of changes) {
    const before = deps.map((dependency) => numbers.get(dependency) ?? 0)
    numbers.set(hash, Math.max(0, ...before) + (action === 'fact' ? 0 : 1))
  }
  return numbers
}

function specAt({ kind, name }: LiveDocument, opened: Document, heads: readonly string[]): SpecOf[SpecKind] {
  return effectiveSpec(kind, name, registersAt(opened, heads), registersAt(opened, heads, 'facts')).spec
}
