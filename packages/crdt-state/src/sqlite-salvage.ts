import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { stateDefaults } from './defaults.ts'
import type { Table } from './storage.ts'

export const tables = `
  CREATE TABLE IF NOT EXISTS object (
    tbl TEXT NOT NULL, key TEXT NOT NULL, bytes BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (tbl, key)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS set_aside (
    id INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, key TEXT NOT NULL, bytes BLOB
  );`

const sides = ['-wal', '-shm']
const newOf = (path: string): string => `${path}.new`

/** A replacing of the damaged file was begun, and did not end: it has to go on, or its successor would be an empty one. */
export function isBeingReplaced(path: string): boolean {
  return existsSync(newOf(path))
}

/** Durable before anything is moved. Answers whether an earlier replacing is gone on with. */
export function beginReplacing(path: string): boolean {
  const isResumed = isBeingReplaced(path)
  // First: a journal that is left would be played back into what is begun now.
  for (const suffix of ['-journal', ...sides]) rmSync(newOf(path) + suffix, { force: true })
  closeSync(openSync(newOf(path), 'w'))
  sync(newOf(path))
  sync(dirname(path))
  return isResumed
}

/**
 * After `beginReplacing`: sets the damaged file aside, copies what can be read of it, and puts this into its place, last. Broken off
 * anywhere, or for want of room, it begins again with the same damaged file. Returns what that is called now.
 */
export function replaceDamaged(path: string, isResumed: boolean): string {
  const setAsideAs = setAside(path, isResumed)
  salvage(setAsideAs, newOf(path))
  renameSync(newOf(path), path)
  sync(dirname(path))
  return setAsideAs
}

/** Renames the file and its log to the first free `….damaged-N`; the oldest beyond the bound are removed. */
function setAside(path: string, isResumed: boolean): string {
  const last = damagedFiles(path).at(-1)
  const isMoved = isResumed && !existsSync(path)
  const target = isMoved && last !== undefined ? last.file : `${path}.damaged-${(last?.number ?? 0) + 1}`
  // The log after the file: a file without its log would pass for a sound one that is older.
  for (const suffix of ['', ...sides]) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix)
    sync(dirname(path))
  }
  for (const { file } of damagedFiles(path).slice(0, -stateDefaults.setAsideFilesMax)) {
    for (const suffix of ['', ...sides]) rmSync(file + suffix, { force: true })
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
function salvage(damagedPath: string, path: string): void {
  // No log: what has to be moved into place is one file.
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA synchronous = FULL')
    database.exec(tables)
    const put = database.prepare('INSERT OR IGNORE INTO object (tbl, key, bytes, sum) VALUES (?, ?, ?, ?)')
    database.exec('BEGIN')
    for (const [tbl, key, bytes, sum] of readableRows(damagedPath)) put.run(tbl, key, bytes, sum)
    database.exec('COMMIT')
  } finally {
    database.close()
  }
  sync(path)
}

type ReadableRow = readonly [tbl: string, key: string, bytes: Uint8Array, sum: Uint8Array]

function* readableRows(damagedPath: string): Generator<ReadableRow> {
  if (!existsSync(damagedPath)) return
  let damaged: DatabaseSync | undefined
  try {
    damaged = new DatabaseSync(damagedPath)
    for (const direction of ['ASC', 'DESC']) yield* rowsOf(damaged, direction)
  } catch (error) {
    // Else it is not a database at all: peers have what it held.
    if (isNoDamage(error)) throw error
  } finally {
    try {
      damaged?.close()
    } catch {
      // As above.
    }
  }
}

function* rowsOf(damaged: DatabaseSync, direction: string): Generator<ReadableRow> {
  try {
    const rows = damaged
      .prepare(`SELECT tbl, key, bytes, sum FROM object ORDER BY tbl ${direction}, key ${direction}`)
      .iterate()
    for (const { tbl, key, bytes, sum } of rows) {
      if (typeof tbl !== 'string' || typeof key !== 'string' || tbl === promises) continue
      if (bytes instanceof Uint8Array && sum instanceof Uint8Array) yield [tbl, key, bytes, sum]
    }
  } catch (error) {
    // Else the damage begins here.
    if (isNoDamage(error)) throw error
  }
}

/**
 * The damaged file could be read if there were room or memory: SQLITE_NOMEM 7, FULL 13, CANTOPEN 14, and SQLITE_IOERR_SHMOPEN, SHMSIZE,
 * SHMLOCK and SHMMAP (10 with 18 to 21 in the higher bits), for reading it takes a file in shared memory. Other read errors are a bad disk's.
 */
function isNoDamage(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return false
  const code = Number(error.errcode)
  const detail = code >> 8
  return [7, 13, 14].includes(code & 0xff) || ((code & 0xff) === 10 && detail >= 18 && detail <= 21)
}

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
