import { digestId, nodeIdOf } from '../hash.ts'
import { generateIdentity } from '../identity.ts'
import type { NodeId, ServiceId, SpecDigest, TaskId } from '../ids.ts'
import type { Identity } from '../keys.ts'
import { memoryStorage, type MemoryStorage } from '../memory-storage.ts'
import { type RecordChanges, recordKey, type TaskEntry } from '../record.ts'
import type { RecordMessage, RecordStore } from '../record-store.ts'
import { type OpenedRecordStore, openRecordStore } from '../records/open-record-store.ts'
import { overTheWire } from './spec-fixtures.ts'

export interface OpenedRecords {
  readonly store: OpenedRecordStore
  readonly storage: MemoryStorage
  readonly identity: Identity
  readonly node: NodeId
  reopen(): Promise<OpenedRecords>
}

export async function openRecords(
  given: { identity?: Identity; storage?: MemoryStorage; maxRecordBytes?: number } = {},
): Promise<OpenedRecords> {
  const identity = given.identity ?? generateIdentity().identity
  const storage = given.storage ?? memoryStorage()
  const store = await openRecordStore({
    identity,
    storage,
    clusterId: 'testcluster',
    maxRecordBytes: given.maxRecordBytes,
  })
  return {
    store,
    storage,
    identity,
    node: nodeIdOf(identity.publicKey),
    async reopen() {
      await store.close()
      return openRecords({ ...given, identity, storage })
    },
  }
}

export function task(name: string, change: Partial<TaskEntry> = {}): TaskEntry {
  return {
    id: digestId('task', name) as TaskId,
    service: digestId('service', 'web') as ServiceId,
    slot: 1,
    attempt: 1,
    digest: 'abc' as SpecDigest,
    serviceVersion: 1,
    desired: 'running',
    state: 'running',
    createdAtMs: 1,
    stateAtMs: 1,
    ...change,
  }
}

export function tasks(...entries: readonly TaskEntry[]): RecordChanges {
  return new Map(entries.map((entry) => [recordKey.task(entry.id), entry]))
}

export function withoutTask(name: string): RecordChanges {
  return new Map([[recordKey.task(task(name).id), undefined]])
}

/** One round of anti-entropy: `to` gets what `from` has and it lacks. */
export function catchUp(from: RecordStore, to: RecordStore, maxBytes = 1_000_000): readonly RecordMessage[] {
  const messages = overTheWire(from.newerThan(to.digest(), maxBytes))
  to.receive(messages)
  return messages
}
