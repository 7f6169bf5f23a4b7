import type { NodeId } from '@moot/crdt-state'
import { generationOf, isHigher, unknownEpoch } from './epoch.ts'
import type {
  Acceptance,
  AskId,
  Ballot,
  Envelope,
  Epoch,
  Held,
  Intent,
  LeaseMessage,
  Loosened,
  Released,
  Seat,
  SlotKey,
  Verdict,
} from './messages.ts'
import type { LeaseTimes } from './times.ts'

/** What must be fsynced before an answer that follows from it is sent. Every node has one, voter or not. */
export interface Durable {
  readonly disk: string
  /** The newest that this node knows. */
  readonly epoch: Epoch
  /** Of the ballots for its successor. */
  readonly promised?: Ballot
  readonly accepted?: Acceptance
  /** The highest that this node has granted, whatever the slot. */
  readonly fence: number
  /** Slots that were loosened in this epoch or before. */
  readonly loosened: ReadonlyMap<SlotKey, number>
}

/**
 * What must be written before an answer, and survives the process but not the host: without a sync, to a file that names the
 * host's boot. With it a restarted agent knows whom it is bound to, and need not be silent.
 */
export interface Kept {
  /** False while the voter itself does not know all. */
  readonly isComplete: boolean
  readonly held: readonly Held[]
}

export const noneKept: Kept = { isComplete: true, held: [] }

/** Times on this host's clock. */
interface Grant {
  /** Nobody: it was released, and its fence is used up. */
  readonly holders: readonly NodeId[]
  readonly fence: number
  readonly life: number
  readonly untilMs: number
}

export interface Voter {
  readonly seat: Seat
  readonly times: LeaseTimes
  readonly durable: Durable
  readonly grants: ReadonlyMap<SlotKey, Grant>
  /** All fences of slots that have no grant here are at most this. */
  readonly floor: number
  readonly silentUntilMs: number
  /** Grows with each change of what is to be kept. */
  readonly keptVersion: number
}

/**
 * Slots leased at a time, and slots loosened ever, that one voter remembers: an epoch with all of them is one message of
 * 200 KB, and so many leases cost a voter a tenth of a core.
 */
export const leasedSlotsMax = 1_024

export function freshDurable(disk: string, epoch: Epoch = unknownEpoch): Durable {
  return { disk, epoch, fence: epoch.fence, loosened: marksOf(epoch.loosened) }
}

/**
 * @param kept undefined: lost with the host's power, or unreadable. Then the voter may have granted anything until a moment
 *   ago. Whoever has just made its first `durable` has granted nothing: `noneKept`.
 */
export function startVoter(
  node: NodeId,
  durable: Durable,
  kept: Kept | undefined,
  nowMs: number,
  times: LeaseTimes,
): Voter {
  return {
    seat: { node, disk: durable.disk },
    times,
    durable,
    grants: grantsOf(kept?.held ?? [], nowMs + times.holdMs),
    floor: durable.fence,
    silentUntilMs: kept?.isComplete === true ? nowMs : nowMs + times.silenceMs,
    keptVersion: 0,
  }
}

export function keptOf({ grants, silentUntilMs }: Voter, nowMs: number): Kept {
  return { isComplete: silentUntilMs <= nowMs, held: heldBy(grants) }
}

export interface VoterStep {
  readonly voter: Voter
  readonly messages: readonly Envelope[]
}

/** Does this node, with this disk, vote in the newest epoch that it knows? */
export function votes({ seat, durable }: Voter): boolean {
  return durable.epoch.voters.some(({ node, disk }) => node === seat.node && disk === seat.disk)
}

/** @param nowMs read after the message was received: a grant must not be counted from before it was asked for. */
export function voterStep(voter: Voter, from: NodeId, message: LeaseMessage, nowMs: number): VoterStep {
  if (!votes(voter)) return { voter, messages: [] }
  switch (message.kind) {
    case 'ask': {
      const { slot, life, askedAtMs, epoch } = message
      const decided = decide(without(voter, slot, nowMs), from, message, nowMs)
      const answer = { kind: 'answer', epoch, slot, life, askedAtMs, verdict: decided.verdict } as const
      return { voter: decided.voter, messages: [{ to: from, message: answer }] }
    }
    case 'release':
      return { voter: release(voter, from, message, nowMs), messages: [] }
    case 'prepare':
      return prepare(voter, from, message.ballot, nowMs)
    case 'accept':
      return accept(voter, from, message)
    default:
      return { voter, messages: [] }
  }
}

interface Decided {
  readonly voter: Voter
  readonly verdict: Verdict
}

type Ask = AskId & { readonly term: number; readonly intent: Intent }

function decide(voter: Voter, from: NodeId, ask: Ask, nowMs: number): Decided {
  const no = (verdict: Verdict): Decided => ({ voter, verdict })
  const { durable, grants, silentUntilMs } = voter
  const { slot, term, intent } = ask
  if (nowMs < silentUntilMs) return no({ kind: 'silent', forMs: silentUntilMs - nowMs })
  const grant = grants.get(slot)
  const isLoosened = (durable.loosened.get(slot) ?? -1) >= term
  if (isLoosened && intent.kind !== 'loosen') return no({ kind: 'outdated' })
  // Also of what is loosened: the mark of a minority may have come into this epoch beside the lease of the others.
  if (grant !== undefined && !admits(grant, from, intent))
    return no({ kind: 'held', by: grant.holders, forMs: grant.untilMs - nowMs })
  if (isLoosened) return no({ kind: 'loosened' })
  // From the promise on nothing new, since the promise has said what there is; from the acceptance on nothing at all.
  const isKnownToSuccessor = intent.kind === 'renew' && grant !== undefined && grant.holders.length > 0
  if (durable.accepted !== undefined || (durable.promised !== undefined && !isKnownToSuccessor))
    return no({ kind: 'changing' })
  if (intent.kind === 'look') return no({ kind: 'free', fence: Math.max(voter.floor, grant?.fence ?? 0) })
  if (intent.kind === 'loosen') return loosen(voter, slot, term)
  if (isUsedUp(voter, grant, intent, ask.life))
    return no({ kind: 'stale', fence: Math.max(voter.floor, grant?.fence ?? 0) })
  if (grant === undefined && grants.size >= leasedSlotsMax) return no({ kind: 'full' })
  return take(voter, from, { slot, life: ask.life, fence: intent.fence }, nowMs)
}

/** After a change of epoch several may be the holder of a slot: only one of them can have a lease to renew. */
function admits(grant: Grant, from: NodeId, intent: Intent): boolean {
  if (grant.holders.length === 0) return true
  return grant.holders.includes(from) && (grant.holders.length === 1 || intent.kind === 'renew')
}

/** A new lease takes a fence above all that this slot had. The same ask that comes twice is granted twice. */
function isUsedUp(
  { floor }: Voter,
  grant: Grant | undefined,
  { kind, fence }: { readonly kind: 'take' | 'renew'; readonly fence: number },
  life: number,
): boolean {
  const isReleased = grant?.holders.length === 0
  const isSole = grant?.holders.length === 1
  if (isSole && life < grant.life) return true
  if (kind === 'renew') return (isReleased && fence <= grant.fence) || (isSole && fence < grant.fence)
  if (isSole && fence === grant.fence && life === grant.life) return false
  return fence <= Math.max(floor, grant?.fence ?? 0)
}

function take(voter: Voter, holder: NodeId, { slot, life, fence }: Released, nowMs: number): Decided {
  const before = voter.grants.get(slot)
  const isNew = before?.fence !== fence || before.life !== life || before.holders.length !== 1
  const grant = { holders: [holder], fence, life, untilMs: nowMs + voter.times.holdMs }
  const { durable } = voter
  const loosened = durable.loosened.has(slot) ? withoutKey(durable.loosened, slot) : durable.loosened
  const isOnDisk = fence <= durable.fence && loosened === durable.loosened
  return {
    voter: {
      ...voter,
      durable: isOnDisk ? durable : { ...durable, fence: Math.max(durable.fence, fence), loosened },
      grants: new Map(voter.grants).set(slot, grant),
      keptVersion: voter.keptVersion + (isNew ? 1 : 0),
    },
    verdict: { kind: 'granted', fence },
  }
}

function loosen(voter: Voter, slot: SlotKey, term: number): Decided {
  const { durable } = voter
  if (!durable.loosened.has(slot) && durable.loosened.size >= leasedSlotsMax)
    return { voter, verdict: { kind: 'full' } }
  const loosened = new Map(durable.loosened).set(slot, term)
  return {
    voter: dropped({ ...voter, durable: { ...durable, loosened } }, [slot]),
    verdict: { kind: 'loosened' },
  }
}

/** A released fence is remembered for a while: an ask of before the release may still be under way. */
function release(voter: Voter, from: NodeId, { slot, life, fence }: Released, nowMs: number): Voter {
  const grant = voter.grants.get(slot)
  if (grant === undefined || !grant.holders.includes(from)) return voter
  if (fence < grant.fence || life < grant.life) return voter
  const holders = grant.holders.filter((holder) => holder !== from)
  const untilMs = holders.length === 0 ? nowMs + voter.times.holdMs : grant.untilMs
  return {
    ...voter,
    grants: new Map(voter.grants).set(slot, { ...grant, holders, untilMs }),
    keptVersion: voter.keptVersion + 1,
  }
}

/**
 * A silent voter promises nothing: what it has forgotten would be missing in the successor. Nor may a grant that ran out
 * before the promise, and is not in it, be renewed later (or be kept over a restart): it is gone.
 */
function prepare(before: Voter, from: NodeId, ballot: Ballot, nowMs: number): VoterStep {
  if (nowMs < before.silentUntilMs) return { voter: before, messages: [] }
  const voter = expire(before, nowMs)
  const { epoch, promised, accepted, fence, loosened } = voter.durable
  if (promised !== undefined && isHigher(promised, ballot))
    return {
      voter,
      messages: [{ to: from, message: { kind: 'refuse', epoch: epoch.number, ballot, promised } }],
    }
  const promise = {
    kind: 'promise',
    epoch: epoch.number,
    ballot,
    ...(accepted !== undefined && { accepted }),
    held: heldBy(voter.grants),
    loosened: [...loosened].map(([slot, term]) => ({ slot, term })),
    fence,
  } as const
  return {
    voter: { ...voter, durable: { ...voter.durable, promised: ballot } },
    messages: [{ to: from, message: promise }],
  }
}

function accept(voter: Voter, from: NodeId, { ballot, value }: Acceptance): VoterStep {
  const { epoch, promised } = voter.durable
  if (promised !== undefined && isHigher(promised, ballot))
    return {
      voter,
      messages: [{ to: from, message: { kind: 'refuse', epoch: epoch.number, ballot, promised } }],
    }
  return {
    voter: { ...voter, durable: { ...voter.durable, promised: ballot, accepted: { ballot, value } } },
    messages: [{ to: from, message: { kind: 'accepted', epoch: epoch.number, ballot } }],
  }
}

/** A later epoch was decided. What it took over binds this voter for a whole hold from now, however late it hears of it. */
export function learnEpoch(voter: Voter, epoch: Epoch, nowMs: number): Voter {
  const { disk, epoch: before, fence } = voter.durable
  if (epoch.number <= before.number) return voter
  const durable = { ...freshDurable(disk, epoch), fence: Math.max(fence, epoch.fence) }
  // Nobody has told a forced epoch what was granted before it.
  const isForced = generationOf(epoch) > generationOf(before)
  const learnt = {
    ...voter,
    durable,
    grants: new Map<SlotKey, Grant>(),
    floor: durable.fence,
    silentUntilMs: isForced ? nowMs + voter.times.silenceMs : nowMs,
    keptVersion: voter.keptVersion + 1,
  }
  return votes(learnt) ? { ...learnt, grants: grantsOf(epoch.held, nowMs + voter.times.holdMs) } : learnt
}

/** Forgets what has run out. */
export function expire(voter: Voter, nowMs: number): Voter {
  const over = [...voter.grants].filter(([, { untilMs }]) => untilMs <= nowMs).map(([slot]) => slot)
  return over.length === 0 ? voter : dropped(voter, over)
}

function without(voter: Voter, slot: SlotKey, nowMs: number): Voter {
  const grant = voter.grants.get(slot)
  return grant === undefined || grant.untilMs > nowMs ? voter : dropped(voter, [slot])
}

/** Whoever has these slots next gets higher fences: those of all slots, so that nothing need be remembered of each. */
function dropped(voter: Voter, slots: readonly SlotKey[]): Voter {
  const grants = new Map(voter.grants)
  let { floor } = voter
  for (const slot of slots) {
    floor = Math.max(floor, grants.get(slot)?.fence ?? 0)
    grants.delete(slot)
  }
  return { ...voter, grants, floor, keptVersion: voter.keptVersion + 1 }
}

function withoutKey<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const copy = new Map(map)
  copy.delete(key)
  return copy
}

function grantsOf(held: readonly Held[], untilMs: number): ReadonlyMap<SlotKey, Grant> {
  return new Map(held.map(({ slot, ...grant }) => [slot, { ...grant, untilMs }]))
}

function heldBy(grants: ReadonlyMap<SlotKey, Grant>): readonly Held[] {
  return [...grants].flatMap(([slot, { holders, fence, life }]) =>
    holders.length === 0 ? [] : [{ slot, holders, fence, life }],
  )
}

function marksOf(loosened: readonly Loosened[]): ReadonlyMap<SlotKey, number> {
  return new Map(loosened.map(({ slot, term }) => [slot, term]))
}
