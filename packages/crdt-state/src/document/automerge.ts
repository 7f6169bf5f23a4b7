import * as Automerge from '@automerge/automerge'
import type { Author } from '../spec-store.ts'
import type { FieldChanges } from './diff.ts'
import { type ChangeAction, type ChangeNote, readNote, writeNote } from './note.ts'

/**
 * A resource's document: two maps of registers, each an `ImmutableString` with JSON text (a plain string would be
 * collaborative text, and two edits would mix letters). A removed field is a register with `null`, not a deleted
 * key: Automerge lets an edit win over a concurrent deletion without a trace, and people shall see that conflict.
 */
export interface DocumentShape extends Record<string, unknown> {
  spec: Record<string, unknown>
  facts: Record<string, unknown>
}
export type Document = Automerge.Doc<DocumentShape>

/**
 * Every document begins with these bytes, the saved form of one change by actor 0 at time 0 that creates `spec` and
 * `facts`. They are a constant, not made at run time: a later Automerge that encodes it otherwise would split every
 * document in two.
 */
const rootDocument = Buffer.from(
  'hW9KgxR7HdIAdQEQAAAAAAAAAAAAAAAAAAAAAAGZ/+c8KDhxajPctHnEb4vODryOt9yFxxxqkISsL9qp3AYBAgMCEwIjAkACVgIHFQwhAiMDNAFCAlYCgAECfwB/AX8CfwB/AH8HfgVmYWN0cwRzcGVjAgB+An8CAgACAAIAAA==',
  'base64',
)
export const rootHash = '99ffe73c2838716a33dcb479c46f8bce0ebc8eb7dc85c71c6a9084ac2fdaa9dc'
/** The `spec` map's object id: made by the first operation of actor 0. */
const specObjectId = `1@${'00'.repeat(16)}`
/** And the `facts` map's: by its second. */
const factsObjectId = `2@${'00'.repeat(16)}`
/** For documents opened to read or merge: they write nothing. */
export const readingActor = 'ff'.repeat(16)

/** Thrown by `merged`: the bytes are no change or document of ours. Nothing was applied. */
export class ForeignBytesError extends Error {
  readonly code = 'ERR_FOREIGN_BYTES'
  override name = 'ForeignBytesError'
}
/** Thrown by `merged`: changes that these depend on are missing. Nothing was applied. */
export class MissingChangesError extends Error {
  readonly code = 'ERR_MISSING_CHANGES'
  override name = 'MissingChangesError'
}

/** Opens, runs, frees: WASM memory never shrinks, so no document stays open. Loading one takes 0.3 ms. */
export function withDocument<T>(
  bytes: Uint8Array | undefined,
  actor: string,
  run: (document: Document) => T,
): T {
  const document = Automerge.load<DocumentShape>(bytes ?? rootDocument, { actor })
  try {
    return run(document)
  } finally {
    Automerge.free(document)
  }
}

export interface WrittenChange {
  readonly document: Document
  /** The one change, for the mesh. */
  readonly change: Uint8Array
}

/** What a change writes; both or one. */
export interface Registers {
  readonly spec?: FieldChanges
  readonly facts?: FieldChanges
}

/** One change that writes these registers. `document` must not be used afterwards. */
export function writeChange(
  document: Document,
  registers: Registers,
  action: ChangeAction,
  author: Author,
): WrittenChange {
  const written = Automerge.change(
    document,
    // Automerge counts in seconds; the milliseconds are in the note.
    { message: writeNote(action, author), time: Math.floor(author.atMs / 1000) },
    (draft) => {
      for (const map of ['spec', 'facts'] as const) {
        for (const [pointer, value] of registers[map] ?? []) {
          draft[map][pointer] =
            value === undefined ? null : new Automerge.ImmutableString(JSON.stringify(value))
        }
      }
    },
  )
  const change = Automerge.getLastLocalChange(written)
  if (change === undefined) throw new Error('a change that writes a register left no bytes')
  return { document: written, change }
}

/** Merges a peer's changes or saved document. Throws the two errors above; `document` must then be dropped. */
export function merged(
  document: Document,
  incoming: { readonly changes: readonly Uint8Array[] } | { readonly document: Uint8Array },
): Document {
  let result: Document
  try {
    result =
      'changes' in incoming
        ? Automerge.applyChanges(document, incoming.changes.map(checkedChange))[0]
        : mergedWhole(document, incoming.document)
  } catch (error) {
    throw new ForeignBytesError(error instanceof Error ? error.message : String(error), { cause: error })
  }
  if (Automerge.getMissingDeps(result, []).length > 0) throw new MissingChangesError('changes are missing')
  return result
}

/**
 * `applyChanges` of Automerge 3.5 does not look at a change's checksum: one flipped bit becomes another change by the
 * same actor with the same number, and the replicas never agree again. The checksum (bytes 4 to 7) is the beginning
 * of the change's hash (https://automerge.org/automerge-binary-format-spec, "Chunk container").
 */
function checkedChange(change: Uint8Array): Uint8Array {
  const checksum = Buffer.from(change.subarray(4, 8)).toString('hex')
  const { hash } = Automerge.decodeChange(change)
  if (hash.slice(0, 8) !== checksum) throw new Error('a change whose checksum does not hold')
  return change
}

function mergedWhole(document: Document, bytes: Uint8Array): Document {
  const other = Automerge.load<DocumentShape>(bytes, { actor: readingActor })
  try {
    if (!Automerge.hasHeads(other, [rootHash]))
      throw new Error('it does not begin with the common first change')
    return Automerge.merge(document, other)
  } finally {
    Automerge.free(other)
  }
}

export function saved(document: Document): Uint8Array {
  return Automerge.save(document)
}

export function headsOf(document: Document): readonly string[] {
  return Automerge.getHeads(document).toSorted()
}

export function knows(document: Document, head: string): boolean {
  try {
    return Automerge.hasHeads(document, [head])
  } catch {
    return false
  }
}

/** Changes that somebody with these heads lacks. All heads must be known here. */
export function changesSince(document: Document, heads: readonly string[]): readonly Uint8Array[] {
  return Automerge.getChangesSince(document, [...heads])
}

export interface DocumentChange extends ChangeNote {
  readonly hash: string
  readonly actor: string
  readonly seq: number
  readonly firstOp: number
  readonly lastOp: number
  readonly deps: readonly string[]
}

/**
 * All changes but the common first, in one order on every node: by Lamport time, then actor. A change's operations
 * number higher than all that it depends on, so the order respects causality, and each prefix of it is a state.
 */
export function changesOf(document: Document): readonly DocumentChange[] {
  return Automerge.getChangesMetaSince(document, [])
    .filter(({ hash }) => hash !== rootHash)
    .map(({ hash, actor, seq, startOp, maxOp, deps, message }) => {
      return { hash, actor, seq, firstOp: startOp, lastOp: maxOp, deps, ...readNote(message) }
    })
    .sort((a, b) => a.firstOp - b.firstOp || compare(a.actor, b.actor) || compare(a.hash, b.hash))
}

/** The heads of the state in which exactly these changes (a prefix of `changesOf`) have happened. */
export function headsAfter(prefix: readonly DocumentChange[]): readonly string[] {
  const inner = new Set(prefix.flatMap(({ deps }) => deps))
  const heads = prefix.map(({ hash }) => hash).filter((hash) => !inner.has(hash))
  return heads.length === 0 ? [rootHash] : heads.sort()
}

/** Was this field of the spec ever written, and be it to remove it? */
export function hasRegister(document: Document, pointer: string): boolean {
  const held: unknown = document.spec
  return typeof held === 'object' && held !== null && Object.hasOwn(held, pointer)
}

/** What a change wrote to a field of the spec; empty: nothing. */
export function writtenBy(
  document: Document,
  hash: string,
  pointer: string,
): readonly { readonly text: string | undefined }[] {
  const operations = Automerge.inspectChange(document, hash)?.ops ?? []
  const last = operations.findLast(({ obj, key }) => obj === specObjectId && key === pointer)
  if (last === undefined) return []
  return [{ text: typeof last.value === 'string' ? last.value : undefined }]
}

/** JSON texts of one map's registers; removed and unreadable ones are left out. */
export function registersOf(document: Document, map: 'spec' | 'facts'): Map<string, string> {
  const registers = new Map<string, string>()
  const held: unknown = document[map]
  if (typeof held !== 'object' || held === null) return registers
  for (const [key, value] of Object.entries(held)) {
    const text = registerText(value)
    if (text !== undefined) registers.set(key, text)
  }
  return registers
}

export function registersAt(
  document: Document,
  heads: readonly string[],
  map: 'spec' | 'facts' = 'spec',
): Map<string, string> {
  return registersOf(Automerge.view(document, [...heads]), map)
}

/** Undefined: removed, or written by something that is not us. */
function registerText(value: unknown): string | undefined {
  return Automerge.isImmutableString(value) ? jsonText(value.toString()) : undefined
}

function jsonText(text: string): string | undefined {
  try {
    JSON.parse(text)
    return text
  } catch {
    return undefined
  }
}

export interface WrittenValue {
  /** `<operation>@<actor>`. */
  readonly operation: string
  /** Undefined: the field was removed. */
  readonly text: string | undefined
}

/** The values that were written at once to a register of `spec`, the winner first; one, where there is no conflict. */
export function valuesOf(document: Document, pointer: string): readonly WrittenValue[] {
  const values = Automerge.getConflicts(document.spec, pointer)
  if (values === undefined) return []
  return (
    Object.entries(values)
      // Among conflicts Automerge 3.5 gives an ImmutableString as a plain string.
      .map(([operation, value]) => ({
        operation,
        text: typeof value === 'string' ? jsonText(value) : registerText(value),
      }))
      .sort((a, b) => compareOperations(b.operation, a.operation))
  )
}

export function operationOf(operation: string): { readonly counter: number; readonly actor: string } {
  const [counter, actor] = operation.split('@')
  return { counter: Number(counter), actor: actor ?? '' }
}

function compareOperations(a: string, b: string): number {
  const first = operationOf(a)
  const second = operationOf(b)
  return first.counter - second.counter || compare(first.actor, second.actor)
}

/** What a change wrote: JSON pointers into `spec`, keys of `facts`. */
export function keysOf(
  document: Document,
  hash: string,
): { readonly paths: readonly string[]; readonly facts: readonly string[] } {
  const operations = Automerge.inspectChange(document, hash)?.ops ?? []
  const below = (object: string): readonly string[] =>
    [...new Set(operations.filter(({ obj }) => obj === object).map(({ key }) => key))].sort()
  return { paths: below(specObjectId), facts: below(factsObjectId) }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
