import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { stateDefaults } from './defaults.ts'
import { StorageFailedError, StoreClosedError } from './errors.ts'
import { sha256 } from './hash.ts'
import { describeWrites } from './memory-storage.ts'
import { openDatabase, replaceDatabase } from './sqlite-database.ts'
import {
  type DamagedObject,
  type Storage,
  type StorageWrite,
  type StoredObject,
  type Table,
  wholeDatabase,
} from './storage.ts'

interface Row {
  readonly tbl: string
  readonly key: string
  readonly bytes: Uint8Array
  readonly sum: Uint8Array
}

interface PendingCommit {
  readonly writes: readonly StorageWrite[]
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

interface Statements {
  readonly put: StatementSync
  readonly delete: StatementSync
  readonly get: StatementSync
  readonly list: StatementSync
  readonly setAside: StatementSync
}

/** Enough to tell damage from data; it is no defence against people, who could write the checksum too. */
const checksumBytes = 16

/**
 * The node's disk. A commit is one transaction (WAL, synchronous=FULL: SQLite syncs the log before COMMIT returns),
 * so it is there as a whole after a power failure or not at all. Damage never throws: a row whose checksum fails is
 * moved to `set_aside`; a file that SQLite cannot read is renamed, and what is still readable is copied over.
 */
export function openSqliteStorage(options: { readonly path: string }): SqliteStorage {
  mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 })
  return new SqliteStorage(options.path)
}

export class SqliteStorage implements Storage {
  readonly #path: string
  #database: DatabaseSync
  #statements: Statements
  #damaged: DamagedObject[] = []
  #pending: PendingCommit[] = []
  #scheduled: NodeJS.Immediate | undefined
  /** By table and key: the last of several cached writes of one object is enough. */
  #cached = new Map<string, StorageWrite>()
  #cacheTimer: NodeJS.Timeout | undefined
  #closed = false

  constructor(path: string) {
    this.#path = path
    const opened = openDatabase(path)
    this.#database = opened.database
    this.#statements = prepare(opened.database)
    if (opened.setAsideAs !== undefined) this.#reportDatabase(opened.setAsideAs)
  }

  async commit(writes: readonly StorageWrite[]): Promise<void> {
    if (this.#closed) throw new StoreClosedError()
    if (writes.length === 0) return
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ writes, resolve, reject })
      // One turn later: commits asked for in the same turn share one fsync.
      this.#scheduled ??= setImmediate(() => this.#flush())
    })
  }

  #flush(): void {
    this.#scheduled = undefined
    const batch = this.#pending.splice(0)
    this.#flushCache()
    if (batch.length === 0) return
    if (this.#transaction(batch.flatMap(({ writes }) => writes)) === undefined) {
      for (const { resolve } of batch) resolve()
      return
    }
    // One bad commit must not fail its neighbours: each for itself.
    for (const { writes, resolve, reject } of batch) {
      const failure = this.#transaction(writes)
      if (failure === undefined) resolve()
      else reject(new StorageFailedError(describeWrites(writes), failure))
    }
  }

  /** Returns why it failed; undefined when it is on the disk. */
  #transaction(writes: readonly StorageWrite[]): unknown {
    try {
      this.#attempt(writes)
      return undefined
    } catch (error) {
      if (!this.#isReplaceable(error)) return error
    }
    try {
      this.#replaceDatabase()
      this.#attempt(writes)
      return undefined
    } catch (error) {
      return error
    }
  }

  #attempt(writes: readonly StorageWrite[]): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (const write of writes) this.#apply(write)
      this.#database.exec('COMMIT')
    } catch (error) {
      // A failed COMMIT may have rolled back by itself (https://sqlite.org/lang_transaction.html, response to errors).
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  #apply(write: StorageWrite): void {
    if (write.kind === 'delete') this.#statements.delete.run(write.table, write.key)
    else {
      const { table, key, bytes } = write
      this.#statements.put.run(table, key, bytes, checksum(table, key, bytes))
    }
  }

  cache(writes: readonly StorageWrite[]): void {
    if (this.#closed) return
    for (const write of writes) this.#cached.set(`${write.table}\0${write.key}`, write)
    if (this.#cached.size >= stateDefaults.cachedWritesMax) this.#flushCache()
    else this.#cacheTimer ??= setTimeout(() => this.#flushCache(), stateDefaults.cacheFlushMs).unref()
  }

  /** What cannot be written is dropped: it is a cache, and the next commit reports the disk's failure. */
  #flushCache(): void {
    clearTimeout(this.#cacheTimer)
    this.#cacheTimer = undefined
    if (this.#cached.size === 0 || this.#closed) return
    const writes = [...this.#cached.values()]
    this.#cached.clear()
    this.#transaction(writes)
  }

  get(table: Table, key: string): Uint8Array | undefined {
    this.#flushCache()
    return this.#reading(() => {
      const row = this.#statements.get.get(table, key) as unknown as Row | undefined
      return row === undefined ? undefined : this.#checked(row)
    })
  }

  list(table: Table): readonly StoredObject[] {
    this.#flushCache()
    return this.#reading(() => {
      const rows = this.#statements.list.all(table) as unknown as readonly Row[]
      return rows.flatMap((row) => {
        const bytes = this.#checked(row)
        return bytes === undefined ? [] : [{ table, key: row.key, bytes }]
      })
    })
  }

  #reading<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      if (!this.#isReplaceable(error)) throw new StorageFailedError('a read', error)
    }
    this.#replaceDatabase()
    return read()
  }

  #checked(row: Row): Uint8Array | undefined {
    if (row.bytes instanceof Uint8Array && row.sum instanceof Uint8Array) {
      const expected = checksum(row.tbl, row.key, row.bytes)
      if (expected.equals(row.sum)) return row.bytes
    }
    const table = row.tbl as Table
    let setAsideAs = 'nowhere: it could not be moved'
    try {
      const { lastInsertRowid } = this.#statements.setAside.run(row.tbl, row.key, row.bytes)
      this.#statements.delete.run(row.tbl, row.key)
      setAsideAs = `set_aside/${lastInsertRowid}`
    } catch (error) {
      // A full or read-only disk: the object is damaged all the same, and found again at the next start.
      if (isCorruption(error)) throw error
    }
    this.#damaged.push({ table, key: row.key, setAsideAs })
    return undefined
  }

  /** Is the file damaged? Or is none open, because the disk had no room for replacing a damaged one? */
  #isReplaceable(error: unknown): boolean {
    return isCorruption(error) || (!this.#closed && !this.#database.isOpen)
  }

  /** The file is damaged beyond a row: a new one is begun with what can still be read of it. */
  #replaceDatabase(): void {
    const { database, setAsideAs } = this.#database.isOpen
      ? replaceDatabase(this.#path, this.#database)
      : openDatabase(this.#path)
    this.#database = database
    this.#statements = prepare(database)
    if (setAsideAs !== undefined) this.#reportDatabase(setAsideAs)
  }

  #reportDatabase(setAsideAs: string): void {
    this.#damaged.push({ table: 'meta', key: wholeDatabase, setAsideAs })
  }

  damaged(): readonly DamagedObject[] {
    return [...this.#damaged]
  }

  /** How this connection keeps its promise; for tests and `moot status`. */
  durability(): { readonly journalMode: string; readonly synchronous: number } {
    const journal = this.#database.prepare('PRAGMA journal_mode').get()
    const synchronous = this.#database.prepare('PRAGMA synchronous').get()
    return {
      journalMode: String(journal?.['journal_mode']),
      synchronous: Number(synchronous?.['synchronous']),
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    clearImmediate(this.#scheduled)
    this.#flush()
    this.#closed = true
    clearTimeout(this.#cacheTimer)
    this.#database.close()
  }
}

function prepare(database: DatabaseSync): Statements {
  return {
    put: database.prepare('INSERT OR REPLACE INTO object (tbl, key, bytes, sum) VALUES (?, ?, ?, ?)'),
    delete: database.prepare('DELETE FROM object WHERE tbl = ? AND key = ?'),
    get: database.prepare('SELECT tbl, key, bytes, sum FROM object WHERE tbl = ? AND key = ?'),
    list: database.prepare('SELECT tbl, key, bytes, sum FROM object WHERE tbl = ? ORDER BY key'),
    setAside: database.prepare('INSERT INTO set_aside (tbl, key, bytes) VALUES (?, ?, ?)'),
  }
}

function checksum(table: string, key: string, bytes: Uint8Array): Buffer {
  return sha256(Buffer.concat([Buffer.from(`${table}\0${key}\0`), bytes])).subarray(0, checksumBytes)
}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), with their extended codes in the higher bits. */
function isCorruption(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return false
  const code = Number(error.errcode) & 0xff
  return code === 11 || code === 26
}
