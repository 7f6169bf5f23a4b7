import {
  canonicalJson,
  type Alert,
  type BlockClaims,
  type NodeId,
  type NodeRecord,
  type NodeStatus,
  type RecordChanges,
  type RecordMessage,
  type Rejection,
  type ResourceId,
  type ServiceId,
  type TaskEntry,
  type TaskId,
  type UpdateFacts,
} from '@moot/crdt-state'
import { defaults } from '../../../packages/agent/src/defaults.ts'
import { mergeDeltas } from '../../../packages/agent/src/replication/record-outbox.ts'
import { encode, page } from '../../../packages/agent/src/replication/wire.ts'

/** In front of each gossiped payload (adapters/libp2p/gossip.ts). */
export const nonceBytes = 8

/** The record after these changes, and the delta that says so. Parts without a change keep their identity. */
export function written(
  before: NodeRecord,
  changes: RecordChanges,
): { readonly record: NodeRecord; readonly delta: RecordMessage } {
  const after = {
    ...before,
    seq: before.seq + 1,
  }
  const parts = new Map<string, Map<string, unknown>>()
  const part = (kind: keyof typeof fieldOf): Map<string, unknown> => {
    const known = parts.get(kind)
    if (known !== undefined) return known
    const copy = new Map<string, unknown>(before[fieldOf[kind]])
    parts.set(kind, copy)
    return copy
  }
  const entries: Record<string, string | null> = {}
  let status = before.status
  for (const [key, value] of changes) {
    entries[key] = value === undefined ? null : canonicalJson(value)
    const [kind, id] = key.split('/', 2) as [string, string | undefined]
    if (id === undefined) status = value as NodeStatus | undefined
    else if (value === undefined) part(kind as keyof typeof fieldOf).delete(id)
    else part(kind as keyof typeof fieldOf).set(id, value)
  }
  const record: NodeRecord = {
    ...after,
    status,
    tasks: (parts.get('task') ?? before.tasks) as ReadonlyMap<TaskId, TaskEntry>,
    alerts: (parts.get('alert') ?? before.alerts) as ReadonlyMap<NodeId, Alert>,
    updates: (parts.get('update') ?? before.updates) as ReadonlyMap<ServiceId, UpdateFacts>,
    rejections: (parts.get('rejection') ?? before.rejections) as ReadonlyMap<ServiceId, Rejection>,
    blocks: (parts.get('block') ?? before.blocks) as ReadonlyMap<ResourceId, BlockClaims>,
  }
  const delta = {
    node: before.node,
    epoch: before.epoch,
    seq: record.seq,
    from: before.seq,
    entries,
    // As long as real ones: nobody here checks them.
    publicKey: 'k'.repeat(44),
    signature: 's'.repeat(88),
  }
  return { record, delta }
}

const fieldOf = {
  task: 'tasks',
  alert: 'alerts',
  update: 'updates',
  rejection: 'rejections',
  block: 'blocks',
} as const

/** The sizes of the messages that gossip these deltas, as production joins and pages them. */
export function gossipSizes(deltas: readonly RecordMessage[]): readonly number[] {
  const sizes: number[] = []
  let rest = mergeDeltas(deltas)
  while (rest.length > 0) {
    const records = page(rest, defaults.gossipMaxBytes)
    rest = rest.slice(records.length)
    sizes.push(encode({ records }).length + nonceBytes)
  }
  return sizes
}
