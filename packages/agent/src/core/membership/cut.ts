import type { NodeId } from '@moot/crdt-state'
import {
  isFallen,
  isNewer,
  isOnProbation,
  isUnheard,
  type Liveness,
  type LivenessMap,
  type Version,
} from './liveness.ts'

export interface CutSettings {
  readonly cutWaitMs: number
  readonly unstableMaxMs: number
  readonly youngDoubtMs: number
}

/** What an agent acts upon, and why it may be behind what it sees. Times are monotonic, ms. */
export interface Cut {
  /** What is acted upon. */
  readonly liveness: LivenessMap
  /** Given up, as they were known then. */
  readonly gone: ReadonlyMap<NodeId, Gone>
  /** Fallen, and not acted upon yet: since when. */
  readonly waiting: ReadonlyMap<NodeId, number>
  /** Accused by some, and by too few for a verdict: since when. */
  readonly unstable: ReadonlyMap<NodeId, number>
  /** Of whom it may be clear in a moment whether they are there: nobody yields to them meanwhile, nor do they. */
  readonly unsettled: ReadonlySet<NodeId>
  /** When it has to be looked at again, although nothing new was seen. */
  readonly lookAtMs: number | undefined
}

interface Gone {
  readonly liveness: Liveness
  readonly version: Version
}

export const firstCut: Cut = {
  liveness: new Map(),
  gone: new Map(),
  waiting: new Map(),
  unstable: new Map(),
  unsettled: new Set(),
  lookAtMs: undefined,
}

/**
 * Rapid's watermarks (Suresh et al., ATC '18, section 4.2), without its consensus: while some member is accused by fewer
 * than a verdict takes, the verdicts on others wait, so that a rack which dies is one decision. Not for long, and not for
 * members of whom there has been doubt for long: a bad link must not hold up everybody else's failover.
 *
 * Whoever was given up stays so until a newer record of it comes, whatever becomes of those whose word it was: what it ran
 * runs elsewhere by now.
 *
 * @param seen.assessed by the records alone.
 * @param seen.records as they were assessed.
 * @param seen.missed whom this node does not hear, though its record says nothing of it.
 * @param seen.isCutOff whoever has not been given up before is not given up now, since it is this node that is away.
 */
export function nextCut(
  before: Cut,
  seen: {
    readonly assessed: LivenessMap
    readonly records: ReadonlyMap<NodeId, Version>
    readonly missed?: Iterable<NodeId>
    readonly isCutOff: boolean
    readonly nowMs: number
  },
  settings: CutSettings,
): Cut {
  const { records, missed = [], isCutOff, nowMs } = seen
  const assessed = withGone(before.gone, seen)
  const waiting = new Map<NodeId, number>()
  const unstable = new Map<NodeId, number>()
  for (const [node, { kind }] of assessed) {
    if (kind === 'suspect') unstable.set(node, before.unstable.get(node) ?? nowMs)
    else if (isFallen(kind) && before.liveness.get(node)?.kind !== kind)
      waiting.set(node, before.waiting.get(node) ?? nowMs)
  }
  const youngerThan = (ageMs: number) => [...unstable].filter(([, sinceMs]) => nowMs - sinceMs < ageMs)
  const settleAtMs = youngerThan(settings.unstableMaxMs).map(
    ([, sinceMs]) => sinceMs + settings.unstableMaxMs,
  )
  const young = youngerThan(settings.youngDoubtMs)
  const oldAtMs = young.map(([, sinceMs]) => sinceMs + settings.youngDoubtMs)
  // A link that is broken for ever is somebody's own trouble; but where nobody hears it, it may be gone all along.
  const unheard = [...unstable.keys()].filter((node) => isUnheard(assessed.get(node)))
  const unsettled = new Set([...young.map(([node]) => node), ...unheard, ...missed])
  const acted = {
    liveness: assessed,
    gone: goneOf(assessed, before.gone, records),
    waiting: new Map(),
    unstable,
    unsettled,
    lookAtMs: earliest(oldAtMs),
  }
  if (waiting.size === 0) return acted
  // All doubt is old by then, if nothing else becomes of it.
  const stableAtMs = Math.max(...settleAtMs, -Infinity)
  const decideAtMs = Math.min(stableAtMs, Math.min(...waiting.values()) + settings.cutWaitMs)
  if (!isCutOff && decideAtMs <= nowMs) return acted
  const liveness = held(before, assessed, waiting)
  return {
    liveness,
    gone: goneOf(liveness, before.gone, records),
    waiting,
    unstable,
    unsettled: unsettled.union(waiting),
    lookAtMs: earliest(isCutOff ? oldAtMs : [...oldAtMs, decideAtMs]),
  }
}

function withGone(
  gone: Cut['gone'],
  { assessed, records }: { readonly assessed: LivenessMap; readonly records: ReadonlyMap<NodeId, Version> },
): LivenessMap {
  let liveness: Map<NodeId, Liveness> | undefined
  for (const [node, { liveness: known, version }] of gone) {
    const found = assessed.get(node)?.kind
    const record = records.get(node)
    if (found === undefined || found === 'down' || record === undefined || isNewer(record, version)) continue
    liveness ??= new Map(assessed)
    liveness.set(node, known)
  }
  return liveness ?? assessed
}

function goneOf(acted: LivenessMap, before: Cut['gone'], records: ReadonlyMap<NodeId, Version>): Cut['gone'] {
  const gone = new Map<NodeId, Gone>()
  for (const [node, liveness] of acted) {
    const version = records.get(node)
    if (liveness.kind !== 'down' || version === undefined) continue
    const known = before.get(node)
    // It has answered its accusers with this record, and would not answer them again: with their word all of it is over.
    if (known === undefined && liveness.isStale === true) continue
    // Given up once more, with what it has published since: this record is void too.
    const isAgain = liveness.isStale !== true && known !== undefined && isNewer(version, known.version)
    gone.set(node, known === undefined || isAgain ? { liveness, version } : known)
  }
  return gone
}

function earliest(times: readonly number[]): number | undefined {
  return times.length === 0 ? undefined : Math.min(...times)
}

/** Who waits is in doubt; a host whose agent was down already stays so. */
function held(before: Cut, assessed: LivenessMap, waiting: ReadonlyMap<NodeId, number>): LivenessMap {
  const liveness = new Map(assessed)
  for (const node of waiting.keys()) {
    const known = before.liveness.get(node)
    const found = assessed.get(node)
    if (known !== undefined && isFallen(known.kind)) liveness.set(node, known)
    else if (found !== undefined && 'observers' in found)
      liveness.set(node, {
        kind: 'suspect',
        observers: found.observers,
        ...(isOnProbation(known) && { isOnProbation: true }),
      })
  }
  return liveness
}
