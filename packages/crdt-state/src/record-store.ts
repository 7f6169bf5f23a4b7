import type { NodeId } from './ids.ts'
import type { NodeRecord, RecordChanges } from './record.ts'

/** (boot epoch, sequence): the higher wins, epoch first. */
export interface RecordVersion {
  readonly epoch: number
  readonly seq: number
}

/**
 * A record or a change of one on the wire. `entries` holds canonical JSON texts by key (null = removed). The
 * signature covers (cluster, node, epoch, seq, hash of *all* entries after applying), so a delta proves the whole.
 */
export interface RecordMessage {
  readonly node: NodeId
  readonly epoch: number
  readonly seq: number
  /** The sequence that this delta starts from (same epoch); absent = the whole record. */
  readonly from?: number
  readonly entries: Readonly<Record<string, string | null>>
  readonly publicKey: string
  readonly signature: string
}

export type RecordOutcome =
  | { readonly kind: 'applied' }
  | { readonly kind: 'known' }
  /** A delta whose base we do not have: ask that node, or any peer, for the whole record. */
  | { readonly kind: 'gap'; readonly node: NodeId }
  | { readonly kind: 'refused'; readonly reason: string }
  /** Our own node with a higher epoch, or with our epoch and other content: a cloned disk. */
  | { readonly kind: 'cloned'; readonly version: RecordVersion }

/**
 * The records of all nodes: one's own, durable before `write` resolves, and the others' newest, kept on disk as a
 * cache. A record is dropped with its node's membership.
 */
export interface RecordStore {
  readonly own: NodeRecord
  all(): ReadonlyMap<NodeId, NodeRecord>
  /** Applies the changes as one; resolves once fsynced with the delta to gossip. Calls queue in order. */
  write(changes: RecordChanges): Promise<RecordMessage>
  /** Idempotent, in any order. Verified before it is applied; peers' records are not fsynced. */
  receive(messages: readonly RecordMessage[]): readonly RecordOutcome[]
  digest(): ReadonlyMap<NodeId, RecordVersion>
  /** Whole records that a peer with this digest lacks, at most `maxBytes` of them (at least one). */
  newerThan(digest: ReadonlyMap<NodeId, RecordVersion>, maxBytes: number): readonly RecordMessage[]
  whole(node: NodeId): RecordMessage | undefined
  drop(node: NodeId): void
  subscribe(listener: (changed: ReadonlySet<NodeId>) => void): () => void
  close(): Promise<void>
}
