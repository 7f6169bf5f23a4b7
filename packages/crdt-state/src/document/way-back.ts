import { stateDefaults } from '../defaults.ts'
import type { SpecDigest } from '../ids.ts'
import { releaseOf } from '../release.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { specDigest } from '../spec-digest.ts'
import type { HistoryEntry } from '../spec-store.ts'
import { changedFields } from './diff.ts'
import { failureOf, type UpdateFailure, updateFact } from './effective.ts'
import { flatten } from './flat.ts'

type Facts = ReadonlyMap<string, unknown>

/** What is undone of an update that failed. */
export interface WayBack {
  readonly back: UpdateFailure['back']
  /** The releases that wrote the service since what it goes back to. */
  readonly releases: readonly string[]
}

/** A write of the spec in the history, and which release it was (not: was on top of). */
interface Write {
  readonly spec: ServiceSpec
  readonly digest: SpecDigest
  readonly label: string | undefined
  readonly release: string | undefined
  readonly action: HistoryEntry<ServiceSpec>['action']
  /** Where it stands in the history. */
  readonly index: number
}

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
  facts: Facts,
): WayBack | undefined {
  const digest = specDigest(current)
  const writes = writesOf(history)
  const first = writes[0]?.digest
  const isProven = ({ spec, digest: each }: Write): boolean =>
    each === first || (facts.has(updateFact.completed(each)) && failureOf(spec, facts) === undefined)
  const last = writes.findLastIndex((write) => write.digest === digest)
  // What two people's edits make together stands in nobody's history: then it is all that is undone.
  const before =
    last < 0 ? writes.length - 1 : writes.findLastIndex((write, at) => at < last && write.digest !== digest)
  const began = last < 0 ? current : writes[before + 1]?.spec
  const target = writes.findLastIndex((write, at) => at <= before && isProven(write))
  const proven = writes[target]
  // It runs what it would go back to: only a change that replaces no task (a scale) would be undone.
  if (began === undefined || proven === undefined || proven.digest === digest) return undefined
  const releases = new Set(writes.slice(target + 1).flatMap(({ release }) => release ?? []))
  return {
    // How many there were just before stays: scaled in between, to 0 say, is no part of an update that failed.
    back: differences(began, scaledAs(proven.spec, writes[before]?.spec)),
    releases: [...releases].slice(-stateDefaults.releasesUndoneMax),
  }
}

/**
 * What must be undone of a service because its release goes back, whether its own update has ended or not: all that these
 * releases wrote since what was there before them. `undefined`: it was created by them, or somebody has changed what it
 * runs since, or has rolled it back.
 *
 * @param history oldest first.
 */
export function wayBackWithRelease(
  history: readonly HistoryEntry<ServiceSpec>[],
  current: ServiceSpec,
  facts: Facts,
  releases: ReadonlySet<string>,
): UpdateFailure['back'] | undefined {
  const writes = writesOf(history)
  const isTheirs = ({ label, action }: Write): boolean =>
    label !== undefined && releases.has(label) && action !== 'rollback'
  const last = writes.at(-1)
  if (last === undefined || !isTheirs(last) || last.label !== releaseOf(current)) return undefined
  const before = writes.findLastIndex((write) => !isTheirs(write))
  const began = writes.findLast(({ release }, at) => at > before && release !== undefined)
  const start = writes[before + 1]
  if (began === undefined || start === undefined || began.digest !== specDigest(current)) return undefined
  // As it was in force then, facts included; but never what has failed.
  const target = history.findLast(
    ({ spec }, index) => index < start.index && failureOf(spec, facts) === undefined,
  )
  return target === undefined ? undefined : differences(began.spec, target.spec)
}

function writesOf(history: readonly HistoryEntry<ServiceSpec>[]): readonly Write[] {
  const writes: Write[] = []
  for (const [index, { spec, action }] of history.entries()) {
    if (action === 'fact') continue
    const label = releaseOf(spec)
    // A person's change leaves the label as it was, and a rollback brings an older one back: neither is that release.
    const isRelease = action !== 'rollback' && label !== writes.at(-1)?.label
    writes.push({
      spec,
      digest: specDigest(spec),
      label,
      release: isRelease ? label : undefined,
      action,
      index,
    })
  }
  return writes
}

function scaledAs(spec: ServiceSpec, other: ServiceSpec | undefined): ServiceSpec {
  const { Replicated } = other?.Mode ?? {}
  return spec.Mode.Replicated === undefined || Replicated === undefined
    ? spec
    : { ...spec, Mode: { ...spec.Mode, Replicated } }
}

function differences(began: ServiceSpec, target: ServiceSpec): UpdateFailure['back'] {
  const from = flatten(began)
  return Object.fromEntries(
    [...changedFields(began, target)].map(([pointer, to]) => [
      pointer,
      { ...(from.has(pointer) && { from: from.get(pointer) }), ...(to !== undefined && { to }) },
    ]),
  )
}
