import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { stateDefaults } from './defaults.ts'
import { StorageFailedError } from './errors.ts'
import type { Table } from './storage.ts'
import { isLogDamaged } from './write-ahead-log.ts'

export interface OpenedDatabase {
  readonly database: DatabaseSync
  /** A damaged file stood here: it was renamed to this, and its readable rows were copied over. */
  readonly setAsideAs: string | undefined
}

/**
 * Opens or begins the database. A half-written log is SQLite's business: its frames carry checksums, and recovery
 * stops at the first that does not hold; that commits stand behind it is ours to find. A file that is no database, or whose pages contradict each other, is set
 * aside: a damaged disk must not keep an agent from starting.
 */
export function openDatabase(path: string): OpenedDatabase {
  try {
    if (isLogDamaged(`${path}-wal`)) return replaced(path)
    const database = open(path)
    if (isSound(database)) return { database, setAsideAs: undefined }
    database.close()
  } catch (error) {
    // A missing directory or a full disk is not damage, and renaming would not help.
    if (!existsSync(path) || isUnusableDisk(error)) throw new StorageFailedError(path, error)
  }
  return replaced(path)
}

function replaced(path: string): OpenedDatabase {
  const setAsideAs = setDatabaseAside(path, undefined)
  const database = open(path)
  salvageInto(database, setAsideAs)
  return { database, setAsideAs }
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    // EXTRA adds nothing to FULL in WAL mode; NORMAL would lose acknowledged commits with the power.
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = FULL')
    database.exec(`
      CREATE TABLE IF NOT EXISTS object (
        tbl TEXT NOT NULL, key TEXT NOT NULL, bytes BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (tbl, key)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS set_aside (
        id INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, key TEXT NOT NULL, bytes BLOB
      );`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function isSound(database: DatabaseSync): boolean {
  try {
    const row = database.prepare('PRAGMA quick_check(1)').get()
    return row?.['quick_check'] === 'ok'
  } catch {
    return false
  }
}

/** SQLITE_PERM 3, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14, and BUSY 5: another agent has it. */
function isUnusableDisk(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return false
  return [3, 5, 8, 10, 13, 14].includes(Number(error.errcode) & 0xff)
}

/** Renames the file and its log to the first free `….damaged-N`; the oldest beyond the bound are removed. */
export function setDatabaseAside(path: string, database: DatabaseSync | undefined): string {
  try {
    database?.close()
  } catch {
    // Closing checkpoints the log, which a damaged file refuses: the log is kept beside it.
  }
  const taken = damagedFiles(path)
  const target = `${path}.damaged-${(taken.at(-1)?.number ?? 0) + 1}`
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix)
  }
  for (const { file } of taken.slice(0, Math.max(0, taken.length + 1 - stateDefaults.setAsideFilesMax))) {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  }
  return target
}

function damagedFiles(path: string): readonly { readonly file: string; readonly number: number }[] {
  const prefix = `${basename(path)}.damaged-`
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name) => ({ file: join(dirname(path), name), number: Number(name.slice(prefix.length)) }))
    .sort((a, b) => a.number - b.number)
}

const promises: Table = 'lease'

/**
 * Copies the rows that can still be read: forward until the damage, and backward from the end until the damage.
 * Their checksums are copied too, so that a row that was read wrongly is found when it is used. What was promised to
 * others is not copied: a damaged log may have taken it back to an older state, and a promise that is forgotten in part is worse than none.
 */
export function salvageInto(database: DatabaseSync, damagedPath: string): void {
  let damaged: DatabaseSync | undefined
  try {
    damaged = new DatabaseSync(damagedPath)
    const put = database.prepare('INSERT OR IGNORE INTO object (tbl, key, bytes, sum) VALUES (?, ?, ?, ?)')
    database.exec('BEGIN')
    for (const direction of ['ASC', 'DESC']) copyRows(damaged, put, direction)
  } catch {
    // Not a database at all: peers have what it held.
  } finally {
    if (database.isTransaction) database.exec('COMMIT')
    try {
      damaged?.close()
    } catch {
      // As above.
    }
  }
}

function copyRows(
  from: DatabaseSync,
  put: { run(tbl: string, key: string, bytes: Uint8Array, sum: Uint8Array): unknown },
  direction: string,
): void {
  try {
    const rows = from
      .prepare(`SELECT tbl, key, bytes, sum FROM object ORDER BY tbl ${direction}, key ${direction}`)
      .iterate()
    for (const { tbl, key, bytes, sum } of rows) {
      if (typeof tbl !== 'string' || typeof key !== 'string' || tbl === promises) continue
      if (bytes instanceof Uint8Array && sum instanceof Uint8Array) put.run(tbl, key, bytes, sum)
    }
  } catch {
    // The damage begins here.
  }
}
