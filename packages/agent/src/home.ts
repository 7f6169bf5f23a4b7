import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  generateIdentity,
  type Identity,
  loadIdentity,
  memoryStorage,
  openSqliteStorage,
  type Storage,
} from '@moot/crdt-state'

/** What an agent keeps on its disk: its key and its store. */
export interface Home {
  /** The node's key; made on first use. One key is one membership: `wipe` forgets it. */
  identity(): Identity
  openStorage(): Storage
  /** Forgets the key and the store, after a node has left its cluster. The store must be closed. */
  wipe(): void
}

/** A directory: `node.key` (0600) and `state.db`. */
export function directoryHome(directory: string): Home {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const keyPath = join(directory, 'node.key')
  const storePath = join(directory, 'state.db')
  return {
    identity() {
      if (existsSync(keyPath)) return loadIdentity(readFileSync(keyPath, 'utf8'))
      const { identity, secret } = generateIdentity()
      // Written aside and renamed: a crash leaves no half key.
      writeFileSync(`${keyPath}.new`, secret, { mode: 0o600, flush: true })
      chmodSync(`${keyPath}.new`, 0o600)
      renameSync(`${keyPath}.new`, keyPath)
      return identity
    },
    openStorage: () => openSqliteStorage({ path: storePath }),
    wipe() {
      for (const path of [keyPath, storePath, `${storePath}-wal`, `${storePath}-shm`])
        rmSync(path, { force: true })
    },
  }
}

/** The twin: all in memory; a second `openStorage` finds what the first committed. */
export function memoryHome(): Home {
  let identity: Identity | undefined
  let storage: Storage | undefined
  return {
    identity() {
      identity ??= generateIdentity().identity
      return identity
    },
    openStorage() {
      storage ??= memoryStorage()
      return storage
    },
    wipe() {
      identity = undefined
      storage = undefined
    },
  }
}
