import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { TestHost } from './hosts.ts'

/** What the disk of an agent that does not run holds, and how one byte of it goes wrong. */
export function storePath(host: TestHost): string {
  return join(host.directory, 'agent', 'state.db')
}

/** Flips a byte in the middle of one object; `key` is a LIKE pattern. Returns the key that it found. */
export function flipInObject(host: TestHost, table: string, key: string): string {
  const database = new DatabaseSync(storePath(host))
  try {
    const row = database
      .prepare('SELECT key, bytes FROM object WHERE tbl = ? AND key LIKE ? ORDER BY key LIMIT 1')
      .get(table, key)
    if (row === undefined) throw new Error(`${host.name} stores no ${table} ${key}`)
    const bytes = Buffer.from(row['bytes'] as Uint8Array)
    const middle = bytes.length >> 1
    bytes[middle] = (bytes[middle] ?? 0) ^ 0x10
    const found = String(row['key'])
    database.prepare('UPDATE object SET bytes = ? WHERE tbl = ? AND key = ?').run(bytes, table, found)
    return found
  } finally {
    database.close()
  }
}

/** Flips a byte of a file; `at` is given the file's length. */
export function flipInFile(path: string, at: (length: number) => number): void {
  const bytes = readFileSync(path)
  const position = at(bytes.length)
  bytes[position] = (bytes[position] ?? 0) ^ 0x10
  writeFileSync(path, bytes)
}

/** Folds the log into the database file, so that a flip in the file hits what is used. */
export function foldLog(host: TestHost): void {
  const database = new DatabaseSync(storePath(host))
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

export function logBytes(host: TestHost): number {
  return statSync(`${storePath(host)}-wal`).size
}
