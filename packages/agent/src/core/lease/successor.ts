import type { NodeId } from '@moot/crdt-state'
import { isHigher, isSameBallot, isVoter, majorityOf, type Promised, successorOf } from './epoch.ts'
import type { Ballot, Envelope, Epoch, LeaseMessage, Seat } from './messages.ts'
import type { LeaseTimes } from './times.ts'

/** Single-decree Paxos (Lamport, "Paxos Made Simple") among the voters of an epoch, for the epoch after it. */
export interface Proposal {
  readonly self: NodeId
  readonly epoch: Epoch
  /** Of the next epoch, if nothing else was decided already. */
  readonly wanted: readonly Seat[]
  readonly ballot: Ballot
  /** The highest that anybody was heard of. */
  readonly highestRound: number
  readonly triesLeft: number
  readonly phase:
    | { readonly kind: 'pausing' }
    | { readonly kind: 'preparing'; readonly promises: ReadonlyMap<NodeId, Promised> }
    | { readonly kind: 'accepting'; readonly value: Epoch; readonly accepted: ReadonlySet<NodeId> }
    | { readonly kind: 'decided'; readonly value: Epoch }
    | { readonly kind: 'given up' }
  /** When it goes on without having heard more. */
  readonly nextAtMs: number
}

export interface ProposalStep {
  readonly proposal: Proposal
  readonly messages: readonly Envelope[]
}

/** Whoever has not been heard by then is tried again when somebody asks for it anew. */
const triesMax = 5

/** @param promised what this node itself has promised: its first ballot is higher. */
export function propose(
  self: NodeId,
  epoch: Epoch,
  wanted: readonly Seat[],
  promised: Ballot | undefined,
  nowMs: number,
  times: LeaseTimes,
): ProposalStep {
  const round = promised?.round ?? 0
  const ballot = { round, node: self }
  const phase = { kind: 'pausing' } as const
  const first = {
    self,
    epoch,
    wanted,
    ballot,
    highestRound: round,
    triesLeft: triesMax,
    phase,
    nextAtMs: nowMs,
  }
  return tickProposal(first, nowMs, 0, times)
}

/** @param roll any whole number ≥ 0: two proposers that overtook each other must not do so for ever. */
export function tickProposal(
  proposal: Proposal,
  nowMs: number,
  roll: number,
  times: LeaseTimes,
): ProposalStep {
  const { self, epoch, phase, highestRound, triesLeft } = proposal
  if (nowMs < proposal.nextAtMs) return { proposal, messages: [] }
  if (triesLeft === 0)
    return { proposal: { ...proposal, phase: { kind: 'given up' }, nextAtMs: Infinity }, messages: [] }
  if (phase.kind !== 'pausing') return { proposal: pausing(proposal, nowMs, roll, times), messages: [] }
  const ballot = { round: highestRound + 1, node: self }
  const next: Proposal = {
    ...proposal,
    ballot,
    highestRound: ballot.round,
    triesLeft: triesLeft - 1,
    phase: { kind: 'preparing', promises: new Map() },
    nextAtMs: nowMs + times.tryMs,
  }
  return { proposal: next, messages: toVoters(epoch, { kind: 'prepare', epoch: epoch.number, ballot }) }
}

export function isRunning({ phase }: Proposal): boolean {
  return phase.kind !== 'decided' && phase.kind !== 'given up'
}

export function hearVoter(
  proposal: Proposal,
  from: NodeId,
  message: LeaseMessage,
  nowMs: number,
  roll: number,
  times: LeaseTimes,
): ProposalStep {
  const stays: ProposalStep = { proposal, messages: [] }
  const { epoch, ballot, phase } = proposal
  if (!('ballot' in message) || message.epoch !== epoch.number) return stays
  if (!isSameBallot(message.ballot, ballot) || !isVoter(epoch, from)) return stays
  switch (message.kind) {
    case 'promise':
      return phase.kind === 'preparing'
        ? promised(proposal, from, message, phase.promises, nowMs, times)
        : stays
    case 'accepted':
      return phase.kind === 'accepting' ? accepted(proposal, from, phase.value, phase.accepted) : stays
    case 'refuse': {
      if (!isHigher(message.promised, ballot) || !isRunning(proposal)) return stays
      const highestRound = Math.max(proposal.highestRound, message.promised.round)
      return { proposal: pausing({ ...proposal, highestRound }, nowMs, roll, times), messages: [] }
    }
    default:
      return stays
  }
}

function promised(
  proposal: Proposal,
  from: NodeId,
  said: Promised,
  before: ReadonlyMap<NodeId, Promised>,
  nowMs: number,
  times: LeaseTimes,
): ProposalStep {
  const { epoch, ballot, wanted } = proposal
  const promises = new Map(before).set(from, said)
  if (promises.size < majorityOf(epoch))
    return { proposal: { ...proposal, phase: { kind: 'preparing', promises } }, messages: [] }
  const value = successorOf(epoch, wanted, [...promises.values()])
  return {
    proposal: {
      ...proposal,
      phase: { kind: 'accepting', value, accepted: new Set() },
      nextAtMs: nowMs + times.tryMs,
    },
    messages: toVoters(epoch, { kind: 'accept', epoch: epoch.number, ballot, value }),
  }
}

function accepted(proposal: Proposal, from: NodeId, value: Epoch, before: ReadonlySet<NodeId>): ProposalStep {
  const { epoch } = proposal
  const all = new Set(before).add(from)
  if (all.size < majorityOf(epoch))
    return { proposal: { ...proposal, phase: { kind: 'accepting', value, accepted: all } }, messages: [] }
  const nodes = new Set([proposal.self, ...[...epoch.voters, ...value.voters].map(({ node }) => node)])
  return {
    proposal: { ...proposal, phase: { kind: 'decided', value }, nextAtMs: Infinity },
    messages: [...nodes].map((to) => ({ to, message: { kind: 'epoch', value } })),
  }
}

function pausing(proposal: Proposal, nowMs: number, roll: number, times: LeaseTimes): Proposal {
  return { ...proposal, phase: { kind: 'pausing' }, nextAtMs: nowMs + (roll % times.tryMs) }
}

function toVoters(epoch: Epoch, message: LeaseMessage): readonly Envelope[] {
  return epoch.voters.map(({ node }) => ({ to: node, message }))
}
