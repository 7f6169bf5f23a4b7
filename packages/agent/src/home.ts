import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  generateIdentity,
  type Identity,
  loadIdentity,
  memoryStorage,
  openSqliteStorage,
  type Storage,
} from '@moot/crdt-state'
import { type FileDamage, keptFile } from './kept-file.ts'

/** What an agent keeps on its disk: its key, its store, and a note of what it needs to heal a lost store. */
export interface Home {
  /** The node's key; made on first use. One key is one membership: `wipe` forgets it. */
  identity(): Identity
  openStorage(): Storage
  /**
   * The note of the membership (one line of text), which must survive the loss of the whole store. Throws
   * `BothCopiesDamagedError`.
   */
  readNote(): string | undefined
  writeNote(text: string): void
  /** Files, other than the store's, that were found damaged. */
  damage(): readonly FileDamage[]
  /** Forgets all of it, after a node has left its cluster. The store must be closed. */
  wipe(): void
}

/** A directory: `node.key` (0600), `membership` and `state.db`. */
export function directoryHome(directory: string): Home {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const key = keptFile(join(directory, 'node.key'))
  const note = keptFile(join(directory, 'membership'))
  const storePath = join(directory, 'state.db')
  return {
    identity() {
      const kept = key.read()
      if (kept !== undefined) return loadIdentity(kept)
      const { identity, secret } = generateIdentity()
      key.write(secret)
      return identity
    },
    openStorage: () => openSqliteStorage({ path: storePath }),
    readNote: () => note.read(),
    writeNote: (text) => note.write(text),
    damage: () => [...key.damage(), ...note.damage()],
    wipe() {
      // The note first: what is left after a crash must not look like a member that lost its store.
      note.remove()
      for (const suffix of ['', '-wal', '-shm']) rmSync(storePath + suffix, { force: true })
      key.remove()
    },
  }
}

/** The twin: all in memory; a second `openStorage` finds what the first committed. */
export function memoryHome(): Home {
  let identity: Identity | undefined
  let storage: Storage | undefined
  let note: string | undefined
  return {
    identity() {
      identity ??= generateIdentity().identity
      return identity
    },
    openStorage() {
      storage ??= memoryStorage()
      return storage
    },
    readNote: () => note,
    writeNote: (text) => {
      note = text
    },
    damage: () => [],
    wipe() {
      identity = undefined
      storage = undefined
      note = undefined
    },
  }
}
