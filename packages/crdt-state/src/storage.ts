/**
 * The storage port: named objects in tables, durable in batches. The real adapter is node:sqlite (WAL,
 * synchronous=FULL); the twin keeps what was not yet synced apart, so that a simulated crash loses exactly that.
 */
export type Table =
  'document' | 'tombstone' | 'graveyard' | 'own-record' | 'peer-record' | 'meta' | 'token' | 'lease'

export interface StoredObject {
  readonly table: Table
  readonly key: string
  readonly bytes: Uint8Array
}
/** The key (in table `meta`) under which `damaged` reports that the whole store was set aside: any object may be missing. */
export const wholeDatabase = '*'

export interface DamagedObject {
  readonly table: Table
  readonly key: string
  /** Where the damaged bytes were put. */
  readonly setAsideAs: string
}

export type StorageWrite =
  | { readonly kind: 'put'; readonly table: Table; readonly key: string; readonly bytes: Uint8Array }
  | { readonly kind: 'delete'; readonly table: Table; readonly key: string }

export interface Storage {
  /** All of it or nothing; resolves when it is on the disk (fsync). Rejects with `StorageFailedError`. */
  commit(writes: readonly StorageWrite[]): Promise<void>
  /** Like `commit`, but may be lost by a crash (peers' records: a cache). Never reorders with a later `commit`. */
  cache(writes: readonly StorageWrite[]): void
  get(table: Table, key: string): Uint8Array | undefined
  /** Every object of a table whose checksum holds; the others are set aside and reported by `damaged`. */
  list(table: Table): readonly StoredObject[]
  damaged(): readonly DamagedObject[]
  close(): Promise<void>
}
