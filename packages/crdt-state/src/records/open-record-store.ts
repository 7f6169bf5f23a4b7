import { stateDefaults } from '../defaults.ts'
import type { NodeId } from '../ids.ts'
import type { Identity } from '../keys.ts'
import type { NodeRecord, RecordChanges } from '../record.ts'
import type { RecordMessage, RecordOutcome, RecordStore, RecordVersion } from '../record-store.ts'
import { type Damage, DamageList } from '../damage.ts'
import { type Storage, wholeDatabase } from '../storage.ts'
import { RecordEntries } from './entries.ts'
import {
  checkedMessage,
  compareVersions,
  entriesAfter,
  isSignedRecord,
  type SignedRecord,
  wholeMessage,
} from './message.ts'
import { epochKey, OwnRecord } from './own-record.ts'

export interface RecordStoreOptions {
  readonly storage: Storage
  /** Its node's record is the one that this store writes. */
  readonly identity: Identity
  readonly clusterId: string
  readonly maxRecordBytes?: number | undefined
  /** A listener threw, or a peer's copy of the own record could not be stored; the store goes on. */
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface OpenedRecordStore extends RecordStore {
  /**
   * The disk lost parts of this node's own record, and no peer's copy has brought them back: wait for a first sync
   * before writing anything (and go on without it after a bound: a node alone has nobody to ask). Until then the own
   * record is absent from `digest`, so that peers send the copies they have.
   */
  readonly isOwnDamaged: boolean
  /** Rows of own and peers' records that were found damaged, set aside, and healed. */
  damage(): readonly Damage[]
}

/** Begins this node's next boot epoch: resolves once that is durable. Rejects with `StorageFailedError`. */
export async function openRecordStore(options: RecordStoreOptions): Promise<OpenedRecordStore> {
  const own = await OwnRecord.open({
    ...options,
    maxRecordBytes: options.maxRecordBytes ?? stateDefaults.maxRecordBytes,
    onError: (error) => options.onError?.(error),
  })
  return new SignedRecordStore(options, own)
}

interface PeerRecord {
  readonly signed: SignedRecord
  readonly record: NodeRecord
  /** Deltas since it was put into the cache on disk. */
  readonly uncached: number
}

class SignedRecordStore implements OpenedRecordStore {
  readonly #options: RecordStoreOptions
  readonly #own: OwnRecord
  readonly #peers = new Map<NodeId, PeerRecord>()
  readonly #damage = new DamageList()
  readonly #listeners = new Set<(changed: ReadonlySet<NodeId>) => void>()
  #ownRecord: NodeRecord
  #all: ReadonlyMap<NodeId, NodeRecord> | undefined

  constructor(options: RecordStoreOptions, own: OwnRecord) {
    this.#options = options
    this.#own = own
    this.#ownRecord = recordOf(own.signed)
    own.onChange(() => this.#ownChanged())
    this.#loadPeers()
  }

  #loadPeers(): void {
    const { storage } = this.#options
    for (const { table, key, bytes } of storage.list('peer-record')) {
      const message = parsedMessage(bytes)
      const outcome = message === undefined ? undefined : this.#apply(message)
      if (outcome?.kind !== 'applied') this.#damage.add(table, key, `${table}/${key}, where it was`)
    }
    for (const { table, key, setAsideAs } of storage.damaged()) {
      const isOurs = table === 'own-record' || table === 'peer-record'
      const isMeta = table === 'meta' && (key === wholeDatabase || key === epochKey)
      if (isOurs || isMeta) this.#damage.add(table, key, setAsideAs)
    }
    // The epoch was written anew when this life began.
    this.#damage.healed('meta', epochKey)
  }

  get own(): NodeRecord {
    return this.#ownRecord
  }

  get isOwnDamaged(): boolean {
    return this.#own.isDamaged
  }

  all(): ReadonlyMap<NodeId, NodeRecord> {
    this.#all ??= new Map([
      [this.#own.node, this.#ownRecord],
      ...[...this.#peers].map(([node, { record }]) => [node, record] as const),
    ])
    return this.#all
  }

  write(changes: RecordChanges): Promise<RecordMessage> {
    return this.#own.write(changes)
  }

  #ownChanged(): void {
    this.#ownRecord = recordOf(this.#own.signed)
    this.#all = undefined
    if (!this.#own.isDamaged) this.#damage.healedAll('own-record')
    this.#tell(new Set([this.#own.node]))
  }

  receive(messages: readonly RecordMessage[]): readonly RecordOutcome[] {
    const changed = new Set<NodeId>()
    const outcomes = messages.map((message) => {
      const outcome = this.#receiveOne(message)
      if (outcome.kind === 'applied' && message.node !== this.#own.node) changed.add(message.node)
      return outcome
    })
    if (changed.size > 0) this.#tell(changed)
    return outcomes
  }

  #receiveOne(message: RecordMessage): RecordOutcome {
    const checked = checkedMessage(message)
    if ('reason' in checked) return { kind: 'refused', reason: checked.reason }
    if (checked.node === this.#own.node) return this.#own.receive(checked)
    const outcome = this.#apply(checked)
    if (outcome.kind === 'applied') this.#cachePeer(checked)
    return outcome
  }

  #apply(message: RecordMessage): RecordOutcome {
    const { node, epoch, seq, publicKey, signature } = message
    const held = this.#peers.get(node)
    if (held !== undefined && compareVersions(message, held.signed) <= 0) return { kind: 'known' }
    const entries = entriesAfter(held?.signed, held?.signed.entries ?? RecordEntries.empty, message)
    if (entries === undefined) return { kind: 'gap', node }
    const maxBytes = this.#options.maxRecordBytes ?? stateDefaults.maxRecordBytes
    if (entries.bytes > maxBytes) {
      return refused(`the record of ${node} has ${entries.bytes} bytes (at most ${maxBytes})`)
    }
    const signed = { node, epoch, seq, publicKey, signature, entries }
    const { identity, clusterId } = this.#options
    if (!isSignedRecord(identity, clusterId, signed)) {
      return refused(`the record of ${node} has a bad signature`)
    }
    const uncached = (held?.uncached ?? 0) + 1
    this.#peers.set(node, { signed, record: recordOf(signed), uncached })
    this.#all = undefined
    return { kind: 'applied' }
  }

  /** A whole record is put on disk at once; a busy node's deltas now and then (they carry 500 bytes, it 500 KB). */
  #cachePeer({ node, from }: RecordMessage): void {
    const held = this.#peers.get(node)
    if (held === undefined) return
    if (from !== undefined && held.uncached < stateDefaults.deltasPerCachedRecord) return
    this.#putPeer(node, held)
  }

  #putPeer(node: NodeId, held: PeerRecord): void {
    const bytes = Buffer.from(JSON.stringify(wholeMessage(held.signed)))
    this.#options.storage.cache([{ kind: 'put', table: 'peer-record', key: node, bytes }])
    this.#peers.set(node, { ...held, uncached: 0 })
    this.#damage.healed('peer-record', node)
  }

  digest(): ReadonlyMap<NodeId, RecordVersion> {
    return new Map(this.#everySigned().map(({ node, epoch, seq }) => [node, { epoch, seq }]))
  }

  newerThan(digest: ReadonlyMap<NodeId, RecordVersion>, maxBytes: number): readonly RecordMessage[] {
    const messages: RecordMessage[] = []
    let bytes = 0
    for (const signed of this.#everySigned()) {
      const theirs = digest.get(signed.node)
      if (theirs !== undefined && compareVersions(signed, theirs) <= 0) continue
      // Quotes and escapes of the JSON around an entry's own JSON, and the signature.
      bytes += Math.ceil(signed.entries.bytes * 1.25) + 512
      if (messages.length > 0 && bytes > maxBytes) break
      messages.push(wholeMessage(signed))
    }
    return messages
  }

  #everySigned(): readonly SignedRecord[] {
    const peers = [...this.#peers.values()].map(({ signed }) => signed)
    return this.#own.published === undefined ? peers : [this.#own.published, ...peers]
  }

  whole(node: NodeId): RecordMessage | undefined {
    const signed = node === this.#own.node ? this.#own.published : this.#peers.get(node)?.signed
    return signed === undefined ? undefined : wholeMessage(signed)
  }

  drop(node: NodeId): void {
    if (!this.#peers.delete(node)) return
    this.#all = undefined
    this.#options.storage.cache([{ kind: 'delete', table: 'peer-record', key: node }])
    this.#tell(new Set([node]))
  }

  subscribe(listener: (changed: ReadonlySet<NodeId>) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  damage(): readonly Damage[] {
    return this.#damage.all()
  }

  async close(): Promise<void> {
    await this.#own.close()
    for (const [node, held] of this.#peers) if (held.uncached > 0) this.#putPeer(node, held)
    this.#listeners.clear()
  }

  #tell(changed: ReadonlySet<NodeId>): void {
    for (const listener of this.#listeners) {
      try {
        listener(changed)
      } catch (error) {
        this.#options.onError?.(error)
      }
    }
  }
}

function recordOf({ node, epoch, seq, entries }: SignedRecord): NodeRecord {
  return entries.record(node, epoch, seq)
}

function parsedMessage(bytes: Uint8Array): RecordMessage | undefined {
  try {
    const message = JSON.parse(Buffer.from(bytes).toString('utf8')) as RecordMessage
    const checked = checkedMessage(message)
    return 'reason' in checked ? undefined : checked
  } catch {
    return undefined
  }
}

function refused(reason: string): RecordOutcome {
  return { kind: 'refused', reason }
}
