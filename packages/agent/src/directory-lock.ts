import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { DirectoryInUseError } from './errors.ts'

/**
 * One agent for each data directory: two with one key would fight over the same containers. Node has no flock, SQLite
 * has; the system releases it with the process, however that ends. Throws `DirectoryInUseError`.
 */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, 'lock')
  const lock = take(path, directory) ?? take(path, directory)
  return () => lock?.close()
}

/** Undefined: what stood there was no lock of ours, and is gone. */
function take(path: string, directory: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path)
  try {
    database.exec('BEGIN EXCLUSIVE')
    return database
  } catch (error) {
    database.close()
    if (isBusy(error)) throw new DirectoryInUseError(directory)
    rmSync(path, { force: true })
    return undefined
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 5
}
