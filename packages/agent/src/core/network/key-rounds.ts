import type { RoundKey, WireGuardEnd } from '@moot/crdt-state'
import type { Liveness } from '../membership/liveness.ts'
import { laneOf } from './seals.ts'

/** A key of this node, with its age by this node's own clock. */
export interface AgedKey extends RoundKey {
  readonly ageMs: number
}

/** This node's end, as it is on its disk. */
export interface OwnEnd {
  /** By round, no two in one lane. */
  readonly keys: readonly AgedKey[]
  readonly uses: number | undefined
}

export interface OtherEnd {
  readonly liveness: Liveness['kind']
  readonly end: WireGuardEnd
}

export type RoundStep =
  /** A new key, instead of the one that is in its lane. */
  | { readonly kind: 'make'; readonly round: number }
  /** To be sent by, once all others have been told of it. */
  | { readonly kind: 'use'; readonly round: number }
  /** Nobody sends by it any more. */
  | { readonly kind: 'drop'; readonly round: number }

export interface RoundSettings {
  readonly wireGuardRoundMs: number
  readonly wireGuardPatienceMs: number
}

/**
 * The next step of this node in the change of keys, or none.
 *
 * All nodes change together. Between two of them a lane is free for a new key only while neither uses it, and if each
 * changed at its own time, one would have to use the very lane that the other is to leave. So whoever's key is due first
 * begins the next round, and the others follow; each takes both rounds' packets until nobody sends by the older one.
 */
export function nextRoundStep(
  own: OwnEnd,
  others: readonly OtherEnd[],
  settings: RoundSettings,
): RoundStep | undefined {
  // Who is given up reads of all this when it is back.
  const living = others.filter(({ liveness, end }) => liveness !== 'down' && end.keys.length > 0)
  const newest = Math.max(0, ...living.map(({ end }) => newestRound(end)))
  const mine = own.keys.at(-1)
  if (mine === undefined || mine.round < newest) return { kind: 'make', round: newest }
  const { round, ageMs } = mine

  if (own.uses !== round) {
    const areAllThere = living.every(({ end }) => newestRound(end) === round)
    return areAllThere || ageMs >= settings.wireGuardPatienceMs ? { kind: 'use', round } : undefined
  }
  const isOver = living.every(({ end }) => end.uses === round)
  const [older] = own.keys
  if (older !== undefined && older !== mine) return isOver ? { kind: 'drop', round: older.round } : undefined
  const areSettled = isOver && living.every(({ end }) => end.keys.length === 1)
  return areSettled && ageMs >= settings.wireGuardRoundMs ? { kind: 'make', round: round + 1 } : undefined
}

function newestRound({ keys }: WireGuardEnd): number {
  return Math.max(...keys.map(({ round }) => round))
}

/** With a key made anew. */
export function withKey(own: OwnEnd, made: AgedKey): OwnEnd {
  const kept = own.keys.filter(({ round }) => laneOf(round) !== laneOf(made.round))
  const keys = [...kept, made].sort((a, b) => a.round - b.round)
  const isUsedLeft = own.uses === undefined || keys.some(({ round }) => round === own.uses)
  // What it used is gone (it was away while the others went on), and never is anything sent in the open again.
  return { keys, uses: isUsedLeft ? own.uses : keys[0]?.round }
}
