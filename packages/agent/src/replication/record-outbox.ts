import type { RecordMessage } from '@moot/crdt-state'

/**
 * Joins consecutive deltas of one's own record into one: later entries win, and the last signature proves the whole,
 * since it is over all entries after applying. Deltas that do not continue each other stay apart.
 */
export function mergeDeltas(deltas: readonly RecordMessage[]): readonly RecordMessage[] {
  const merged: RecordMessage[] = []
  for (const delta of deltas) {
    const last = merged.at(-1)
    const sameLife = last !== undefined && last.node === delta.node && last.epoch === delta.epoch
    // Writers whose changes went to the disk together were each given the same delta.
    if (sameLife && delta.seq <= last.seq) continue
    if (!sameLife || delta.from === undefined || delta.from > last.seq) {
      merged.push(delta)
      continue
    }
    const entries = { ...last.entries, ...delta.entries }
    // A whole record has no entries that say "removed"; a delta must keep them.
    const kept =
      last.from === undefined
        ? Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== null))
        : entries
    const { from: _, ...rest } = delta
    merged[merged.length - 1] = {
      ...rest,
      ...(last.from === undefined ? {} : { from: last.from }),
      entries: kept,
    }
  }
  return merged
}
