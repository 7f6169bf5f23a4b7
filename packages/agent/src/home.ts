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
import { lockDirectory } from './directory-lock.ts'
import { type FileDamage, keptFile } from './kept-file.ts'
import { directoryWireGuardKeys, memoryWireGuardKeys, type WireGuardKeys } from './wire-guard-keys.ts'

/** What an agent keeps on its disk: its key, its store, and a note of what it needs to heal a lost store. */
export interface Home {
  /** The node's key; made on first use. One key is one membership: `wipe` forgets it. */
  identity(): Identity
  /** Until it is closed no other agent can have it: throws `DirectoryInUseError`. */
  openStorage(): Storage
  /**
   * The note of the membership (one line of text), which must survive the loss of the whole store. Throws
   * `BothCopiesDamagedError`.
   */
  readNote(): string | undefined
  writeNote(text: string): void
  readonly wireGuardKeys: WireGuardKeys
  /** Files, other than the store's, that were found damaged. */
  damage(): readonly FileDamage[]
  /**
   * Forgets the store, the note and the keys of WireGuard; with `andKey` the key too, after a node has left its cluster: one key is one
   * membership. The store must be closed.
   */
  wipe(andKey: boolean): void
}

/** A directory: `node.key` and `wireguard-N.key` (0600), `membership` and `state.db`. */
export function directoryHome(directory: string): Home {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const key = keptFile(join(directory, 'node.key'))
  const note = keptFile(join(directory, 'membership'))
  const storePath = join(directory, 'state.db')
  const wireGuardKeys = directoryWireGuardKeys(directory)
  return {
    identity() {
      const kept = key.read()
      if (kept !== undefined) return loadIdentity(kept)
      const { identity, secret } = generateIdentity()
      key.write(secret)
      return identity
    },
    openStorage() {
      const unlock = lockDirectory(directory)
      try {
        return unlocking(openSqliteStorage({ path: storePath }), unlock)
      } catch (error) {
        unlock()
        throw error
      }
    },
    readNote: () => note.read(),
    writeNote: (text) => note.write(text),
    wireGuardKeys,
    damage: () => [...key.damage(), ...note.damage()],
    wipe(andKey) {
      // The note first: what is left after a crash must not look like a member that lost its store.
      note.remove()
      for (const suffix of ['.new', '.new-journal', '', '-wal', '-shm'])
        rmSync(storePath + suffix, { force: true })
      forgetAll(wireGuardKeys)
      if (andKey) key.remove()
    },
  }
}

function forgetAll(keys: WireGuardKeys): void {
  for (const { round } of keys.list()) keys.remove(round)
}

function unlocking(storage: Storage, unlock: () => void): Storage {
  return {
    commit: (writes) => storage.commit(writes),
    cache: (writes) => storage.cache(writes),
    get: (table, key) => storage.get(table, key),
    list: (table) => storage.list(table),
    damaged: () => storage.damaged(),
    async close() {
      await storage.close()
      unlock()
    },
  }
}

/** The twin: all in memory; a second `openStorage` finds what the first committed. */
export function memoryHome(): Home {
  let identity: Identity | undefined
  let storage: Storage | undefined
  let note: string | undefined
  const wireGuardKeys = memoryWireGuardKeys()
  return {
    wireGuardKeys,
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
    wipe(andKey) {
      if (andKey) identity = undefined
      storage = undefined
      note = undefined
      forgetAll(wireGuardKeys)
    },
  }
}
