import { sha256, resourceId } from '../hash.ts'
import type { ResourceId } from '../ids.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import { specKinds } from '../schema/kinds.ts'
import type { Conflict, Resource } from '../spec-store.ts'
import { readingActor, withDocument } from './automerge.ts'
import { effectiveSpec } from './effective.ts'
import { type DocumentSummary, summarise, summaryVersion } from './summary.ts'

export interface DocumentName {
  readonly kind: SpecKind
  readonly name: string
  readonly incarnation: number
}

/** A document at rest: its bytes, and what is read of them. Immutable; an edit makes a new one. */
export interface LiveDocument extends DocumentName {
  readonly id: ResourceId
  readonly bytes: Uint8Array
  readonly summary: DocumentSummary
  readonly resource: Resource<SpecOf[SpecKind]>
}

export function liveDocument(
  { kind, name, incarnation }: DocumentName,
  bytes: Uint8Array,
  summary: DocumentSummary,
): LiveDocument {
  const id = resourceId(kind, name, incarnation)
  return {
    kind,
    name,
    incarnation,
    id,
    bytes,
    summary,
    resource: resourceOf({ kind, name, incarnation }, id, summary),
  }
}

/** Which summary stands beside the bytes, and how long it is. */
interface Header extends DocumentName {
  readonly version: number
  readonly summary: DocumentSummary
}

/** Length of the header (4 bytes, big-endian), header (JSON), Automerge's bytes. */
export function encodeDocument(document: LiveDocument): Uint8Array {
  const { kind, name, incarnation, summary, bytes } = document
  const header: Header = { version: summaryVersion, kind, name, incarnation, summary }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, bytes])
}

/** Throws where the object is none of ours; storage has checked its checksum before. */
export function decodeDocument(stored: Uint8Array): LiveDocument {
  const buffer = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
  const length = buffer.readUInt32BE(0)
  const header = JSON.parse(buffer.subarray(4, 4 + length).toString('utf8')) as Header
  if (!specKinds.includes(header.kind)) throw new Error('unknown kind of document')
  const bytes = Uint8Array.from(buffer.subarray(4 + length))
  const summary =
    header.version === summaryVersion ? header.summary : withDocument(bytes, readingActor, summarise)
  return liveDocument(header, bytes, summary)
}

/** Bits of the heads' hash in a version index: the change count above them stays below 2^33. */
const headBits = 20

/**
 * Docker's `Version.Index`. Grows with each change that this node learns of; two nodes that know different changes
 * of the same number differ in the hash bits.
 */
export function versionIndexOf(changes: number, heads: readonly string[]): number {
  const hash = sha256([...heads].sort().join('\n'))
  const bits = hash.readUInt32BE(0) >>> (32 - headBits)
  return changes * 2 ** headBits + bits
}

function resourceOf(
  { kind, name, incarnation }: DocumentName,
  id: ResourceId,
  summary: DocumentSummary,
): Resource<SpecOf[SpecKind]> {
  const registers = new Map(Object.entries(summary.spec))
  const facts = new Map(Object.entries(summary.facts))
  const { spec, problems, failure } = effectiveSpec(kind, name, registers, facts)
  let previous: SpecOf[SpecKind] | undefined
  return {
    kind,
    id,
    name,
    incarnation,
    spec,
    // Read when asked for: only `service inspect` and rollbacks do.
    get previous(): SpecOf[SpecKind] | undefined {
      if (summary.previous === undefined || failure !== undefined) return undefined
      previous ??= effectiveSpec(kind, name, before(registers, summary.previous), facts).spec
      return previous
    },
    rolledBack: summary.rolledBack || failure !== undefined,
    ...(failure !== undefined && { failure }),
    ...(summary.partition !== undefined && { partition: summary.partition }),
    facts: new Map([...facts].map(([key, text]) => [key, JSON.parse(text) as unknown])),
    conflicts: [...summary.conflicts.map(shown), ...problems],
    versionIndex: versionIndexOf(summary.changes, summary.heads),
    heads: summary.heads,
    createdAtMs: summary.createdAtMs,
    updatedAtMs: summary.updatedAtMs,
  }
}

function before(
  registers: ReadonlyMap<string, string>,
  differences: Readonly<Record<string, string | null>>,
): ReadonlyMap<string, string> {
  const result = new Map(registers)
  for (const [pointer, text] of Object.entries(differences)) {
    if (text === null) result.delete(pointer)
    else result.set(pointer, text)
  }
  return result
}

/** A removed field is shown as null. */
function shown({ path, winner, losers }: DocumentSummary['conflicts'][number]): Conflict {
  return {
    path,
    winner: winner === null ? null : (JSON.parse(winner) as unknown),
    losers: losers.map(({ text, author }) => ({
      value: text === null ? null : (JSON.parse(text) as unknown),
      author,
    })),
  }
}
