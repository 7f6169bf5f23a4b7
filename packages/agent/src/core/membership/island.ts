import type { NodeId } from '@moot/crdt-state'

export interface IslandSettings {
  readonly islandMaxMs: number
  readonly islandAsksMax: number
  readonly witnessAgainMs: number
  readonly witnessTimeoutMs: number
  readonly survivorForMs: number
}

/** What a node's own witness says: something that is no member, and on the way to all of them (the default gateway). */
export type WitnessWord =
  | 'answered'
  /** It has answered before and does not now, or the cable has no carrier. */
  | 'silent'
  /** It never answered, or there is none. */
  | 'unknown'

/**
 * Is it all the others that are gone, or this node (DESIGN section 4)? Only the second kind of silence is an island, which
 * must not run the world. Times are monotonic, ms.
 */
export type Solitude =
  | { readonly kind: 'company' }
  /** Nobody whom this node watches answers. Others are asked too, and the witness. */
  | {
      readonly kind: 'alone'
      readonly sinceMs: number
      readonly awaited: ReadonlySet<NodeId>
      readonly word: WitnessWord | undefined
      readonly askedWitnessMs: number
    }
  /** Some other member or the witness answered just now: those who do not are gone. */
  | { readonly kind: 'survivor'; readonly untilMs: number }

export const company: Solitude = { kind: 'company' }

export interface SolitudeStep {
  readonly solitude: Solitude
  /** Members to be asked now that are not watched otherwise. */
  readonly ask: readonly NodeId[]
  readonly askWitness: boolean
}

/**
 * As time passes and probes come back.
 *
 * @param seen `silence`: do those whom this node watches answer? `unclear` where that has yet to be seen of some, and no
 *   reason to change one's mind. `others`: members that are not watched, in the order in which to ask them.
 */
export function nextSolitude(
  before: Solitude,
  seen: {
    readonly silence: 'none' | 'unclear' | 'total'
    readonly others: () => readonly NodeId[]
    readonly nowMs: number
  },
  settings: IslandSettings,
): SolitudeStep {
  const { silence, nowMs } = seen
  const stay = { solitude: before, ask: [], askWitness: false }
  if (silence === 'none') return before.kind === 'company' ? stay : { ...stay, solitude: company }
  if (before.kind === 'survivor' && nowMs < before.untilMs) return stay
  if (before.kind !== 'alone' && silence === 'unclear') return { ...stay, solitude: company }
  if (before.kind === 'alone') {
    if (nowMs - before.askedWitnessMs < settings.witnessAgainMs) return stay
    return { ...stay, solitude: { ...before, askedWitnessMs: nowMs }, askWitness: true }
  }
  const ask = seen.others().slice(0, settings.islandAsksMax)
  const alone = { sinceMs: nowMs, awaited: new Set(ask), word: undefined, askedWitnessMs: nowMs }
  return { solitude: { kind: 'alone', ...alone }, ask, askWitness: true }
}

/** A member that is not watched otherwise was asked. */
export function heardOther(
  before: Solitude,
  other: { readonly node: NodeId; readonly isThere: boolean },
  nowMs: number,
  settings: IslandSettings,
): Solitude {
  if (before.kind !== 'alone') return before
  if (other.isThere) return { kind: 'survivor', untilMs: nowMs + settings.survivorForMs }
  const awaited = new Set(before.awaited)
  awaited.delete(other.node)
  return { ...before, awaited }
}

export function heardWitness(
  before: Solitude,
  word: WitnessWord,
  nowMs: number,
  settings: IslandSettings,
): Solitude {
  if (before.kind !== 'alone') return before
  return word === 'answered'
    ? { kind: 'survivor', untilMs: nowMs + settings.survivorForMs }
    : { ...before, word }
}

/**
 * An island accuses nobody, and so replaces nothing of theirs: until it knows better, or for `islandMaxMs`. Where the witness
 * cannot tell, one of three or more takes itself for cut off, since that all others died at once is the less likely; of
 * two, each has to take over, as nobody else could.
 */
export function isCutOff(
  solitude: Solitude,
  memberCount: number,
  nowMs: number,
  { islandMaxMs }: IslandSettings,
): boolean {
  if (solitude.kind !== 'alone' || nowMs - solitude.sinceMs >= islandMaxMs) return false
  return !isDecided(solitude) || solitude.word === 'silent' || memberCount > 2
}

/** Has everybody who was asked said something, or had the time to? */
export function isDecided(solitude: Solitude): boolean {
  return solitude.kind !== 'alone' || (solitude.awaited.size === 0 && solitude.word !== undefined)
}
