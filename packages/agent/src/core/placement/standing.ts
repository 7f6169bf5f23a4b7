import type { NodeId } from '@moot/crdt-state'
import { compareText } from './order.ts'
import type { Claim, Refusal } from './placement.ts'

/** Where a wanted slot stands by the claims alone. */
export type Standing =
  | { readonly kind: 'vacant' }
  | { readonly kind: 'held'; readonly holder: Claim; readonly losers: readonly Claim[] }
  | {
      readonly kind: 'leaving'
      readonly holder: Claim
      readonly successor: Claim | undefined
      readonly losers: readonly Claim[]
      readonly because: Refusal
    }

/** One node's claims of a slot, newest first. Several are a start-first update: one holder, on purpose. */
interface Holding {
  readonly claims: readonly Claim[]
  readonly newest: Claim
  /** Decides between nodes: the incumbent is who has held the slot from the earliest attempt on. */
  readonly first: Claim
  readonly refusal: Refusal | undefined
  readonly isOnProbation: boolean
  readonly runs: boolean
  /** The highest of its leases of an exclusive slot; 0: it has none. */
  readonly fence: number
}

interface Judge {
  /** Why the claim's node must give its slot up. */
  readonly refusal: (claim: Claim) => Refusal | undefined
  readonly isOnProbation: (node: NodeId) => boolean
}

const none: readonly never[] = []

/**
 * Who of the claims' nodes keeps the slot: those that pass before those that do not, then the lowest attempt, then the
 * task id. Of an exclusive slot who got the last lease comes first: the others only wait for it. Once a node runs the slot that is not on probation, those that are come last. A holder that must go and a later claim that may stay are a move under way.
 */
export function standingOf(claims: readonly Claim[], judge: Judge): Standing {
  const [only] = claims
  if (only === undefined) return { kind: 'vacant' }
  if (claims.length === 1) {
    const because = judge.refusal(only)
    if (because === undefined) return { kind: 'held', holder: only, losers: none }
    return { kind: 'leaving', holder: only, successor: undefined, losers: none, because }
  }
  const holdings = holdingsOf(claims, judge)
  const going = holdings.find((holding) => holding.refusal !== undefined)
  const staying =
    holdings.find((holding) => holding.refusal === undefined) ??
    // Placed anew the slot could come to who has it already: it takes it over, and moves on when it is the only one.
    holdings.find((holding) => holding !== going && isByOwnWord(holding.refusal))
  const losers = (...kept: readonly (Holding | undefined)[]): readonly Claim[] =>
    holdings.filter((holding) => !kept.includes(holding)).flatMap((holding) => holding.claims)
  if (going?.refusal === undefined || (staying && holdings.indexOf(staying) < holdings.indexOf(going))) {
    return staying === undefined
      ? { kind: 'vacant' }
      : { kind: 'held', holder: staying.newest, losers: losers(staying) }
  }
  return {
    kind: 'leaving',
    holder: going.newest,
    successor: staying?.newest,
    losers: losers(staying, going),
    because: going.refusal,
  }
}

/** It says so itself: it could take the slot. */
function isByOwnWord(refusal: Refusal | undefined): boolean {
  return refusal?.filter === 'update' || refusal?.filter === 'balance'
}

/** In the order in which they have a right to the slot. */
function holdingsOf(claims: readonly Claim[], judge: Judge): readonly Holding[] {
  const byNode = new Map<NodeId, Claim[]>()
  for (const claim of [...claims].sort(compareClaims)) {
    const others = byNode.get(claim.node)
    if (others === undefined) byNode.set(claim.node, [claim])
    else others.unshift(claim)
  }
  const holdings: Holding[] = []
  for (const newestFirst of byNode.values()) {
    const newest = newestFirst[0]
    const first = newestFirst.at(-1)
    if (newest === undefined || first === undefined) continue
    holdings.push({
      claims: newestFirst,
      newest,
      first,
      refusal: judge.refusal(newest),
      isOnProbation: judge.isOnProbation(newest.node),
      runs: newestFirst.some(({ task }) => task.state === 'running'),
      fence: Math.max(...newestFirst.map(({ task }) => task.fence ?? 0)),
    })
  }
  holdings.sort((a, b) => b.fence - a.fence)
  const isReplaced = holdings.some(
    ({ isOnProbation, refusal, runs }) => !isOnProbation && refusal === undefined && runs,
  )
  if (!isReplaced) return holdings
  return [
    ...holdings.filter(({ isOnProbation }) => !isOnProbation),
    ...holdings.filter(({ isOnProbation }) => isOnProbation),
  ]
}

/** Lowest attempt, then task id; the node last, so that no two are equal. */
export function compareClaims(a: Claim, b: Claim): number {
  return a.task.attempt - b.task.attempt || compareText(a.task.id, b.task.id) || compareText(a.node, b.node)
}
