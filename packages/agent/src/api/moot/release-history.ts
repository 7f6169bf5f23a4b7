import {
  failureOf,
  type HistoryEntry,
  releaseNumber,
  releaseOf,
  type Resource,
  type ServiceSpec,
  stackOf,
} from '@moot/crdt-state'
import type { View } from '../../core/view.ts'

type Entry = HistoryEntry<ServiceSpec>

/** A write of a service's spec that was part of a release. */
export interface ReleaseWrite {
  readonly release: string
  readonly entry: Entry
  readonly index: number
}

/**
 * Oldest first. A write is a release's where the release appears in it for the first time: a person's change keeps the
 * label, and a rollback of one service brings an older one back.
 */
export function releaseWrites(history: readonly Entry[]): readonly ReleaseWrite[] {
  const seen = new Set<string>()
  return history.flatMap((entry, index) => {
    const release = entry.action === 'fact' ? undefined : releaseOf(entry.spec)
    if (release === undefined || seen.has(release)) return []
    seen.add(release)
    return [{ release, entry, index }]
  })
}

/** What was in force before this write; never what has failed. Undefined: it was created by it. */
export function specBefore(
  service: Resource<ServiceSpec>,
  history: readonly Entry[],
  { index }: ReleaseWrite,
): ServiceSpec | undefined {
  return history.findLast(({ spec }, at) => at < index && failureOf(spec, service.facts) === undefined)?.spec
}

/** One more than any that the stack's services tell of: read without their histories, which are dear. */
export function nextReleaseNumber(view: View, stack: string): number {
  let highest = 0
  for (const { spec, previous, failure, facts } of view.services.values()) {
    if (stackOf(spec) !== stack) continue
    const known = [
      releaseOf(spec),
      previous === undefined ? undefined : releaseOf(previous),
      ...(failure?.releases ?? []),
      ...[...facts.keys()].map((key) => key.split('/')[2]),
    ]
    highest = Math.max(highest, ...known.map(releaseNumber))
  }
  return highest + 1
}
