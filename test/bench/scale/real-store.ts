import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  generateIdentity,
  memoryStorage,
  openRecordStore,
  recordKey,
  type NodeId,
  type NodeRecord,
  type NodeStatus,
  type RecordChanges,
  type RecordKey,
  type RecordMessage,
  type RecordStore,
  type Storage,
  type TaskEntry,
} from '@moot/crdt-state'
import { service, task } from '../../../packages/agent/src/core/placement/fixtures.ts'
import { startDetector } from '../../../packages/agent/src/core/membership/detector-state.ts'
import { stepDetector } from '../../../packages/agent/src/core/membership/detector.ts'
import { reconcile } from '../../../packages/agent/src/core/reconcile/reconcile.ts'
import { noLeases } from '../../../packages/agent/src/core/reconcile/testing.ts'
import type { View } from '../../../packages/agent/src/core/view.ts'
import { createDecisions } from '../../../packages/agent/src/decisions.ts'
import { memoryClock } from '../../../packages/agent/src/ports/clock.memory.ts'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import { decode, encode, recordAnswerSchema } from '../../../packages/agent/src/replication/wire.ts'
import { Costs, rounded } from './figures.ts'

const clusterId = 'bench'
/** Enough for the optimizing compiler to be done before the half of them that counts. */
const deltas = 1_000

/** What an agent spends on one gossiped delta of a record with so many tasks: shape, key, signature, folding it in. */
export async function receivingCosts(
  tasksPerNode: number,
): Promise<{ medianMs: number; p99Ms: number; meanCpuMs: number }> {
  const of = service('web')
  const entries = Array.from({ length: tasksPerNode }, (_, index) => task(of, index + 1))
  const author = await openStore()
  await author.write(changesOf(entries))
  const listener = await openStore()
  listener.receive(wholeOf(author))
  const costs = new Costs()
  for (let turn = 0; turn < deltas; turn += 1) {
    if (turn === deltas / 2) costs.take()
    const entry = entries[turn % entries.length]
    if (entry === undefined) throw new Error('a record without tasks')
    const delta = await author.write(changesOf([{ ...entry, stateAtMs: 1_000_000 + turn }]))
    const payload = encode({ records: [delta] })
    const outcomes = costs.measure(() => listener.receive(received(payload)))
    if (outcomes[0]?.kind !== 'applied') throw new Error(`a delta was not applied: ${outcomes[0]?.kind}`)
  }
  await Promise.all([author.close(), listener.close()])
  const { medianMs, p99Ms, meanCpuMs } = costs.take()
  return { medianMs, p99Ms, meanCpuMs }
}

/**
 * The heap of one agent that shares nothing with others: everybody's record in a record store of its own, parsed from
 * what came over the wire, and what liveness, placement, reconciliation and detector keep from one decision to the next.
 * Without the specs' documents (Automerge keeps them outside the heap) and without libp2p.
 */
export async function memoryOfOne(view: View): Promise<{ recordsMiB: number; decisionsMiB: number }> {
  const payloads: Buffer[] = []
  const names = new Map<NodeId, NodeId>()
  for (const record of view.records.values()) {
    const author = await openStore()
    await author.write(changesOf(record.tasks.values(), record.status))
    names.set(author.own.node, record.node)
    payloads.push(Buffer.from(encode({ records: wholeOf(author) })))
    await author.close()
  }
  const collect = garbageCollector()
  const emptyBytes = collect()
  // On a real disk peers' records are cached in SQLite, not in the heap.
  const store = await openStore(Object.assign(memoryStorage(), { cache: () => undefined }))
  for (const payload of payloads) store.receive(received(payload))
  const recordsBytes = collect()
  const { own } = store
  // Real ids are hashes of keys; everything else knows the nodes by the bench's names.
  const records = new Map<NodeId, NodeRecord>()
  for (const [id, record] of store.all()) {
    const name = names.get(id)
    if (name !== undefined) records.set(name, { ...record, node: name })
  }
  const renamedBytes = collect()
  const mine: View = { ...view, records }
  const decisions = createDecisions({
    viewOf: () => mine,
    clock: memoryClock(),
    settings: defaults,
    changed: () => undefined,
  })
  const { liveness, unsettled, placement } = decisions.now()
  const output = reconcile({
    view: mine,
    liveness,
    unsettled,
    placement,
    containers: new Map(),
    health: new Map(),
    engine: { kind: 'up' },
    listed: false,
    inFlight: new Set(),
    results: new Map(),
    networks: undefined,
    guests: { wishes: [], seen: [] },
    idleBlocks: new Map(),
    leases: noLeases,
    synced: true,
    mayBeLost: () => false,
    nowMs: 0,
    specAt: () => undefined,
    settings: defaults,
  })
  const detector = stepDetector(
    startDetector(mine, 0),
    { kind: 'view', view: mine, nowMs: 1, wallMs: 1 },
    defaults,
  )
  const decidedBytes = collect()
  // What is measured must be alive until here.
  if (records.size !== view.records.size) throw new Error(`${records.size} records came over`)
  const kept = [own, output, detector, decisions]
  await store.close()
  return {
    recordsMiB: mebibytes(recordsBytes - emptyBytes),
    decisionsMiB: kept.length > 0 ? mebibytes(decidedBytes - renamedBytes) : 0,
  }
}

function openStore(storage: Storage = memoryStorage()): Promise<RecordStore> {
  return openRecordStore({ storage, identity: generateIdentity().identity, clusterId })
}

function changesOf(tasks: Iterable<TaskEntry>, status?: NodeStatus): RecordChanges {
  const changes = new Map<RecordKey, TaskEntry | NodeStatus>()
  if (status !== undefined) changes.set(recordKey.status, status)
  for (const each of tasks) changes.set(recordKey.task(each.id), each)
  return changes
}

function wholeOf(store: RecordStore): readonly RecordMessage[] {
  const whole = store.whole(store.own.node)
  if (whole === undefined) throw new Error('a store without its own record')
  return [whole]
}

function received(payload: Uint8Array): readonly RecordMessage[] {
  const body = decode(recordAnswerSchema, payload)
  if (body === undefined) throw new Error('what was encoded cannot be decoded')
  return body.records
}

/** Returns the bytes of heap in use after collecting. */
function garbageCollector(): () => number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  return () => {
    gc()
    gc()
    return process.memoryUsage().heapUsed
  }
}

function mebibytes(bytes: number): number {
  return rounded(bytes / 1_024 / 1_024)
}
