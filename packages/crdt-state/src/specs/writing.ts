import { stateDefaults } from '../defaults.ts'
import {
  changesOf,
  type Document,
  readingActor,
  type Registers,
  saved,
  withDocument,
  writeChange,
} from '../document/automerge.ts'
import { changedFields, changedRegisters, type FieldChanges, sameJson } from '../document/diff.ts'
import { flatten, overlap } from '../document/flat.ts'
import { type DocumentName, type LiveDocument, liveDocument } from '../document/live-document.ts'
import type { ChangeAction } from '../document/note.ts'
import { readSpec } from '../document/read-spec.ts'
import { summarise } from '../document/summary.ts'
import { clockOf } from '../document/tombstone.ts'
import { ResourceTooLargeError, StaleVersionError } from '../errors.ts'
import { lastExclusive } from '../partition.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type { Author, Revise, SpecMessage, Tombstone } from '../spec-store.ts'

export interface Edit extends Registers {
  readonly action: ChangeAction
  readonly author: Author
  readonly actor: string
}

export interface Edited {
  readonly document: LiveDocument
  readonly message: SpecMessage
}

/** One change on top of `bytes` (undefined: a new document). */
export function edited(name: DocumentName, bytes: Uint8Array | undefined, edit: Edit): Edited {
  return withDocument(bytes, edit.actor, (opened) => {
    const { document, change } = writeChange(opened, edit, edit.action, edit.author)
    return {
      document: atRest(name, document),
      message: changesMessage(name, [change]),
    }
  })
}

/** Throws `ResourceTooLargeError`. */
export function atRest(name: DocumentName, document: Document): LiveDocument {
  const bytes = saved(document)
  if (bytes.length > stateDefaults.maxDocumentBytes) {
    throw new ResourceTooLargeError(name.kind, name.name, bytes.length, stateDefaults.maxDocumentBytes)
  }
  return liveDocument(name, bytes, summarise(document))
}

export function changesMessage(
  { kind, name, incarnation }: DocumentName,
  changes: readonly Uint8Array[],
): SpecMessage {
  return {
    type: 'changes',
    kind,
    name,
    incarnation,
    changes: changes.map((change) => Buffer.from(change).toString('base64')),
  }
}

export function documentMessage({ kind, name, incarnation, bytes }: LiveDocument): SpecMessage {
  return { type: 'changes', kind, name, incarnation, document: Buffer.from(bytes).toString('base64') }
}

export function allFields(spec: object): FieldChanges {
  return flatten(spec)
}

/**
 * What an update writes: the fields in which the client's spec differs from the one it had read (`base`). Where
 * somebody changed those same fields meanwhile, to something else, the client must look again.
 */
export function fieldsToWrite(
  document: LiveDocument,
  base: SpecOf[SpecKind],
  spec: object,
  revise?: Revise<SpecOf[SpecKind]>,
): FieldChanges {
  const { resource } = document
  const asked = changedFields(base, spec)
  if (asked.size === 0) return asked
  const needed = base === resource.spec ? asked : neededOf(document, base, asked)
  return overWritten(document, revise === undefined ? needed : revised(document, needed, revise))
}

function revised(
  document: LiveDocument,
  needed: FieldChanges,
  revise: Revise<SpecOf[SpecKind]>,
): FieldChanges {
  if (needed.size === 0) return needed
  const { kind, name, resource } = document
  const texts = [...withFields(resource.spec, needed)].map(
    ([pointer, value]) => [pointer, JSON.stringify(value)] as const,
  )
  const merged = readSpec(kind, name, new Map(texts)).spec
  return new Map([...needed, ...changedFields(merged, revise(resource, merged))])
}

function withFields(spec: object, fields: FieldChanges): Map<string, unknown> {
  const flat = flatten(spec)
  for (const [pointer, value] of fields) {
    if (value === undefined) flat.delete(pointer)
    else flat.set(pointer, value)
  }
  return flat
}

/** Whoever writes on top of what was gone back to has seen it, and writes it with what was asked for. */
function overWritten({ resource, summary }: LiveDocument, needed: FieldChanges): FieldChanges {
  if (resource.failure === undefined) return needed
  const written = new Map(
    Object.entries(summary.spec).map(([pointer, text]) => [pointer, JSON.parse(text) as unknown]),
  )
  return changedRegisters(written, withFields(resource.spec, needed))
}

function neededOf(
  { kind, name, resource }: LiveDocument,
  base: SpecOf[SpecKind],
  asked: FieldChanges,
): FieldChanges {
  const current = flatten(resource.spec)
  const meanwhile = [...changedFields(base, resource.spec).keys()]
  const needed = [...asked].filter(([pointer, value]) => !sameJson(current.get(pointer), value))
  for (const [pointer] of needed) {
    if (meanwhile.some((changed) => overlap(changed, pointer))) throw new StaleVersionError(kind, name)
  }
  return new Map(needed)
}

export function removalOf(
  document: LiveDocument,
  author: Author,
): Omit<Tombstone, 'publicKey' | 'signature'> {
  const { kind, name, incarnation } = document
  const knew = withDocument(document.bytes, readingActor, (opened) => clockOf(changesOf(opened)))
  const isSmall = Object.keys(knew).length <= stateDefaults.tombstoneClockMax
  const exclusive = lastExclusive(document.resource)
  return {
    kind,
    name,
    incarnation,
    author,
    ...(isSmall ? { knew } : {}),
    ...(exclusive !== undefined && { exclusive }),
  }
}
