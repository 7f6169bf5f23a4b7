import type { Alert } from '@moot/crdt-state'
import type { DetectorSettings } from './detector-state.ts'
import { type Flaps, noFlaps } from './flaps.ts'

/** Probes in a row without an answer. `silent…`: those after the last refusal among them. Times: when they were sent. */
interface Missed {
  readonly count: number
  readonly silentCount: number
  readonly silentSinceMs: number
}

/** As TCP estimates it (RFC 6298), ms. */
interface RoundTrip {
  readonly smoothedMs: number
  readonly varianceMs: number
}

/** What this node knows of one node that it watches. */
export interface Watch {
  /** Has it answered since this agent started, or since it became a target? */
  readonly heard: boolean
  readonly answeredAtMs: number | undefined
  /** It has answered all probes since then. */
  readonly answeringSinceMs: number
  /** Several probes in a row were without an answer, and none has been answered since. */
  readonly isTroubled: boolean
  /** When that was last over. */
  readonly troubleAtMs: number
  readonly reachable: boolean
  readonly missed: Missed | undefined
  readonly roundTrip: RoundTrip | undefined
  /** The part of the last probes that was lost as it answered last, 0 to 1. */
  readonly loss: number
  /** A probe is under way. */
  readonly isAsked: boolean
  /** Only the silence of probes sent since then counts. */
  readonly countedFromMs: number
  readonly refusedSinceMs: number | undefined
  /** The host lives without its agent for longer than the grace: its refusals now count as silence. */
  readonly graceOver: boolean
  /** When this node said that it was silent. */
  readonly saidSilentAtMs: number | undefined
  readonly returnedAtMs: number
  /** `returned` as it was said first, which stands for a while whatever is said in between. */
  readonly mark: Alert | undefined
  readonly suspicions: Flaps
  readonly refusals: Flaps
  readonly returns: Flaps
  /** The last return was of a host whose agent had lived on, and that had gone alone: its link comes and goes. */
  readonly isFlapping: boolean
  readonly refreshAtMs: number
  readonly refreshDelayMs: number
}

export function newWatch(settings: DetectorSettings): Watch {
  return {
    heard: false,
    answeredAtMs: undefined,
    answeringSinceMs: 0,
    isTroubled: false,
    troubleAtMs: 0,
    reachable: false,
    missed: undefined,
    roundTrip: undefined,
    loss: 0,
    isAsked: false,
    countedFromMs: 0,
    refusedSinceMs: undefined,
    graceOver: false,
    saidSilentAtMs: undefined,
    returnedAtMs: 0,
    mark: undefined,
    suspicions: noFlaps,
    refusals: noFlaps,
    returns: noFlaps,
    isFlapping: false,
    refreshAtMs: 0,
    refreshDelayMs: settings.alertRefreshFirstMs,
  }
}

export function missedOnceMore(
  before: Missed | undefined,
  outcome: 'refused' | 'silent',
  sentAtMs: number,
): Missed {
  const count = (before?.count ?? 0) + 1
  if (outcome === 'refused') return { count, silentCount: 0, silentSinceMs: sentAtMs }
  const isFirst = before === undefined || before.silentCount === 0
  return {
    count,
    silentCount: (before?.silentCount ?? 0) + 1,
    silentSinceMs: isFirst ? sentAtMs : before.silentSinceMs,
  }
}

/** Its host refused just now, or its last answer is no older than one probe takes. A new target has not been asked yet. */
export function isThereLately(
  { missed, answeredAtMs }: Watch,
  nowMs: number,
  { probeIntervalMs, probeTimeoutMaxMs }: DetectorSettings,
): boolean {
  if (missed !== undefined) return missed.silentCount === 0
  return answeredAtMs !== undefined && nowMs - answeredAtMs <= probeIntervalMs + probeTimeoutMaxMs
}

/** As it answers at last: the last eight probes count for two thirds. A silence that is told of is an outage, no loss. */
export function lossAfter({ loss, missed }: Watch, nowMs: number, silentAfterMs: number): number {
  const isOutage = missed !== undefined && nowMs - missed.silentSinceMs >= silentAfterMs
  const lost = missed === undefined || isOutage ? 0 : missed.silentCount
  const kept = 7 / 8
  return (1 - (1 - loss) * kept ** lost) * kept
}

/** RFC 6298, section 2. */
export function estimated(before: RoundTrip | undefined, tookMs: number | undefined): RoundTrip | undefined {
  if (tookMs === undefined) return before
  if (before === undefined) return { smoothedMs: tookMs, varianceMs: tookMs / 2 }
  const { smoothedMs, varianceMs } = before
  return {
    smoothedMs: smoothedMs + (tookMs - smoothedMs) / 8,
    varianceMs: varianceMs + (Math.abs(tookMs - smoothedMs) - varianceMs) / 4,
  }
}

export function timeoutOf(
  { roundTrip, missed }: Watch,
  { probeTimeoutMinMs, probeTimeoutMaxMs }: DetectorSettings,
): number {
  // Nothing known yet: as near as it may be, then ever farther away.
  if (roundTrip === undefined)
    return Math.min(probeTimeoutMinMs * 2 ** (missed?.count ?? 0), probeTimeoutMaxMs)
  const patienceMs = Math.ceil(roundTrip.smoothedMs + 4 * roundTrip.varianceMs)
  return Math.min(Math.max(patienceMs, probeTimeoutMinMs), probeTimeoutMaxMs)
}
