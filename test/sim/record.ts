import type { NodeRecord, RecordChanges } from '@moot/crdt-state'

const partOf = { task: 'tasks', alert: 'alerts', update: 'updates', rejection: 'rejections' } as const

/** What a record store does with a write, without its bytes. */
export function applyChanges(record: NodeRecord, changes: RecordChanges): NodeRecord {
  const next: Record<string, unknown> = { ...record, seq: record.seq + 1 }
  const copied = new Set<string>()
  for (const [key, value] of changes) {
    const [kind, id] = key.split('/', 2) as [keyof typeof partOf, string]
    const part = partOf[kind]
    if (!copied.has(part)) next[part] = new Map(record[part] as ReadonlyMap<unknown, unknown>)
    copied.add(part)
    const entries = next[part] as Map<string, unknown>
    if (value === undefined) entries.delete(id)
    else entries.set(id, value)
  }
  return next as unknown as NodeRecord
}
