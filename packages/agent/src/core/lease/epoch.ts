import type { NodeId } from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import type { Acceptance, Ballot, Epoch, Held, Loosened, Seat, SlotKey } from './messages.ts'

/** Of a node that has joined and not heard who votes. */
export const unknownEpoch: Epoch = { number: 0, voters: [], held: [], loosened: [], fence: 0 }

/** The cluster begins with its founder as the only voter. */
export function founderEpoch(founder: Seat): Epoch {
  return { number: 1, voters: [founder], held: [], loosened: [], fence: 0 }
}

export function majorityOf(epoch: Pick<Epoch, 'voters'>): number {
  return Math.floor(epoch.voters.length / 2) + 1
}

export function isVoter(epoch: Epoch, node: NodeId): boolean {
  return epoch.voters.some((seat) => seat.node === node)
}

export function isHigher(a: Ballot, b: Ballot): boolean {
  return a.round > b.round || (a.round === b.round && a.node > b.node)
}

export function isSameBallot(a: Ballot, b: Ballot): boolean {
  return a.round === b.round && a.node === b.node
}

/** What one voter says when it promises: all that it has granted and that has not run out. */
export interface Promised {
  readonly accepted?: Acceptance
  readonly held: readonly Held[]
  readonly loosened: readonly Loosened[]
  readonly fence: number
}

/**
 * The value to propose after a majority has promised: what may have been decided already, or else the wanted voters with
 * the union of the grants. Every holder of a majority's grants is in that union, since two majorities share a voter.
 */
export function successorOf(epoch: Epoch, wanted: readonly Seat[], promises: readonly Promised[]): Epoch {
  const accepted = promises.flatMap((promise) => promise.accepted ?? [])
  const highest = accepted.reduce<Acceptance | undefined>(
    (best, next) => (best === undefined || isHigher(next.ballot, best.ballot) ? next : best),
    undefined,
  )
  if (highest !== undefined) return highest.value
  return {
    number: epoch.number + 1,
    voters: wanted,
    held: unionOfHeld(promises.flatMap(({ held }) => held)),
    loosened: unionOfLoosened(promises.flatMap(({ loosened }) => loosened)),
    fence: Math.max(epoch.fence, ...promises.map(({ fence }) => fence)),
  }
}

function unionOfHeld(all: readonly Held[]): readonly Held[] {
  const union = new Map<SlotKey, Held>()
  for (const { slot, holders, fence, life } of all) {
    const known = union.get(slot)
    const both = [...new Set([...(known?.holders ?? []), ...holders])].sort()
    union.set(slot, {
      slot,
      holders: both,
      fence: Math.max(known?.fence ?? 0, fence),
      life: both.length > 1 ? 0 : Math.max(known?.life ?? 0, life),
    })
  }
  return [...union.values()]
}

function unionOfLoosened(all: readonly Loosened[]): readonly Loosened[] {
  const union = new Map<SlotKey, Loosened>()
  for (const mark of all) if ((union.get(mark.slot)?.term ?? -1) < mark.term) union.set(mark.slot, mark)
  return [...union.values()]
}

/** Epochs that follow from votes stay within a generation; each one that a person forces begins the next. */
const generationSize = 2 ** 32
/** Where in its generation a forced epoch begins depends on who forced it: two of them are not the same one. */
const beginnings = 4_096
/** So many fences lie between two beginnings: far more than a cluster gives in its life. */
const fencesPerBeginning = 2 ** 24

export function generationOf({ number }: Pick<Epoch, 'number'>): number {
  return Math.floor(number / generationSize)
}

/**
 * DANGEROUS, and only ever at a person's explicit word: an epoch that no majority has decided. It takes the vote from
 * voters that are lost for good. If any of them lives and is only cut off, they go on granting there, and every exclusive
 * task may run twice until both sides meet; only `MOOT_FENCE` tells the copies apart, which is why its numbers jump.
 *
 * @param known the newest epoch that anybody on this side knows.
 * @param by two people who do this at once, apart from each other, make two epochs of which the higher one wins later.
 */
export function forcedEpoch(known: Epoch, voters: readonly Seat[], by: NodeId): Epoch {
  const generation = generationOf(known) + 1
  const beginning = hashText(by) % beginnings
  return {
    number: generation * generationSize + beginning * (generationSize / beginnings),
    voters,
    held: [],
    loosened: known.loosened,
    fence: (generation * beginnings + beginning) * fencesPerBeginning,
  }
}
