import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { StorageFailedError } from './errors.ts'
import { beginReplacing, isBeingReplaced, replaceDamaged, tables } from './sqlite-salvage.ts'
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
    if (!isBeingReplaced(path) && !isLogDamaged(`${path}-wal`)) {
      const database = open(path)
      if (isSound(database)) return { database, setAsideAs: undefined }
      database.close()
    }
  } catch (error) {
    // A missing directory or a full disk is not damage, and renaming would not help.
    if (!existsSync(path) || isUnusableDisk(error)) throw new StorageFailedError(path, error)
  }
  return replaced(path)
}

/** One that turned out to be damaged while it was used. Where that fails `database` may be closed; opening its path goes on with it. */
export function replaceDatabase(path: string, database: DatabaseSync): OpenedDatabase {
  return replaced(path, database)
}

function replaced(path: string, inUse?: DatabaseSync): OpenedDatabase {
  try {
    const isResumed = beginReplacing(path)
    try {
      inUse?.close()
    } catch {
      // Closing checkpoints the log, which a damaged file refuses: the log is kept beside it.
    }
    const setAsideAs = replaceDamaged(path, isResumed)
    return { database: open(path), setAsideAs }
  } catch (error) {
    throw new StorageFailedError(path, error)
  }
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    // EXTRA adds nothing to FULL in WAL mode; NORMAL would lose acknowledged commits with the power.
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = FULL')
    database.exec(tables)
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
