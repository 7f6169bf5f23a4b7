import type { NodeId } from '@moot/crdt-state'
import {
  isFallen,
  isNewer,
  isOnProbation,
  isUnheard,
  isUp,
  type Liveness,
  type LivenessMap,
  type Version,
} from './liveness.ts'

export interface CutSettings {
  readonly cutWaitMs: number
  readonly unstableMaxMs: number
  readonly youngDoubtMs: number
  readonly newsMs: number
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
  /** In doubt, or heard again lately and known only as they were before. */
  readonly doubts: ReadonlyMap<NodeId, Doubt>
  /** Of whom it may be clear in a moment whether they are there: nobody yields to them meanwhile, nor do they. */
  readonly unsettled: ReadonlySet<NodeId>
  /** When it has to be looked at again, although nothing new was seen. */
  readonly lookAtMs: number | undefined
}

interface Doubt {
  /** What was known of it while it was last in doubt. */
  readonly version: Version | undefined
  /** When that came, if it came while it was in doubt; else -Infinity. */
  readonly cameAtMs: number
  /** It is over then, if nothing else becomes of it. Infinity: not while it is as it is. */
  readonly untilMs: number
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
  doubts: new Map(),
  unsettled: new Set(),
  lookAtMs: undefined,
}

interface Seen {
  readonly self: NodeId
  readonly assessed: LivenessMap
  readonly records: ReadonlyMap<NodeId, Version>
  readonly missed?: readonly NodeId[]
  readonly isCutOff: boolean
  readonly nowMs: number
}

/**
 * Rapid's watermarks (Suresh et al., ATC '18, section 4.2), without its consensus: while some member is accused by fewer
 * than a verdict takes, the verdicts on others wait, so that a rack which dies is one decision. Not for long, and not for
 * members of whom there has been doubt for long: a bad link must not hold up everybody else's failover.
 *
 * Whoever was given up stays so until a newer record of it comes, whatever becomes of those whose word it was: what it ran
 * runs elsewhere by now.
 *
 * @param seen.self this node.
 * @param seen.assessed by the records alone.
 * @param seen.records as they were assessed.
 * @param seen.missed whom this node does not hear, though its record says nothing of it.
 * @param seen.isCutOff whoever has not been given up before is not given up now, since it is this node that is away.
 */
export function nextCut(before: Cut, seen: Seen, settings: CutSettings): Cut {
  const { records, isCutOff, nowMs } = seen
  const assessed = withGone(before.gone, seen)
  const waiting = new Map<NodeId, number>()
  const unstable = new Map<NodeId, number>()
  for (const [node, { kind }] of assessed) {
    if (kind === 'suspect') unstable.set(node, before.unstable.get(node) ?? nowMs)
    else if (isFallen(kind) && before.liveness.get(node)?.kind !== kind)
      waiting.set(node, before.waiting.get(node) ?? nowMs)
  }
  const settleAtMs = [...unstable.values()]
    .map((sinceMs) => sinceMs + settings.unstableMaxMs)
    .filter((atMs) => atMs > nowMs)
  const doubts = doubtsOf(before, { ...seen, assessed, unstable }, settings)
  const unsettled = new Set(doubts.keys())
  const overAtMs = [...doubts.values()].map(({ untilMs }) => untilMs).filter((atMs) => atMs < Infinity)
  const acted = {
    liveness: assessed,
    gone: goneOf(assessed, before.gone, records),
    waiting: new Map(),
    unstable,
    doubts,
    unsettled,
    lookAtMs: earliest(overAtMs),
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
    doubts,
    unsettled: unsettled.union(waiting),
    lookAtMs: earliest(isCutOff ? overAtMs : [...overAtMs, decideAtMs]),
  }
}

/**
 * A link that is broken for ever is somebody's own trouble: that doubt ends with time. But whom nobody hears, or this node itself does
 * not, may be gone all along. And what is known of one that is heard again comes from before it was in doubt, but for what came
 * just before that: after a cut a comparison may be faster than a probe.
 */
function doubtsOf(
  before: Cut,
  seen: Seen & { readonly unstable: Cut['unstable'] },
  { youngDoubtMs, newsMs }: CutSettings,
): Cut['doubts'] {
  const { self, assessed, records, unstable, missed = [], nowMs } = seen
  const doubts = new Map<NodeId, Doubt>()
  for (const node of new Set([...unstable.keys(), ...missed, ...before.doubts.keys()])) {
    const version = records.get(node)
    const liveness = assessed.get(node)
    const known = before.doubts.get(node)
    const sinceMs = unstable.get(node)
    const isYoung = sinceMs !== undefined && nowMs - sinceMs < youngDoubtMs
    const isCleared = known?.untilMs === Infinity || (sinceMs === undefined && before.unstable.has(node))
    const untilMs = isCleared ? nowMs + youngDoubtMs : (known?.untilMs ?? 0)
    const cameAtMs = isNews(version, known?.version) ? nowMs : (known?.cameAtMs ?? -Infinity)
    if (missed.includes(node) || isUnheard(liveness)) {
      doubts.set(node, { version, cameAtMs, untilMs: Infinity })
    } else if (isYoung) {
      // Of itself it knows the newest as soon as nobody doubts it.
      const newsByMs = node === self ? 0 : untilMs
      doubts.set(node, { version, cameAtMs, untilMs: Math.max(sinceMs + youngDoubtMs, newsByMs) })
    } else if (known !== undefined && node !== self && isUp(liveness) && nowMs < untilMs) {
      if (nowMs - cameAtMs > newsMs) doubts.set(node, { ...known, untilMs })
    }
  }
  return doubts
}

function isNews(version: Version | undefined, known: Version | undefined): boolean {
  return version !== undefined && known !== undefined && isNewer(version, known)
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
