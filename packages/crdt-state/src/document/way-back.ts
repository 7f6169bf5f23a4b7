import type { SpecDigest } from '../ids.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { specDigest } from '../spec-digest.ts'
import type { HistoryEntry } from '../spec-store.ts'
import { changedFields } from './diff.ts'
import { type UpdateFailure, updateFact } from './effective.ts'
import { flatten } from './flat.ts'

/**
 * What must be undone of the update to `digest`: all that was written since the newest spec before it that is proven (an
 * update to it was completed, or it was the first), up to the write that began this update. What was written later and
 * changes no task (a scale in the middle of it) stays. `undefined`: there is nothing to go back to.
 *
 * @param history oldest first.
 */
export function wayBack(
  history: readonly HistoryEntry<ServiceSpec>[],
  current: ServiceSpec,
  facts: ReadonlyMap<string, unknown>,
): UpdateFailure['back'] | undefined {
  const digest = specDigest(current)
  const written = history.filter(({ action }) => action !== 'fact').map(({ spec }) => spec)
  const digests = written.map(specDigest)
  const isProven = (each: SpecDigest): boolean => each === digests[0] || facts.has(updateFact.completed(each))
  const last = digests.lastIndexOf(digest)
  // What two people's edits make together stands in nobody's history: then it is all that is undone.
  const before =
    last < 0 ? written.length - 1 : digests.findLastIndex((each, at) => at < last && each !== digest)
  const began = last < 0 ? current : written[before + 1]
  const target = written.findLast((_, at) => at <= before && isProven(digests[at] ?? digest))
  if (began === undefined || target === undefined) return undefined
  const from = flatten(began)
  return Object.fromEntries(
    [...changedFields(began, target)].map(([pointer, to]) => [
      pointer,
      { ...(from.has(pointer) && { from: from.get(pointer) }), ...(to !== undefined && { to }) },
    ]),
  )
}
