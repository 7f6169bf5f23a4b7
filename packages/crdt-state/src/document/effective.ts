import { z } from 'zod'
import type { SpecDigest } from '../ids.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { specDigest } from '../spec-digest.ts'
import type { Conflict } from '../spec-store.ts'
import { partitionPointer } from '../partition.ts'
import { releaseOf } from '../release.ts'
import { sameJson } from './diff.ts'
import { readSpec } from './read-spec.ts'

/** Facts beside a service's spec, by the digest of what it was updated to. They only grow. */
export const updateFact = {
  /** The update has ended well: what may be gone back to. */
  completed: (digest: SpecDigest): string => `completed/${digest}`,
  /** The update has failed, and FailureAction is `rollback`: an `UpdateFailure`. */
  failed: (digest: SpecDigest): string => `failed/${digest}`,
  /** What this release changed goes back with it, though it did not fail itself: an `UpdateFailure`. */
  failedWith: (digest: SpecDigest, release: string): string => `failed/${digest}/${release}`,
  /** Somebody has let it go on after a pause. */
  resumed: (digest: SpecDigest, who: string): string => `resumed/${digest}/${who}`,
} as const

/** How often people have let the update to this digest go on. */
export function resumedTimes(facts: ReadonlyMap<string, unknown>, digest: SpecDigest): number {
  const prefix = updateFact.resumed(digest, '')
  let times = 0
  for (const key of facts.keys()) if (key.startsWith(prefix)) times += 1
  return times
}

/** A field that is not there has neither. */
const goneBackSchema = z.object({ from: z.unknown().optional(), to: z.unknown().optional() })

const updateFailureSchema = z.object({
  task: z.string(),
  atMs: z.number(),
  /** By JSON pointer. Only a field that still says `from` goes back: what people wrote later stands. */
  back: z.record(z.string(), goneBackSchema),
  /** The releases that this undoes: what else they changed goes back too. */
  releases: z.array(z.string()).optional(),
  /** It goes back with its release: `task` is one of this service, which has failed. */
  release: z.object({ id: z.string(), service: z.string() }).optional(),
})

/** What is remembered of an update that failed, and which of its fields go back. `atMs` is for people. */
export type UpdateFailure = z.infer<typeof updateFailureSchema>

export interface Effective<K extends SpecKind> {
  readonly spec: SpecOf[K]
  readonly problems: readonly Conflict[]
  /** The spec is not what people wrote, but what was gone back to. */
  readonly failure?: UpdateFailure
}

/** What people wrote, and what became of it: a function of the document alone, the same on every node. Texts are JSON. */
export function effectiveSpec<K extends SpecKind>(
  kind: K,
  name: string,
  registers: ReadonlyMap<string, string>,
  facts: ReadonlyMap<string, string>,
): Effective<K> {
  const written = readSpec(kind, name, registers)
  if (kind !== 'service' || facts.size === 0) return written
  const text = failureOf(written.spec as ServiceSpec, facts)
  const failure = text === undefined ? undefined : updateFailureSchema.safeParse(JSON.parse(text))
  if (failure?.success !== true) return written
  return { ...readSpec(kind, name, goneBack(registers, failure.data)), failure: failure.data }
}

/** The fact that what people wrote here was gone back from, if it was: by itself, or else with its release. */
export function failureOf<T>(spec: ServiceSpec, facts: ReadonlyMap<string, T>): T | undefined {
  const digest = specDigest(spec)
  const release = releaseOf(spec)
  const withIts = release === undefined ? undefined : facts.get(updateFact.failedWith(digest, release))
  return facts.get(updateFact.failed(digest)) ?? withIts
}

function goneBack(
  registers: ReadonlyMap<string, string>,
  { back }: UpdateFailure,
): ReadonlyMap<string, string> {
  const result = new Map(registers)
  for (const [pointer, { from, to }] of Object.entries(back)) {
    // What people say of partitions is no part of an update: a failed one must not end or begin a slot's leases.
    if (pointer === partitionPointer) continue
    const text = registers.get(pointer)
    if (!sameJson(text === undefined ? undefined : JSON.parse(text), from)) continue
    if (to === undefined) result.delete(pointer)
    else result.set(pointer, JSON.stringify(to))
  }
  return result
}
