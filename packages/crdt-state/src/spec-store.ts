import type { ResourceId } from './ids.ts'
import type { UpdateFailure } from './document/effective.ts'
import type { PartitionPast } from './partition.ts'
import type { SpecKind, SpecOf } from './schema/resources.ts'

/** Who asked for a change: shown in the history, never used in a decision. */
export interface Author {
  /** The node that accepted the request. */
  readonly node: string
  /** The client as it named itself (`User-Agent`), or the command. */
  readonly client: string
  /** Wall clock of the accepting node, milliseconds since the epoch. Display only: never compared. */
  readonly atMs: number
}

/** Several values were written to one field at once; the first in Automerge's total order won on every node. */
export interface Conflict {
  /** JSON pointer into the spec, e.g. `/TaskTemplate/ContainerSpec/Image`. */
  readonly path: string
  readonly winner: unknown
  readonly losers: readonly { readonly value: unknown; readonly author: Author | undefined }[]
}

/** The current value of one document. Immutable: a change makes a new object, so identity says "unchanged". */
export interface Resource<S> {
  readonly kind: SpecKind
  readonly id: ResourceId
  readonly name: string
  readonly incarnation: number
  readonly spec: S
  /** What was in force before the last change of the spec, for `PreviousSpec` and rollback; none where an update was gone back by itself. */
  readonly previous: S | undefined
  /** Was the last change a rollback? (Docker refuses to roll a rollback back.) */
  readonly rolledBack: boolean
  /** The update to what people wrote has failed: `spec` is what was gone back to by itself. */
  readonly failure?: UpdateFailure
  /** Of `moot.partition`; absent: nobody has ever set it in this document. */
  readonly partition?: PartitionPast
  /** Grow-only derived facts beside the spec (e.g. `failed/<digest>`), values are JSON. */
  readonly facts: ReadonlyMap<string, unknown>
  readonly conflicts: readonly Conflict[]
  /** Docker's `Version.Index`: change count joined with hash bits of the heads; monotone here, below 2^53. */
  readonly versionIndex: number
  readonly heads: readonly string[]
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

export interface HistoryEntry<S> {
  /**
   * Counts the writes that its author had seen, and this one: what comes later changes no number, so people may go back by
   * it. Two that were written at once have the same. A fact has that of the write before it.
   */
  readonly number: number
  readonly heads: readonly string[]
  readonly author: Author | undefined
  readonly action: 'create' | 'update' | 'rollback' | 'fact'
  /** JSON pointers of the fields that this change wrote. */
  readonly paths: readonly string[]
  /** Keys of the facts that it added beside the spec. */
  readonly facts: readonly string[]
  readonly spec: S
}

/** Permanent, small, signed: (kind, name) is dead up to `incarnation`. The highest incarnation wins. */
export interface Tombstone {
  readonly kind: SpecKind
  readonly name: string
  readonly incarnation: number
  readonly author: Author
  /**
   * What the remover knew: per Automerge actor (its first 8 hex digits) the last sequence number. An edit beyond it
   * was concurrent, and lost. Absent where too many wrote.
   */
  readonly knew?: Readonly<Record<string, number>>
  /** The last incarnation in which the name was exclusive, as the remover knew: whoever creates it anew has to know, too. */
  readonly exclusive?: number
  /** Raw ed25519 key (base64) of the node that removed it, and its signature over the canonical rest. */
  readonly publicKey: string
  readonly signature: string
}

/** What one local write hands to the mesh, what gossip carries, and what a sync sends: plain JSON plus base64. */
export type SpecMessage =
  | {
      readonly type: 'changes'
      readonly kind: SpecKind
      readonly name: string
      readonly incarnation: number
      /** Automerge changes, base64; or, where the receiver's heads are unknown, a whole saved document. */
      readonly changes?: readonly string[]
      readonly document?: string
    }
  | { readonly type: 'tombstone'; readonly tombstone: Tombstone }

export type ReceiveOutcome =
  | { readonly kind: 'applied' }
  | { readonly kind: 'known' }
  /** Changes that these depend on are missing: fetch the document from a peer. Nothing was applied. */
  | { readonly kind: 'gap' }
  /** The edit concerns an incarnation that was removed: it was dropped; the removal should be sent back. */
  | { readonly kind: 'removed'; readonly tombstone: Tombstone }
  /** Malformed, or a bad signature. Nothing was applied. */
  | { readonly kind: 'refused'; readonly reason: string }

/** Compared first; equal roots mean equal stores. Then 256 buckets, then the entries of the buckets that differ. */
export interface SpecDigestTree {
  readonly root: string
  /** 256 hex digests, by the first byte of the document id. */
  readonly buckets: readonly string[]
}
/** Document id → hash of its heads, or of its tombstone. */
export type SpecDigestEntries = ReadonlyMap<
  string,
  { readonly heads: readonly string[]; readonly dead: boolean }
>

/** What happened to the store, for watchers and for Docker's event stream. `before`/`after` undefined = created/removed. */
export interface SpecChange {
  readonly kind: SpecKind
  readonly id: ResourceId
  readonly before: Resource<SpecOf[SpecKind]> | undefined
  readonly after: Resource<SpecOf[SpecKind]> | undefined
  readonly origin: 'local' | 'remote'
  /** An edit that lost against a concurrent removal, to be told to people. */
  readonly droppedEdit?: boolean
}

/**
 * What is written instead of `merged`: what the write makes of `current`, whatever else was written since the client read. Asked within the
 * write, so that nothing comes between; and only where something is written.
 */
export type Revise<S> = (current: Resource<S>, merged: S) => S

export interface Written<S> {
  readonly resource: Resource<S>
  /** To gossip, and to have confirmed by a peer. Empty when nothing changed. */
  readonly messages: readonly SpecMessage[]
}

/**
 * All specs that this node knows. A write resolves once it is fsynced *here*; replication is the caller's.
 * Every method that writes throws a typed error of `errors.ts`: `NameTakenError`, `NotFoundError`,
 * `StaleVersionError`, `RollbackUnavailableError`, `StorageFailedError`.
 */
export interface SpecStore {
  get<K extends SpecKind>(kind: K, id: ResourceId): Resource<SpecOf[K]> | undefined
  byName<K extends SpecKind>(kind: K, name: string): Resource<SpecOf[K]> | undefined
  /** A map that is replaced, never mutated. */
  all<K extends SpecKind>(kind: K): ReadonlyMap<ResourceId, Resource<SpecOf[K]>>
  tombstones(): readonly Tombstone[]
  tombstone(kind: SpecKind, name: string): Tombstone | undefined
  /** In this or a later incarnation: by id, for what is left of it when nothing else is known. Looks at every tombstone. */
  wasRemoved(kind: SpecKind, id: ResourceId): boolean

  create<K extends SpecKind>(
    kind: K,
    name: string,
    spec: SpecOf[K],
    author: Author,
  ): Promise<Written<SpecOf[K]>>
  /**
   * Diffs `spec` against the spec *at `versionIndex`* and writes only what the client changed. A version that is
   * not the current one is accepted only if the fields changed since are not among those that the client changed; for
   * a rollback only if none were, since it undoes what the client saw.
   */
  update<K extends SpecKind>(
    kind: K,
    id: ResourceId,
    versionIndex: number,
    spec: SpecOf[K],
    author: Author,
    action?: 'update' | 'rollback',
    revise?: Revise<SpecOf[K]>,
  ): Promise<Written<SpecOf[K]>>
  addFact(
    kind: SpecKind,
    id: ResourceId,
    key: string,
    value: unknown,
    author: Author,
  ): Promise<readonly SpecMessage[]>
  /** Several in one change. Those that stand there already are left as they are. */
  addFacts(
    kind: SpecKind,
    id: ResourceId,
    facts: ReadonlyMap<string, unknown>,
    author: Author,
  ): Promise<readonly SpecMessage[]>
  remove(kind: SpecKind, id: ResourceId, author: Author): Promise<readonly SpecMessage[]>
  /** Brings a removed resource back as its next incarnation, with the spec it had (including edits that lost). */
  restore<K extends SpecKind>(kind: K, name: string, author: Author): Promise<Written<SpecOf[K]>>
  history<K extends SpecKind>(kind: K, id: ResourceId): readonly HistoryEntry<SpecOf[K]>[]

  /**
   * Applies what a peer sent; resolves once it is fsynced here. Idempotent, in any order. `vouched`: whoever hands removals over could
   * sign them itself, so their signers need not be known here; their signatures must hold all the same.
   */
  receive(
    messages: readonly SpecMessage[],
    from?: { readonly vouched: boolean },
  ): Promise<readonly ReceiveOutcome[]>
  digest(): SpecDigestTree
  entries(buckets: readonly number[]): SpecDigestEntries
  /** What a peer with these entries (of these buckets) lacks, and which documents it has that we lack. */
  diff(
    buckets: readonly number[],
    theirs: SpecDigestEntries,
  ): { send: readonly SpecMessage[]; want: readonly string[] }
  /** Whole documents or tombstones by document id, for a peer that asked for them. */
  fetch(documentIds: readonly string[]): readonly SpecMessage[]

  subscribe(listener: (change: SpecChange) => void): () => void
  /** Objects that were found damaged, set aside, and (once a peer sent them) healed. */
  damage(): readonly { readonly what: string; readonly setAsideAs: string; readonly healed: boolean }[]
  close(): Promise<void>
}
