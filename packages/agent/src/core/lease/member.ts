import type { NodeId } from '@moot/crdt-state'
import {
  adopt,
  createHolder,
  drop,
  hearAnswer,
  type Holder,
  type HolderStep,
  moveToEpoch,
  nextHolderAtMs,
  tickHolder,
  want,
  type Wanted,
} from './holder.ts'
import type { Envelope, Epoch, LeaseMessage, Seat, SlotKey } from './messages.ts'
import { hearVoter, isRunning, type Proposal, propose, tickProposal } from './successor.ts'
import type { LeaseTimes } from './times.ts'
import {
  type Durable,
  expire,
  type Kept,
  keptOf,
  learnEpoch,
  startVoter,
  type Voter,
  voterStep,
  votes,
} from './voter.ts'

/** All of one node's part in leases: it may vote, hold, and propose who votes next. */
export interface LeaseMember {
  readonly self: NodeId
  readonly times: LeaseTimes
  readonly voter: Voter
  readonly holder: Holder
  readonly proposal: Proposal | undefined
  /** A ballot for the successor was promised here, and nothing was heard of its end: since when. */
  readonly undecidedSinceMs: number | undefined
  readonly fetchedAtMs: number
}

export type LeaseInput =
  | { readonly kind: 'message'; readonly from: NodeId; readonly message: LeaseMessage }
  | { readonly kind: 'tick' }
  | { readonly kind: 'want'; readonly slot: SlotKey; readonly wanted: Wanted }
  /** The slot is not wanted here any more, and no process of its task is left. */
  | { readonly kind: 'drop'; readonly slot: SlotKey }
  /** After a start of the agent: a task that runs, and what the watchdog knows of it. */
  | {
      readonly kind: 'adopt'
      readonly slot: SlotKey
      readonly wanted: Wanted
      readonly fence: number
      readonly deadlineMs: number
    }
  /** Who is to vote next (`voter-set.ts`). */
  | { readonly kind: 'propose'; readonly voters: readonly Seat[] }
  /** `forcedEpoch`, at a person's word. */
  | { readonly kind: 'force'; readonly epoch: Epoch }

/** In this order: `persist` fsynced and `keep` written, then the messages sent (those to this node itself too). */
export interface LeaseEffects {
  readonly member: LeaseMember
  readonly persist: Durable | undefined
  readonly keep: Kept | undefined
  readonly messages: readonly Envelope[]
}

export interface LeaseStart {
  readonly self: NodeId
  readonly durable: Durable
  /** See `startVoter`. */
  readonly kept: Kept | undefined
  /** Grows with each start of the process on this node: the record's boot epoch. */
  readonly life: number
  readonly times: LeaseTimes
}

export function startMember({ self, durable, kept, life, times }: LeaseStart, nowMs: number): LeaseMember {
  return {
    self,
    times,
    voter: startVoter(self, durable, kept, nowMs, times),
    holder: createHolder(self, life, durable.epoch, times),
    proposal: undefined,
    // Whose ballot it was may be gone.
    undecidedSinceMs: durable.promised === undefined ? undefined : nowMs,
    fetchedAtMs: -Infinity,
  }
}

/**
 * @param nowMs a clock that goes on while the host sleeps (CLOCK_BOOTTIME), read after the input has come. If `persist` or
 *   `keep` fails, nothing of this step may be sent: the process ends, or starts anew from what is on the disk.
 * @param roll any whole number ≥ 0, drawn anew for each step.
 */
export function leaseStep(before: LeaseMember, input: LeaseInput, nowMs: number, roll: number): LeaseEffects {
  const turn = new Turn(before, nowMs, roll)
  turn.take(input)
  const { member, messages } = turn
  const { durable, keptVersion } = member.voter
  return {
    member,
    persist: durable === before.voter.durable ? undefined : durable,
    keep: keptVersion === before.voter.keptVersion ? undefined : keptOf(member.voter, nowMs),
    messages,
  }
}

/** When the next tick is due, if nothing comes before. */
export function nextLeaseAtMs({ holder, proposal, undecidedSinceMs, ...member }: LeaseMember): number {
  const takeoverAtMs = undecidedSinceMs === undefined ? Infinity : undecidedSinceMs + takeoverMs(member)
  const running = proposal !== undefined && isRunning(proposal)
  return Math.min(nextHolderAtMs(holder), running ? proposal.nextAtMs : takeoverAtMs)
}

/** One voter after the other, in their order, finishes what a proposer has left undone. */
function takeoverMs({ self, voter, times }: Pick<LeaseMember, 'self' | 'voter' | 'times'>): number {
  const place = voter.durable.epoch.voters.findIndex(({ node }) => node === self)
  return times.tryMs * (2 + Math.max(0, place))
}

class Turn {
  member: LeaseMember
  readonly messages: Envelope[] = []
  readonly #nowMs: number
  readonly #roll: number

  constructor(member: LeaseMember, nowMs: number, roll: number) {
    this.member = member
    this.#nowMs = nowMs
    this.#roll = roll
  }

  take(input: LeaseInput): void {
    const { holder } = this.member
    const nowMs = this.#nowMs
    switch (input.kind) {
      case 'message':
        return this.#hear(input.from, input.message)
      case 'tick':
        return this.#tick()
      case 'want':
        return this.#hold(want(holder, input.slot, input.wanted, nowMs))
      case 'drop':
        return this.#hold(drop(holder, input.slot, nowMs))
      case 'adopt':
        return this.#hold(adopt(holder, input.slot, input, nowMs))
      case 'propose':
        return this.#propose(input.voters)
      case 'force': {
        this.#learn(input.epoch)
        for (const { node } of input.epoch.voters) this.#send(node, { kind: 'epoch', value: input.epoch })
      }
    }
  }

  #hear(from: NodeId, message: LeaseMessage): void {
    const known = this.#epoch
    switch (message.kind) {
      case 'epoch':
        return this.#learn(message.value)
      case 'fetch':
        if (known.number > message.above) this.#send(from, { kind: 'epoch', value: known })
        return
      default: {
        if (message.epoch < known.number) this.#send(from, { kind: 'know', epoch: known.number })
        else if (message.epoch > known.number) this.#fetch(from)
        else this.#hearOfThisEpoch(from, message)
      }
    }
  }

  #hearOfThisEpoch(from: NodeId, message: LeaseMessage): void {
    const { holder, proposal, times } = this.member
    switch (message.kind) {
      case 'answer':
        return this.#hold(hearAnswer(holder, from, message, this.#nowMs, this.#roll))
      case 'promise':
      case 'accepted':
      case 'refuse': {
        if (proposal === undefined) return
        const step = hearVoter(proposal, from, message, this.#nowMs, this.#roll, times)
        this.member = { ...this.member, proposal: step.proposal }
        this.messages.push(...step.messages)
        return
      }
      default: {
        const { voter, messages } = voterStep(this.member.voter, from, message, this.#nowMs)
        this.member = { ...this.member, voter }
        this.messages.push(...messages)
        if (message.kind === 'prepare' || message.kind === 'accept') this.#noteUndecided()
      }
    }
  }

  #tick(): void {
    const { times, voter, holder } = this.member
    this.member = { ...this.member, voter: expire(voter, this.#nowMs) }
    this.#hold(tickHolder(holder, this.#nowMs, this.#roll))
    const { proposal, undecidedSinceMs } = this.member
    if (proposal !== undefined && isRunning(proposal)) {
      const step = tickProposal(proposal, this.#nowMs, this.#roll, times)
      this.member = { ...this.member, proposal: step.proposal }
      this.messages.push(...step.messages)
      if (!isRunning(step.proposal)) this.#noteUndecided()
    } else if (undecidedSinceMs !== undefined && this.#nowMs >= undecidedSinceMs + takeoverMs(this.member)) {
      this.#propose(this.#epoch.voters)
    }
  }

  #noteUndecided(): void {
    const isUndecided = this.member.voter.durable.promised !== undefined && votes(this.member.voter)
    this.member = { ...this.member, undecidedSinceMs: isUndecided ? this.#nowMs : undefined }
  }

  #propose(voters: readonly Seat[]): void {
    const { self, times, voter, proposal } = this.member
    const isBusy = proposal !== undefined && isRunning(proposal)
    if (isBusy || this.#epoch.number === 0 || voters.length === 0) return
    const step = propose(self, this.#epoch, voters, voter.durable.promised, this.#nowMs, times)
    this.member = { ...this.member, proposal: step.proposal }
    this.messages.push(...step.messages)
  }

  #learn(epoch: Epoch): void {
    if (epoch.number <= this.#epoch.number) return
    const voter = learnEpoch(this.member.voter, epoch, this.#nowMs)
    this.member = { ...this.member, voter, proposal: undefined, undecidedSinceMs: undefined }
    this.#hold(moveToEpoch(this.member.holder, epoch, this.#nowMs))
  }

  #fetch(from: NodeId): void {
    if (this.#nowMs < this.member.fetchedAtMs + this.member.times.askIntervalMs) return
    this.member = { ...this.member, fetchedAtMs: this.#nowMs }
    this.#send(from, { kind: 'fetch', above: this.#epoch.number })
  }

  #hold({ holder, messages }: HolderStep): void {
    this.member = { ...this.member, holder }
    this.messages.push(...messages)
  }

  #send(to: NodeId, message: LeaseMessage): void {
    this.messages.push({ to, message })
  }

  get #epoch(): Epoch {
    return this.member.voter.durable.epoch
  }
}
