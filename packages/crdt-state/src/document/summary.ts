import type { Author } from '../spec-store.ts'
import {
  changesOf,
  type Document,
  type DocumentChange,
  headsAfter,
  headsOf,
  operationOf,
  registersAt,
  registersOf,
  hasRegister,
  valuesOf,
  writtenBy,
} from './automerge.ts'
import { exclusiveValue, type PartitionPast, partitionPointer } from '../partition.ts'

/** Texts are JSON; null stands for a removed field. */
export interface SummaryConflict {
  readonly path: string
  readonly winner: string | null
  readonly losers: readonly { readonly text: string | null; readonly author: Author | undefined }[]
}

/**
 * All that is read of a document, as plain JSON, stored beside its bytes: opening 10,000 documents takes seconds and
 * hundreds of megabytes, reading their summaries neither.
 */
export interface DocumentSummary {
  readonly heads: readonly string[]
  readonly changes: number
  /** Register → JSON text. */
  readonly spec: Readonly<Record<string, string>>
  readonly facts: Readonly<Record<string, string>>
  readonly conflicts: readonly SummaryConflict[]
  /** What the registers were before the last change of the spec, where they differ; undefined: there is no before. */
  readonly previous: Readonly<Record<string, string | null>> | undefined
  readonly rolledBack: boolean
  readonly partition?: PartitionPast
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

/** Raised when this file reads documents differently: stored summaries of another version are made anew. */
export const summaryVersion = 2

export function summarise(document: Document): DocumentSummary {
  const changes = changesOf(document)
  const spec = registersOf(document, 'spec')
  const lastSpecChange = changes.findLastIndex(({ action }) => action !== 'fact')
  const first = changes.find(({ author }) => author !== undefined)
  const partition = partitionOf(document, changes)
  const last = changes.findLast(({ author }) => author !== undefined)
  return {
    heads: headsOf(document),
    changes: changes.length,
    spec: Object.fromEntries(spec),
    facts: Object.fromEntries(registersOf(document, 'facts')),
    conflicts: isLinear(changes) ? [] : conflictsOf(document, changes),
    previous: previousOf(document, spec, changes.slice(0, Math.max(lastSpecChange, 0))),
    rolledBack: changes[lastSpecChange]?.action === 'rollback',
    ...(partition !== undefined && { partition }),
    createdAtMs: first?.author?.atMs ?? 0,
    updatedAtMs: last?.author?.atMs ?? 0,
  }
}

/** Looking into each change is dear, and idle where the label was never written: what is removed leaves its register. */
function partitionOf(document: Document, changes: readonly DocumentChange[]): PartitionPast | undefined {
  if (!hasRegister(document, partitionPointer)) return undefined
  const written = changes
    .filter(({ action }) => action !== 'fact')
    .flatMap(({ hash }) => writtenBy(document, hash, partitionPointer))
  return {
    changes: written.length,
    wasExclusive: written.some(({ text }) => text === JSON.stringify(exclusiveValue)),
  }
}

/** Where each change knew all before it, no two were concurrent, and looking for conflicts (most of the cost) is idle. */
function isLinear(changes: readonly DocumentChange[]): boolean {
  return changes.every(
    ({ deps }, index) => index === 0 || (deps.length === 1 && deps[0] === changes[index - 1]?.hash),
  )
}

function conflictsOf(document: Document, changes: readonly DocumentChange[]): readonly SummaryConflict[] {
  const authors = new Map<string, DocumentChange[]>()
  for (const change of changes) {
    const byActor = authors.get(change.actor)
    if (byActor === undefined) authors.set(change.actor, [change])
    else byActor.push(change)
  }
  const authorOf = (operation: string): Author | undefined => {
    const { counter, actor } = operationOf(operation)
    return authors.get(actor)?.find(({ firstOp, lastOp }) => firstOp <= counter && counter <= lastOp)?.author
  }
  const conflicts: SummaryConflict[] = []
  for (const path of Object.keys(document.spec).sort()) {
    const [winner, ...others] = valuesOf(document, path)
    if (winner === undefined) continue
    const losers = new Map<string | null, Author | undefined>()
    for (const { operation, text } of others) {
      if (text !== winner.text && !losers.has(text ?? null)) losers.set(text ?? null, authorOf(operation))
    }
    if (losers.size === 0) continue
    conflicts.push({
      path,
      winner: winner.text ?? null,
      losers: [...losers].map(([text, author]) => ({ text, author })),
    })
  }
  return conflicts
}

function previousOf(
  document: Document,
  now: ReadonlyMap<string, string>,
  before: readonly DocumentChange[],
): Readonly<Record<string, string | null>> | undefined {
  if (!before.some(({ action }) => action !== 'fact')) return undefined
  const then = registersAt(document, headsAfter(before))
  const differences: [string, string | null][] = []
  for (const [pointer, text] of then) if (now.get(pointer) !== text) differences.push([pointer, text])
  for (const pointer of now.keys()) if (!then.has(pointer)) differences.push([pointer, null])
  return Object.fromEntries(differences)
}
