import { canonicalJson } from '../canonical-json.ts'
import { stateDefaults } from '../defaults.ts'
import { RecordTooLargeError, StoreClosedError } from '../errors.ts'
import type { NodeId } from '../ids.ts'
import type { Identity } from '../keys.ts'
import type { RecordChanges } from '../record.ts'
import type { RecordMessage, RecordOutcome, RecordVersion } from '../record-store.ts'
import { type Storage, type StorageWrite, wholeDatabase } from '../storage.ts'
import { decodeEntry } from './decode-entry.ts'
import { RecordEntries } from './entries.ts'
import {
  compareVersions,
  deltaMessage,
  entriesAfter,
  isSignedRecord,
  type SignedRecord,
  signRecord,
  wholeMessage,
} from './message.ts'

export interface OwnRecordOptions {
  readonly storage: Storage
  readonly identity: Identity
  readonly clusterId: string
  readonly maxRecordBytes: number
  readonly onError: (error: unknown) => void
}

type TextChanges = ReadonlyMap<string, string | null>
interface PendingWrite {
  readonly changes: TextChanges
  readonly resolve: (message: RecordMessage) => void
  readonly reject: (error: unknown) => void
}

/** One row for each entry, so that a task's change writes a task; and one for the version. */
const entryPrefix = 'entry/'
const versionKey = 'version'
/** The epoch also stands here: a damaged version row must not send the node back in time. */
export const epochKey = 'own-epoch'

/**
 * What this node says of itself. Nothing is shown, signed or sent before it is on the disk. Writes that come while a
 * sync is under way become one batch: one sequence number, one signature, one sync.
 */
export class OwnRecord {
  readonly #options: OwnRecordOptions
  #changed: () => void = () => undefined
  #signed: SignedRecord
  #pending: PendingWrite[] = []
  #running: Promise<void> | undefined
  /** A commit that failed may yet be on the disk: its number never stands for something else. */
  #lastSeq = 0
  /** Of the next write; above the shown one after a jump, until that is durable. */
  #epoch: number
  /** A delta makes sense to peers once they were given the whole of its epoch. */
  #announcedEpoch: number | undefined
  #jumps = 0
  /** The disk remembered no epoch (it is new, wiped, or was replaced): peers may hold this very one of an earlier life. */
  #epochIsGuess: boolean
  /** Signatures of this life, while its epoch is a guess: what else is signed for this epoch is of another life. */
  #said = new Set<string>()
  #closed = false
  /** Keys that this life wrote: what peers remember of them is older. */
  #touched = new Set<string>()
  #loss: Loss
  /** What peers gave back and is not on the disk yet. */
  #adopting = 0

  private constructor(options: OwnRecordOptions, signed: SignedRecord, loss: Loss) {
    this.#epochIsGuess = signed.epoch === 1 || loss.kind === 'all'
    this.#said.add(signed.signature)
    this.#options = options
    this.#signed = signed
    this.#epoch = signed.epoch
    this.#loss = loss
  }

  /** Begins the next epoch, durably. Suspicions are of the life before: what it saw may have changed. */
  static async open(options: OwnRecordOptions): Promise<OwnRecord> {
    const { storage, identity, clusterId } = options
    const rows = storage.list('own-record')
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')
    const said = rows
      .filter(({ key }) => key.startsWith(entryPrefix))
      .map(({ key, bytes }) => [key.slice(entryPrefix.length), text(bytes)] as const)
    const kept = said.filter(([key, text]) => outlivesRestart(key, text))
    const epochs = [rows.find(({ key }) => key === versionKey)?.bytes, storage.get('meta', epochKey)].map(
      (bytes) => epochIn(bytes === undefined ? '' : text(bytes)),
    )
    const epoch = Math.max(...epochs) + 1
    const signed = signRecord(identity, clusterId, { epoch, seq: 0 }, RecordEntries.empty.with(kept))
    const own = new OwnRecord(options, signed, lossIn(storage))
    const dropped = said
      .filter(([key, text]) => !outlivesRestart(key, text))
      .map(([key]) => [key, null] as const)
    await storage.commit(writesOf(signed, new Map(dropped), true))
    return own
  }

  /** One listener: called when the record changed, durably. */
  onChange(listener: () => void): void {
    this.#changed = listener
  }

  get signed(): SignedRecord {
    return this.#signed
  }

  /** Parts of the record were lost with the disk, and what a peer gave back does not stand in the record yet. */
  get isDamaged(): boolean {
    return this.#loss.kind !== 'none' && (this.#loss.adopted === undefined || this.#adopting > 0)
  }

  /**
   * What peers may see. A record with a hole would replace, at the peers, the copies that can fill it: it is kept back
   * until one of them came, or this life wrote something without waiting any longer.
   */
  get published(): SignedRecord | undefined {
    return this.isDamaged && this.#announcedEpoch === undefined ? undefined : this.#signed
  }

  write(changes: RecordChanges): Promise<RecordMessage> {
    const texts = [...changes].map(
      ([key, value]) => [key, value === undefined ? null : canonicalJson(value)] as const,
    )
    return this.#enqueue(new Map(texts))
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  #enqueue(changes: TextChanges): Promise<RecordMessage> {
    if (this.#closed) return Promise.reject(new StoreClosedError())
    return new Promise((resolve, reject) => this.#queue({ changes, resolve, reject }))
  }

  #queue(write: PendingWrite): void {
    this.#pending.push(write)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    // One turn later, so that writes made together are one batch.
    await Promise.resolve()
    while (this.#pending.length > 0) await this.#commitBatch(this.#pending.splice(0))
    this.#running = undefined
  }

  async #commitBatch(batch: readonly PendingWrite[]): Promise<void> {
    const base = this.#signed
    const { entries, changes, accepted } = this.#applied(batch, base.entries)
    if (accepted.length === 0) return
    const epoch = this.#epoch
    const isAnnounced = this.#announcedEpoch === epoch
    if (changes.size === 0 && isAnnounced) {
      for (const { resolve } of accepted) resolve(deltaMessage(base, base.seq, {}))
      if (this.#loss.kind !== 'none') this.#changed()
      return
    }
    this.#lastSeq += 1
    const next = this.#sign({ epoch, seq: this.#lastSeq }, entries)
    try {
      await this.#options.storage.commit(writesOf(next, changes, !isAnnounced))
    } catch (error) {
      for (const { reject } of accepted) reject(error)
      return
    }
    const message = isAnnounced
      ? deltaMessage(next, base.seq, Object.fromEntries(changes))
      : wholeMessage(next)
    this.#signed = next
    this.#announcedEpoch = epoch
    if (this.#epochIsGuess) this.#said.add(next.signature)
    // Peers that know an earlier life have told so by then, or are told themselves by its higher numbers.
    if (this.#said.size > stateDefaults.guessedEpochWritesMax) this.#epochIsGuess = false
    for (const key of changes.keys()) this.#touched.add(key)
    for (const { resolve } of accepted) resolve(message)
    this.#changed()
  }

  /** Each write alone may be too large: then it alone fails. */
  #applied(
    batch: readonly PendingWrite[],
    base: RecordEntries,
  ): {
    readonly entries: RecordEntries
    readonly changes: TextChanges
    readonly accepted: readonly PendingWrite[]
  } {
    const { maxRecordBytes } = this.#options
    let entries = base
    const keys = new Set<string>()
    const accepted: PendingWrite[] = []
    for (const write of batch) {
      const next = entries.with(write.changes)
      if (next.bytes > maxRecordBytes && next.bytes > entries.bytes) {
        write.reject(new RecordTooLargeError(next.bytes, maxRecordBytes))
        continue
      }
      entries = next
      for (const key of write.changes.keys()) keys.add(key)
      accepted.push(write)
    }
    const changed = [...keys].filter((key) => base.text(key) !== entries.text(key))
    return { entries, changes: new Map(changed.map((key) => [key, entries.text(key) ?? null])), accepted }
  }

  /**
   * A peer's copy of this node's own record. After damage it gives back what was lost. A higher epoch is of a life
   * that this disk has forgotten (restored from a backup?): jumped past. The same epoch with other content is another
   * agent with this node's key.
   */
  receive(message: RecordMessage): RecordOutcome {
    const order = compareVersions(message, this.#signed)
    if (message.from !== undefined) {
      return order > 0 ? { kind: 'gap', node: message.node } : { kind: 'known' }
    }
    const entries = entriesAfter(undefined, RecordEntries.empty, message) ?? RecordEntries.empty
    const { identity, clusterId } = this.#options
    if (!isSignedRecord(identity, clusterId, { ...message, entries })) {
      return { kind: 'refused', reason: `the record of ${message.node} has a bad signature` }
    }
    const version = { epoch: message.epoch, seq: message.seq }
    const isSameEpoch = message.epoch === this.#signed.epoch
    if (isSameEpoch && this.#isOurs(message, order)) return { kind: 'known' }
    if (isSameEpoch && !this.#mayBeEarlier) return { kind: 'cloned', version }
    if (message.epoch >= this.#epoch) {
      this.#jumps += 1
      if (this.#jumps > stateDefaults.epochJumpsMax) return { kind: 'cloned', version }
      this.#epoch = message.epoch + 1
      this.#epochIsGuess = false
      this.#lastSeq = 0
      this.#loss = { kind: 'all', adopted: this.#loss.kind === 'none' ? undefined : this.#loss.adopted }
    }
    return this.#adopt(version, entries)
  }

  /** May peers hold this very epoch of an earlier life? So too while a jump past it is on its way to the disk. */
  get #mayBeEarlier(): boolean {
    return this.#epochIsGuess || this.#epoch > this.#signed.epoch
  }

  /** Said in this life? Its older versions are not kept, so in an epoch that is no guess they are taken for ours. */
  #isOurs(message: RecordMessage, order: number): boolean {
    if (this.#mayBeEarlier) return this.#said.has(message.signature)
    return order === 0 ? message.signature === this.#signed.signature : order < 0
  }

  /** Takes over what was lost, unless this life has written it since, or a newer copy gave it already. */
  #adopt(version: RecordVersion, entries: RecordEntries): RecordOutcome {
    const loss = this.#loss
    if (loss.kind === 'none') return { kind: 'known' }
    if (loss.adopted !== undefined && compareVersions(version, loss.adopted) <= 0) return { kind: 'known' }
    this.#loss = { ...loss, adopted: version }
    const keys = entries
      .keys()
      .filter((key) => !key.startsWith('alert/') && !this.#touched.has(key))
      .filter((key) => loss.kind === 'all' || loss.keys.has(key))
    const changes = new Map(keys.map((key) => [key, entries.text(key) ?? null]))
    // Not a promise's doing: whoever is told of the change must find the record whole already.
    this.#adopting += 1
    this.#queue({
      changes,
      resolve: () => {
        this.#adopting -= 1
      },
      reject: (error) => {
        this.#adopting -= 1
        this.#loss = loss
        this.#options.onError(error)
      },
    })
    return { kind: 'applied' }
  }

  #sign(version: RecordVersion, entries: RecordEntries): SignedRecord {
    const { identity, clusterId } = this.#options
    return signRecord(identity, clusterId, version, entries)
  }

  get node(): NodeId {
    return this.#signed.node
  }
}

/**
 * Suspicions end with the process. Verdicts stay: else a last survivor that restarts would count the claims of the dead
 * again, and yield its own tasks to them.
 */
function outlivesRestart(key: string, text: string): boolean {
  const entry = decodeEntry(key, text)
  if (!key.startsWith('alert/')) return true
  return entry?.kind === 'alert' && (entry.value.evidence === 'judged' || entry.value.evidence === 'returned')
}

/** What the disk lost of this record; `adopted` is the version of the peer's copy that gave it back. */
type Loss =
  | { readonly kind: 'none' }
  | { readonly kind: 'keys'; readonly keys: ReadonlySet<string>; readonly adopted: RecordVersion | undefined }
  | { readonly kind: 'all'; readonly adopted: RecordVersion | undefined }

function lossIn(storage: Storage): Loss {
  const damaged = storage.damaged()
  if (damaged.some(({ table, key }) => table === 'meta' && key === wholeDatabase)) {
    return { kind: 'all', adopted: undefined }
  }
  const keys = damaged
    .filter(({ table, key }) => table === 'own-record' && key.startsWith(entryPrefix))
    .map(({ key }) => key.slice(entryPrefix.length))
  return keys.length === 0 ? { kind: 'none' } : { kind: 'keys', keys: new Set(keys), adopted: undefined }
}

function writesOf(
  { epoch, seq }: SignedRecord,
  changes: TextChanges,
  isFirstOfEpoch: boolean,
): readonly StorageWrite[] {
  const entries = [...changes].map(([key, text]): StorageWrite => {
    const row = { table: 'own-record', key: entryPrefix + key } as const
    return text === null ? { kind: 'delete', ...row } : { kind: 'put', ...row, bytes: Buffer.from(text) }
  })
  const version = Buffer.from(JSON.stringify({ epoch, seq }))
  return [
    ...entries,
    { kind: 'put', table: 'own-record', key: versionKey, bytes: version },
    ...(isFirstOfEpoch
      ? [{ kind: 'put', table: 'meta', key: epochKey, bytes: version } satisfies StorageWrite]
      : []),
  ]
}

/** 0 where there is none, or none that can be read. */
function epochIn(text: string): number {
  try {
    const value = JSON.parse(text) as { readonly epoch?: unknown }
    return Number.isSafeInteger(value.epoch) ? Number(value.epoch) : 0
  } catch {
    return 0
  }
}
