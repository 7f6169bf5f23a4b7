import type { NodeId } from '@moot/crdt-state'
import { isVoter, majorityOf } from './epoch.ts'
import type { AskId, Envelope, Epoch, Intent, SlotKey, Verdict } from './messages.ts'
import type { LeaseTimes } from './times.ts'

/** What a node asks the voters for, for one slot. */
export interface Wanted {
  /** The version of the service's label that is acted upon (`contract.ts`). */
  readonly term: number
  /** `loosening`: the slot is not exclusive any more, which the voters have to know before anybody runs it without a lease. */
  readonly as: 'exclusive' | 'loosening'
}

/** What the voters said last, and when that was asked. Times are of this host's clock. */
export interface Word {
  readonly askedAtMs: number
  readonly verdict: Verdict
}

interface Asking {
  readonly wanted: Wanted
  /** Of the last ask to all. */
  readonly askedAtMs: number
  readonly words: ReadonlyMap<NodeId, Word>
}

export type SlotState =
  /** Waits, binding nobody, until a majority says that the slot is free (or, of a loosened one, knows that it is loosened). */
  | (Asking & {
      readonly kind: 'looking'
      readonly sinceMs: number
      readonly nextAtMs: number
      readonly lostTries: number
    })
  | (Asking & {
      readonly kind: 'taking'
      readonly fence: number
      readonly sinceMs: number
      readonly startedAtMs: number
      readonly lostTries: number
    })
  /** The task may run until `deadlineMs`, which the watchdog must know before the task starts. */
  | (Asking & { readonly kind: 'held'; readonly fence: number; readonly deadlineMs: number })
  | { readonly kind: 'loosened'; readonly wanted: Wanted }
  | {
      readonly kind: 'releasing'
      readonly fence: number
      readonly timesLeft: number
      readonly nextAtMs: number
    }

type AskingState = Extract<SlotState, Asking>

export interface Holder {
  readonly self: NodeId
  /** Grows with each start of the process: answers to asks of an earlier one count from another clock's time. */
  readonly life: number
  readonly times: LeaseTimes
  readonly epoch: Epoch
  /** The highest that this process has asked for, for any slot: none is asked for twice, whatever became of it. */
  readonly fence: number
  readonly slots: ReadonlyMap<SlotKey, SlotState>
}

export interface HolderStep {
  readonly holder: Holder
  readonly messages: readonly Envelope[]
}

/** One slot's next state (undefined: nothing more to do with it) and what is sent for it. */
interface Turn {
  readonly state: SlotState | undefined
  readonly messages: readonly Envelope[]
}

/** A release that is lost costs the next holder a wait, so it is said more than once. */
const releaseTimes = 3

export function createHolder(self: NodeId, life: number, epoch: Epoch, times: LeaseTimes): Holder {
  return { self, life, times, epoch, fence: 0, slots: new Map() }
}

/**
 * This node is to run the slot, as far as it can see; no task of it runs here by an older lease (that one is adopted, or its
 * end is waited for). Said again it changes what was wanted.
 */
export function want(holder: Holder, slot: SlotKey, wanted: Wanted, nowMs: number): HolderStep {
  const known = holder.slots.get(slot)
  if (known !== undefined && 'wanted' in known) {
    if (known.wanted.as === wanted.as && known.wanted.term === wanted.term) return { holder, messages: [] }
    if (known.kind === 'held') return put(holder, slot, turn(holder, slot, { ...known, wanted }, nowMs, 0))
    return put(holder, slot, turn(holder, slot, looking(wanted, nowMs), nowMs, 0))
  }
  // What is still being released must be heard first; its fence is used up in any case.
  return put(holder, slot, turn(holder, slot, looking(wanted, nowMs), nowMs, 0))
}

/** A task that was found running after this process had started, with what the watchdog knows of its lease. */
export function adopt(
  holder: Holder,
  slot: SlotKey,
  found: { readonly wanted: Wanted; readonly fence: number; readonly deadlineMs: number },
  nowMs: number,
): HolderStep {
  const { wanted, fence, deadlineMs } = found
  const none = { askedAtMs: -Infinity, words: new Map() }
  return put(holder, slot, turn(holder, slot, { kind: 'held', wanted, fence, deadlineMs, ...none }, nowMs, 0))
}

/** Its task is gone from this node, with its last process, and it is not wanted here any more. */
export function drop(holder: Holder, slot: SlotKey, nowMs: number): HolderStep {
  const known = holder.slots.get(slot)
  if (known === undefined || known.kind === 'releasing') return { holder, messages: [] }
  if (known.kind !== 'held' && known.kind !== 'taking') return put(holder, slot, nothing)
  const state: SlotState = { kind: 'releasing', fence: known.fence, timesLeft: releaseTimes, nextAtMs: nowMs }
  return put(holder, slot, turn(holder, slot, state, nowMs, 0))
}

/** @param roll any whole number ≥ 0, drawn anew each time: two who lost against each other must not meet again. */
export function tickHolder(holder: Holder, nowMs: number, roll: number): HolderStep {
  const due = [...holder.slots].filter(([, state]) => dueAtMs(holder, state) <= nowMs)
  return due.length === 0
    ? { holder, messages: [] }
    : putAll(holder, due, (slot, state) => turn(holder, slot, state, nowMs, roll))
}

export function nextHolderAtMs(holder: Holder): number {
  return Math.min(Infinity, ...[...holder.slots.values()].map((state) => dueAtMs(holder, state)))
}

type Answer = AskId & { readonly epoch: number; readonly verdict: Verdict }

export function hearAnswer(
  holder: Holder,
  from: NodeId,
  answer: Answer,
  nowMs: number,
  roll: number,
): HolderStep {
  const { slot, life, askedAtMs, epoch, verdict } = answer
  const before = holder.slots.get(slot)
  const isOurs = life === holder.life && epoch === holder.epoch.number && isVoter(holder.epoch, from)
  if (before === undefined || !('words' in before) || !isOurs) return { holder, messages: [] }
  // A lease that has run out is lost before anything can make it look valid again: another may have had it since.
  if (before.kind === 'held' && before.deadlineMs <= nowMs)
    return put(holder, slot, turn(holder, slot, before, nowMs, roll))
  const known = before.words.get(from)
  if (known !== undefined && known.askedAtMs > askedAtMs) return { holder, messages: [] }
  const words = new Map(before.words).set(from, { askedAtMs, verdict })
  return put(holder, slot, weigh(holder, slot, { ...before, words }, nowMs))
}

/** Others vote from now on. A valid lease stays valid: the new voters are bound to it. */
export function moveToEpoch(holder: Holder, epoch: Epoch, nowMs: number): HolderStep {
  if (epoch.number <= holder.epoch.number) return { holder, messages: [] }
  const moved = { ...holder, epoch }
  return putAll(moved, [...holder.slots], (slot, before) =>
    turn(moved, slot, inNewEpoch(before, nowMs), nowMs, 0),
  )
}

function inNewEpoch(state: SlotState, nowMs: number): SlotState {
  switch (state.kind) {
    case 'held':
      return { ...state, askedAtMs: -Infinity, words: new Map() }
    case 'looking':
      return { ...state, askedAtMs: -Infinity, words: new Map() }
    case 'taking':
      return { ...looking(state.wanted, nowMs), sinceMs: state.sinceMs }
    case 'releasing':
      return { ...state, timesLeft: releaseTimes, nextAtMs: nowMs }
    case 'loosened':
      return state
  }
}

function looking(wanted: Wanted, nowMs: number): SlotState & { readonly kind: 'looking' } {
  return {
    kind: 'looking',
    wanted,
    sinceMs: nowMs,
    askedAtMs: -Infinity,
    nextAtMs: nowMs,
    lostTries: 0,
    words: new Map(),
  }
}

const nothing: Turn = { state: undefined, messages: [] }

function put(holder: Holder, slot: SlotKey, { state, messages }: Turn): HolderStep {
  const slots = new Map(holder.slots)
  if (state === undefined) slots.delete(slot)
  else slots.set(slot, state)
  const fence = state !== undefined && 'fence' in state ? Math.max(holder.fence, state.fence) : holder.fence
  return { holder: { ...holder, slots, fence }, messages }
}

/** Of turns that begin no try: that would take a fence, which the next one must not take too. */
function putAll(
  holder: Holder,
  entries: readonly (readonly [SlotKey, SlotState])[],
  next: (slot: SlotKey, state: SlotState) => Turn,
): HolderStep {
  const slots = new Map(holder.slots)
  const messages: Envelope[] = []
  for (const [slot, before] of entries) {
    const { state, messages: more } = next(slot, before)
    if (state === undefined) slots.delete(slot)
    else slots.set(slot, state)
    messages.push(...more)
  }
  return { holder: { ...holder, slots }, messages }
}

function dueAtMs({ times }: Holder, state: SlotState): number {
  switch (state.kind) {
    case 'looking':
    case 'releasing':
      return state.nextAtMs
    case 'taking':
      return Math.min(state.askedAtMs + times.askIntervalMs, state.startedAtMs + times.tryMs)
    case 'held': {
      const renewAtMs =
        state.wanted.as === 'loosening' ? -Infinity : state.deadlineMs - times.leaseMs + times.renewAfterMs
      return Math.min(state.deadlineMs, Math.max(renewAtMs, state.askedAtMs + times.askIntervalMs))
    }
    case 'loosened':
      return Infinity
  }
}

/** What a state does when its time has come. */
function turn(holder: Holder, slot: SlotKey, state: SlotState, nowMs: number, roll: number): Turn {
  if (dueAtMs(holder, state) > nowMs) return { state, messages: [] }
  const { times } = holder
  switch (state.kind) {
    case 'looking':
      return ask(holder, slot, { ...state, nextAtMs: nowMs + times.askIntervalMs }, nowMs)
    case 'taking':
      if (nowMs < state.startedAtMs + times.tryMs) return ask(holder, slot, state, nowMs)
      return giveBack(holder, slot, state, nowMs, roll)
    case 'held':
      if (nowMs < state.deadlineMs) return ask(holder, slot, state, nowMs)
      return lost(holder, slot, state, nowMs, roll)
    case 'releasing': {
      if (state.timesLeft === 0) return nothing
      const next = { ...state, timesLeft: state.timesLeft - 1, nextAtMs: nowMs + times.askIntervalMs }
      return { state: next, messages: releases(holder, slot, state.fence) }
    }
    case 'loosened':
      return { state, messages: [] }
  }
}

/**
 * The watchdog is killing the task. Until that is over nothing is asked for: votes of a new try that are given back would set
 * voters free that the lease before still needs.
 */
function lost(
  holder: Holder,
  slot: SlotKey,
  { wanted, deadlineMs }: SlotState & { readonly kind: 'held' },
  nowMs: number,
  roll: number,
): Turn {
  const nextAtMs = deadlineMs + holder.times.fadeMs
  return turn(holder, slot, { ...looking(wanted, nowMs), nextAtMs }, nowMs, roll)
}

/** Some voters granted, and no majority: the slot is somebody else's, or two split the votes. */
function giveBack(
  holder: Holder,
  slot: SlotKey,
  state: SlotState & { readonly kind: 'taking' },
  nowMs: number,
  roll: number,
): Turn {
  const lostTries = Math.min(state.lostTries + 1, 4)
  const pauseMs = roll % (holder.times.tryMs * 2 ** (lostTries - 1))
  const next: SlotState = {
    ...looking(state.wanted, nowMs),
    sinceMs: state.sinceMs,
    nextAtMs: nowMs + holder.times.askIntervalMs + pauseMs,
    lostTries,
    words: state.words,
  }
  return { state: next, messages: releases(holder, slot, state.fence) }
}

function releases({ epoch, life }: Holder, slot: SlotKey, fence: number): readonly Envelope[] {
  const message = { kind: 'release', epoch: epoch.number, slot, life, fence } as const
  return epoch.voters.map(({ node }) => ({ to: node, message }))
}

function ask(holder: Holder, slot: SlotKey, state: AskingState, nowMs: number): Turn {
  const { life, epoch } = holder
  const { term } = state.wanted
  const intent = intentOf(state)
  const message = { kind: 'ask', epoch: epoch.number, slot, life, askedAtMs: nowMs, term, intent } as const
  return {
    state: { ...state, askedAtMs: nowMs },
    messages: epoch.voters.map(({ node }) => ({ to: node, message })),
  }
}

function intentOf(state: AskingState): Intent {
  if (state.wanted.as === 'loosening') return { kind: 'loosen' }
  switch (state.kind) {
    case 'looking':
      return { kind: 'look' }
    case 'taking':
      return { kind: 'take', fence: state.fence }
    case 'held':
      return { kind: 'renew', fence: state.fence }
  }
}

/** A word has come. */
function weigh(holder: Holder, slot: SlotKey, state: AskingState, nowMs: number): Turn {
  const stays: Turn = { state, messages: [] }
  const needed = majorityOf(holder.epoch)
  const words = [...state.words.values()]
  const isLoosened = words.filter(({ verdict }) => verdict.kind === 'loosened').length >= needed
  if (state.wanted.as === 'loosening' && isLoosened)
    return { state: { kind: 'loosened', wanted: state.wanted }, messages: [] }
  switch (state.kind) {
    case 'looking':
      return startTaking(holder, slot, state, nowMs)
    case 'taking': {
      const staleAbove = usedUp(words)
      if (staleAbove >= state.fence) {
        const fence = Math.max(staleAbove, holder.fence) + 1
        return ask(holder, slot, { ...state, fence }, nowMs)
      }
      const deadlineMs = deadlineOf(holder, words, state.fence)
      if (deadlineMs === undefined || deadlineMs <= nowMs) return stays
      const { wanted, fence, askedAtMs } = state
      return {
        state: { kind: 'held', wanted, fence, deadlineMs, askedAtMs, words: state.words },
        messages: [],
      }
    }
    case 'held': {
      const deadlineMs = deadlineOf(holder, words, state.fence) ?? state.deadlineMs
      return { state: { ...state, deadlineMs: Math.max(state.deadlineMs, deadlineMs) }, messages: [] }
    }
  }
}

function startTaking(
  holder: Holder,
  slot: SlotKey,
  state: SlotState & { readonly kind: 'looking' },
  nowMs: number,
): Turn {
  const { wanted, words, askedAtMs, sinceMs, lostTries } = state
  const fresh = [...words.values()].filter((word) => word.askedAtMs > nowMs - holder.times.tryMs)
  const free = fresh.filter(({ verdict }) => verdict.kind === 'free')
  const isPausing = askedAtMs === -Infinity
  if (wanted.as === 'loosening' || isPausing || free.length < majorityOf(holder.epoch))
    return { state, messages: [] }
  const fence = Math.max(usedUp(fresh), holder.fence) + 1
  return ask(
    holder,
    slot,
    { kind: 'taking', wanted, fence, sinceMs, startedAtMs: nowMs, askedAtMs, words: new Map(), lostTries },
    nowMs,
  )
}

function usedUp(words: readonly Word[]): number {
  return Math.max(
    0,
    ...words.map(({ verdict }) => (verdict.kind === 'free' || verdict.kind === 'stale' ? verdict.fence : 0)),
  )
}

/**
 * A lease counts from the time of the ask that a majority has granted, this one or a later one: of so many voters the one
 * that has heard nothing for longest decides. A voter that was told of the loosening is bound for ever.
 */
function deadlineOf({ epoch, times }: Holder, words: readonly Word[], fence: number): number | undefined {
  const grantedAtMs = words
    .filter(
      ({ verdict }) => (verdict.kind === 'granted' && verdict.fence === fence) || verdict.kind === 'loosened',
    )
    .map(({ askedAtMs }) => askedAtMs)
    .sort((a, b) => b - a)
  const startMs = grantedAtMs[majorityOf(epoch) - 1]
  return startMs === undefined ? undefined : startMs + times.leaseMs
}
