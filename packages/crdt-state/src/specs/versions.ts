import { stateDefaults } from '../defaults.ts'
import {
  changesOf,
  type Document,
  headsAfter,
  pathsOf,
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
  return withDocument(document.bytes, readingActor, (opened) =>
    changesOf(opened).map(({ hash, author, action }) => ({
      heads: [hash],
      author,
      action,
      paths: pathsOf(opened, hash),
      spec: specAt(document, opened, [hash]),
    })),
  )
}

function specAt({ kind, name }: LiveDocument, opened: Document, heads: readonly string[]): SpecOf[SpecKind] {
  return effectiveSpec(kind, name, registersAt(opened, heads), registersAt(opened, heads, 'facts')).spec
}
