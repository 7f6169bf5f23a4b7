import type { NodeId } from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { majorityOf } from './epoch.ts'
import type { Epoch, Seat } from './messages.ts'

/** A member as the proposer of voters sees it. */
export interface VoterCandidate {
  readonly node: NodeId
  /** By its record; undefined: an agent that has no lease file, and cannot vote. */
  readonly disk: string | undefined
  /** Its agent answers, and has done so for this long; or it is away, for this long. */
  readonly isUp: boolean
  readonly forMs: number
  /** Drained and paused nodes are about to be worked on: others first. */
  readonly isActive: boolean
}

export interface VoterSetSettings {
  /** A voter away for this long is replaced. */
  readonly voterLostAfterMs: number
  /** Who has been up for less does not become one. */
  readonly voterSteadyMs: number
  /** The next voter in line proposes so much later: usually one does. */
  readonly voterTurnMs: number
}

/**
 * With fewer than three members a second voter could only be one more to lose. Five from five members on: then the side of
 * a partition that has most of a small cluster's hosts has most of its voters too, and two of them may fail.
 */
export function votersFor(memberCount: number): number {
  if (memberCount < 3) return 1
  return memberCount < 5 ? 3 : 5
}

export interface VoterChange {
  readonly voters: readonly Seat[]
  /** This node proposes it when it has seen the need for so long. */
  readonly afterMs: number
}

/**
 * Who votes when `leaving` is gone: it proposes them itself, since without it there may be no majority any more. Empty: nobody
 * else can.
 */
export function successorsOf(
  epoch: Epoch,
  members: readonly VoterCandidate[],
  leaving: NodeId,
): readonly Seat[] {
  const others = members.filter(({ node }) => node !== leaving)
  const { present, up } = standing(epoch, others)
  const fresh = others.filter(({ node, isUp }) => isUp && !present.some((voter) => voter.node === node))
  const inOrder = [...up, ...fresh.toSorted(byHash), ...present.filter(({ isUp }) => !isUp)].flatMap(seatOf)
  const wanted = votersFor(others.length)
  return inOrder.slice(0, inOrder.length >= wanted ? wanted : largestOdd(inOrder.length))
}

/**
 * Who should vote next, as one node sees it; undefined: nothing to change, or not for this node to propose, or no majority
 * of the present voters is up, so that nobody but a person can (`forcedEpoch`). Two nodes that see it differently do no
 * harm: one proposal is decided.
 */
export function voterChange(
  epoch: Epoch,
  members: readonly VoterCandidate[],
  self: NodeId,
  settings: VoterSetSettings,
): VoterChange | undefined {
  const { present, up } = standing(epoch, members)
  if (up.length < majorityOf(epoch)) return undefined
  const turn = up.findIndex(({ node }) => node === self)
  if (turn < 0) return undefined
  const voters = nextVoters(epoch, members, present, settings)
  const isSame = voters.length === epoch.voters.length && voters.every((seat) => holdsSeat(epoch, seat))
  return isSame ? undefined : { voters, afterMs: turn * settings.voterTurnMs }
}

function nextVoters(
  epoch: Epoch,
  members: readonly VoterCandidate[],
  present: readonly VoterCandidate[],
  { voterLostAfterMs, voterSteadyMs }: VoterSetSettings,
): readonly Seat[] {
  const wanted = votersFor(members.length)
  const isLost = ({ isUp, forMs }: VoterCandidate): boolean => !isUp && forMs >= voterLostAfterMs
  const steady = members.filter(({ isUp, forMs }) => isUp && forMs >= voterSteadyMs)
  const fresh = steady.filter(({ node }) => !present.some((voter) => voter.node === node)).toSorted(byHash)
  // Who votes goes on voting, so that nothing changes which need not.
  const inOrder = [
    ...present.filter((voter) => voter.isUp),
    ...present.filter((voter) => !voter.isUp && !isLost(voter)),
    ...fresh.filter(({ isActive }) => isActive),
    ...fresh.filter(({ isActive }) => !isActive),
    ...present.filter(isLost),
  ].flatMap(seatOf)
  const count = inOrder.length >= wanted ? wanted : largestOdd(inOrder.length)
  const next = inOrder.slice(0, count)
  // Fewer than there are only where fewer are wanted: who has gone is replaced when somebody can.
  return next.length >= Math.min(wanted, epoch.voters.length) ? next : epoch.voters
}

/** The voters that are still members, with their disks, in one order for all; and which of these are up. */
function standing(
  epoch: Epoch,
  members: readonly VoterCandidate[],
): { readonly present: readonly VoterCandidate[]; readonly up: readonly VoterCandidate[] } {
  const present = members
    .filter((member) => seatOf(member).some((seat) => holdsSeat(epoch, seat)))
    .toSorted(byHash)
  return { present, up: present.filter(({ isUp }) => isUp) }
}

/** What people have to know about the voters. */
export interface VoterHealth {
  readonly kind: 'well' | 'weak' | 'lost'
  readonly message: string
}

/** @param nameOf also of voters that are no members any more. */
export function voterHealth(
  epoch: Epoch,
  members: readonly VoterCandidate[],
  nameOf: (node: NodeId) => string,
): VoterHealth {
  if (epoch.voters.length === 0)
    return {
      kind: 'lost',
      message:
        'This node has not heard who gives leases, so that no exclusive task starts here. It hears of it from any member that knows. ' +
        'A cluster that was made by a release without exclusive services has no voters: name the first ones with "moot voters force", once.',
    }
  const { up } = standing(epoch, members)
  const missing = epoch.voters.filter(({ node }) => !up.some((voter) => voter.node === node))
  const count = `${up.length} of ${epoch.voters.length} voters for exclusive services answer`
  if (missing.length === 0) return { kind: 'well', message: count }
  const names = missing
    .map(({ node }) => nameOf(node))
    .sort()
    .join(', ')
  if (up.length >= majorityOf(epoch))
    return {
      kind: 'weak',
      message: `${count}; missing: ${names}. Leases go on; a voter that stays away is replaced.`,
    }
  return {
    kind: 'lost',
    message:
      `${count}, which is no majority; missing: ${names}. From this side no exclusive task starts or goes on. ` +
      `Start these hosts again, or restore the connection to them. Only if they are gone for good, and surely off, ` +
      `name new voters by force ("moot voters force"): if one of them still runs, exclusive tasks will run twice.`,
  }
}

function holdsSeat(epoch: Epoch, { node, disk }: Seat): boolean {
  return epoch.voters.some((seat) => seat.node === node && seat.disk === disk)
}

function seatOf({ node, disk }: VoterCandidate): readonly Seat[] {
  return disk === undefined ? [] : [{ node, disk }]
}

function largestOdd(count: number): number {
  return count % 2 === 0 ? Math.max(0, count - 1) : count
}

function byHash(a: VoterCandidate, b: VoterCandidate): number {
  return hashText(a.node) - hashText(b.node) || (a.node < b.node ? -1 : 1)
}
