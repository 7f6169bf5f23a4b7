import { decodeDocument } from '../document/live-document.ts'
import { tombstoneSchema } from '../document/tombstone.ts'
import { type Storage, type StoredObject, type Table, wholeDatabase } from '../storage.ts'
import type { DamageList } from '../damage.ts'
import { decodeGrave } from './grave.ts'
import { nameKey, type SpecIndex } from './spec-index.ts'

const specTables: readonly Table[] = ['document', 'tombstone', 'graveyard']

/**
 * Fills the index from the disk. What cannot be read is left out: it is then absent from the digest, so that the next
 * sync with a peer brings it back.
 */
export function loadSpecs(storage: Storage, index: SpecIndex, damage: DamageList): void {
  for (const object of storage.list('tombstone')) {
    reading(object, damage, (bytes) => {
      const tombstone = tombstoneSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
      if (nameKey(tombstone.kind, tombstone.name) !== object.key) throw new Error('stored under another name')
      index.bury(tombstone)
    })
  }
  for (const object of storage.list('document')) {
    reading(object, damage, (bytes) => {
      const document = decodeDocument(bytes)
      if (document.id !== object.key) throw new Error('stored under another id')
      const tombstone = index.tombstone(document.kind, document.name)
      if (document.incarnation > (tombstone?.incarnation ?? 0)) index.put(document)
    })
  }
  for (const object of storage.list('graveyard')) {
    reading(object, damage, (bytes) => {
      const grave = decodeGrave(bytes)
      index.graves.set(grave.document.id, grave)
    })
  }
  for (const { table, key, setAsideAs } of storage.damaged()) {
    const isWhole = table === 'meta' && key === wholeDatabase
    if (specTables.includes(table) || isWhole) damage.add(table, key, setAsideAs)
  }
}

function reading(object: StoredObject, damage: DamageList, read: (bytes: Uint8Array) => void): void {
  try {
    read(object.bytes)
  } catch {
    // Its checksum holds, so it was written like that (another version of the agent?). It stays until it is replaced.
    damage.add(object.table, object.key, `${object.table}/${object.key}, where it was`)
  }
}
