import type { Brand, NodeId } from '@moot/crdt-state'

/**
 * What is leased: `<service name>.<slot>`. By name, not by the document's id, since removing a service and creating it
 * anew makes another document, and both are the same thing to whoever asked for it to run only once.
 */
export type SlotKey = Brand<string, 'SlotKey'>

/** A voter is a node with the disk that remembers its promises: a node whose lease file was lost is another voter. */
export interface Seat {
  readonly node: NodeId
  /** Drawn when the lease file was created. */
  readonly disk: string
}

/** A voter's word that a slot is one holder's until its time is over. More than one: the first word after a change of epoch. */
export interface Held {
  readonly slot: SlotKey
  /** Who may hold it: of several, the one whose lease is still valid. */
  readonly holders: readonly NodeId[]
  readonly fence: number
  /** Of the holder's process that asked last: what an earlier one has sent and only now arrives is void. */
  readonly life: number
}

/** A slot that is not exclusive any more for whoever knows at least this version of the label (`contract.ts`). */
export interface Loosened {
  readonly slot: SlotKey
  readonly term: number
}

/** Who votes, and what the voters before them have left. What was decided once never changes. */
export interface Epoch {
  readonly number: number
  readonly voters: readonly Seat[]
  readonly held: readonly Held[]
  readonly loosened: readonly Loosened[]
  /** Every fence that was given before is at most this. */
  readonly fence: number
}

/** Of a proposal for the successor epoch. The higher round wins, then the higher node id. */
export interface Ballot {
  readonly round: number
  readonly node: NodeId
}

export type Intent =
  /** Could it be had, and with which fence? Binds nobody. */
  | { readonly kind: 'look' }
  | { readonly kind: 'take'; readonly fence: number }
  /** From a holder whose lease was valid when it asked. */
  | { readonly kind: 'renew'; readonly fence: number }
  /** From whoever knows that the service is not exclusive any more. */
  | { readonly kind: 'loosen' }

/** What an answer repeats, so that it is counted from when *this* was asked, by the process that asked. */
export interface AskId {
  readonly slot: SlotKey
  /** Of the asking process; grows with each start. */
  readonly life: number
  /** On the asking host's clock, read before the ask was sent. */
  readonly askedAtMs: number
}

export type Verdict =
  | { readonly kind: 'free'; readonly fence: number }
  | { readonly kind: 'granted'; readonly fence: number }
  | { readonly kind: 'loosened' }
  /** The fence is used up: ask with more than this one. */
  | { readonly kind: 'stale'; readonly fence: number }
  | { readonly kind: 'held'; readonly by: readonly NodeId[]; readonly forMs: number }
  /** Started a moment ago and does not know what it had granted. */
  | { readonly kind: 'silent'; readonly forMs: number }
  /** A successor epoch is being decided. */
  | { readonly kind: 'changing' }
  /** The service was made `available`, and the asker has not heard of it. */
  | { readonly kind: 'outdated' }
  | { readonly kind: 'full' }

export type LeaseMessage =
  | (AskId & { readonly kind: 'ask'; readonly epoch: number; readonly term: number; readonly intent: Intent })
  | (AskId & { readonly kind: 'answer'; readonly epoch: number; readonly verdict: Verdict })
  /** The task is gone. */
  | (Released & { readonly kind: 'release'; readonly epoch: number })
  | { readonly kind: 'prepare'; readonly epoch: number; readonly ballot: Ballot }
  | {
      readonly kind: 'promise'
      readonly epoch: number
      readonly ballot: Ballot
      readonly accepted?: Acceptance
      readonly held: readonly Held[]
      readonly loosened: readonly Loosened[]
      readonly fence: number
    }
  | { readonly kind: 'accept'; readonly epoch: number; readonly ballot: Ballot; readonly value: Epoch }
  | { readonly kind: 'accepted'; readonly epoch: number; readonly ballot: Ballot }
  /** A higher ballot was promised. */
  | { readonly kind: 'refuse'; readonly epoch: number; readonly ballot: Ballot; readonly promised: Ballot }
  /** "The newest epoch that I know": whoever knows less fetches it, whoever knows more sends it. */
  | { readonly kind: 'know'; readonly epoch: number }
  | { readonly kind: 'fetch'; readonly above: number }
  /** Decided. */
  | { readonly kind: 'epoch'; readonly value: Epoch }

/** All that this process was granted for the slot with fences up to this one. */
export interface Released {
  readonly slot: SlotKey
  readonly life: number
  readonly fence: number
}

export interface Acceptance {
  readonly ballot: Ballot
  readonly value: Epoch
}

export interface Envelope {
  readonly to: NodeId
  readonly message: LeaseMessage
}
