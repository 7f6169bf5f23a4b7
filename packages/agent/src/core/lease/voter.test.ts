import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { founderEpoch } from './epoch.ts'
import type { Epoch, Intent, LeaseMessage, SlotKey, Verdict } from './messages.ts'
import { times } from './testing/chaos.ts'
import {
  freshDurable,
  keptOf,
  learnEpoch,
  leasedSlotsMax,
  noneKept,
  startVoter,
  type Voter,
  voterStep,
} from './voter.ts'

const [v, a, b] = ['v', 'a', 'b'] as [NodeId, NodeId, NodeId]
const slot = 'db.1' as SlotKey
const epoch = founderEpoch({ node: v, disk: 'd' })
const next: Epoch = { ...epoch, number: 2 }
const ballot = { round: 1, node: a }

/** A voter to talk to. */
class Subject {
  voter: Voter = startVoter(v, freshDurable('d', epoch), noneKept, 0, times)

  hear(from: NodeId, message: LeaseMessage, nowMs: number): readonly LeaseMessage[] {
    const { voter, messages } = voterStep(this.voter, from, message, nowMs)
    this.voter = voter
    return messages.map((envelope) => envelope.message)
  }

  ask(
    from: NodeId,
    intent: Intent,
    nowMs = 0,
    also: { readonly term?: number; readonly life?: number; readonly slot?: SlotKey } = {},
  ): Verdict {
    const { number } = this.voter.durable.epoch
    const ask = {
      kind: 'ask',
      epoch: number,
      slot,
      life: 1,
      askedAtMs: nowMs,
      term: 1,
      intent,
      ...also,
    } as const
    const [answer] = this.hear(from, ask, nowMs)
    if (answer?.kind !== 'answer') throw new Error('no answer')
    return answer.verdict
  }

  release(from: NodeId, fence: number, nowMs: number, life = 1): void {
    this.hear(from, { kind: 'release', epoch: epoch.number, slot, life, fence }, nowMs)
  }
}

const take = (fence: number): Intent => ({ kind: 'take', fence })
const renew = (fence: number): Intent => ({ kind: 'renew', fence })
const look: Intent = { kind: 'look' }
const loosen: Intent = { kind: 'loosen' }

describe('a voter', () => {
  it('grants a slot to one holder at a time, and says who has it and for how long', () => {
    const subject = new Subject()
    expect(subject.ask(a, look)).toEqual({ kind: 'free', fence: 0 })
    expect(subject.ask(a, take(1), 100)).toEqual({ kind: 'granted', fence: 1 })
    expect(subject.ask(b, take(2), 1_100)).toEqual({ kind: 'held', by: [a], forMs: times.holdMs - 1_000 })
    expect(subject.ask(b, look, 100 + times.holdMs - 1)).toEqual({ kind: 'held', by: [a], forMs: 1 })
    expect(subject.ask(b, look, 100 + times.holdMs)).toEqual({ kind: 'free', fence: 1 })
  })

  it('gives no fence twice, nor a lower one, also after it was restarted', () => {
    const subject = new Subject()
    subject.ask(a, take(7))
    subject.release(a, 7, 10)
    expect(subject.ask(b, take(7), 20)).toEqual({ kind: 'stale', fence: 7 })
    const restarted = new Subject()
    restarted.voter = startVoter(v, subject.voter.durable, undefined, 0, times)
    expect(restarted.ask(b, take(7), times.silenceMs)).toEqual({ kind: 'stale', fence: 7 })
    expect(restarted.ask(b, take(8), times.silenceMs)).toEqual({ kind: 'granted', fence: 8 })
  })

  it('answers the same ask twice, and has its fence on the disk only once', () => {
    const subject = new Subject()
    subject.ask(a, take(7))
    const { durable } = subject.voter
    expect(subject.ask(a, take(7), 10)).toEqual({ kind: 'granted', fence: 7 })
    expect(subject.ask(a, renew(7), 20)).toEqual({ kind: 'granted', fence: 7 })
    expect(subject.voter.durable).toBe(durable)
  })

  it('is not fooled by what an earlier process of the holder has sent', () => {
    const subject = new Subject()
    subject.ask(a, take(7))
    expect(subject.ask(a, take(7), 10, { life: 2 })).toEqual({ kind: 'stale', fence: 7 })
    subject.ask(a, take(8), 20, { life: 2 })
    subject.release(a, 8, 30, 1)
    expect(subject.ask(a, take(8), 40, { life: 1 })).toEqual({ kind: 'stale', fence: 8 })
    expect(subject.ask(b, look, 50)).toMatchObject({ kind: 'held' })
  })

  it('is not bound again by an ask that was overtaken by the release', () => {
    const subject = new Subject()
    subject.ask(a, take(7))
    subject.release(a, 7, 10)
    expect(subject.ask(a, renew(7), 20)).toEqual({ kind: 'stale', fence: 7 })
    expect(subject.ask(a, take(7), 20)).toEqual({ kind: 'stale', fence: 7 })
    expect(subject.ask(b, look, 30)).toEqual({ kind: 'free', fence: 7 })
  })

  it('is silent after it has forgotten, and only then', () => {
    const subject = new Subject()
    subject.ask(a, take(1))
    const { durable } = subject.voter
    const kept = keptOf(subject.voter, 5)
    subject.voter = startVoter(v, durable, kept, 1_000, times)
    expect(subject.ask(b, look, 1_000)).toEqual({ kind: 'held', by: [a], forMs: times.holdMs })
    subject.voter = startVoter(v, durable, undefined, 1_000, times)
    expect(subject.ask(a, renew(1), 1_001)).toEqual({ kind: 'silent', forMs: times.silenceMs - 1 })
    // What it could keep now is not all: a second restart must not trust it.
    subject.voter = startVoter(v, durable, keptOf(subject.voter, 1_001), 2_000, times)
    expect(subject.ask(b, look, 2_001)).toMatchObject({ kind: 'silent' })
    expect(subject.hear(a, { kind: 'prepare', epoch: 1, ballot }, 2_002)).toEqual([])
  })

  it('that has promised a successor renews what it told of, and grants nothing else', () => {
    const subject = new Subject()
    subject.ask(a, take(1))
    const [promise] = subject.hear(b, { kind: 'prepare', epoch: 1, ballot }, 10)
    expect(promise).toMatchObject({ held: [{ slot, holders: [a], fence: 1 }], fence: 1 })
    expect(subject.ask(a, renew(1), 20)).toEqual({ kind: 'granted', fence: 1 })
    expect(subject.ask(a, take(2), 30)).toEqual({ kind: 'changing' })
    expect(subject.ask(b, take(2), 30, { slot: 'web.1' as SlotKey })).toEqual({ kind: 'changing' })
    expect(subject.ask(b, loosen, 30, { slot: 'web.1' as SlotKey, term: 2 })).toEqual({ kind: 'changing' })
  })

  it('that has accepted a successor grants nothing at all', () => {
    const subject = new Subject()
    subject.ask(a, take(1))
    subject.hear(b, { kind: 'prepare', epoch: 1, ballot }, 10)
    subject.hear(b, { kind: 'accept', epoch: 1, ballot, value: next }, 20)
    expect(subject.ask(a, renew(1), 30)).toEqual({ kind: 'changing' })
  })

  it('promises a higher ballot what it has accepted, and refuses a lower one', () => {
    const subject = new Subject()
    subject.hear(a, { kind: 'accept', epoch: 1, ballot: { round: 2, node: a }, value: next }, 0)
    expect(subject.hear(b, { kind: 'prepare', epoch: 1, ballot }, 1)).toMatchObject([{ kind: 'refuse' }])
    expect(subject.hear(b, { kind: 'accept', epoch: 1, ballot, value: epoch }, 1)).toMatchObject([
      { kind: 'refuse' },
    ])
    const higher = { round: 2, node: b }
    expect(subject.hear(b, { kind: 'prepare', epoch: 1, ballot: higher }, 2)).toMatchObject([
      { kind: 'promise', accepted: { ballot: { round: 2, node: a }, value: next } },
    ])
  })

  it('of a new epoch is bound to the holders of the one before, also where it is not clear which one it is', () => {
    const subject = new Subject()
    const held = [
      { slot, holders: [a, b], fence: 7, life: 0 },
      { slot: 'web.1' as SlotKey, holders: [a], fence: 5, life: 1 },
    ]
    subject.voter = learnEpoch(subject.voter, { ...next, held, fence: 7 }, 1_000)
    expect(subject.ask(v, look, 1_000)).toMatchObject({ kind: 'held', by: [a, b] })
    expect(subject.ask(a, take(8), 1_000)).toMatchObject({ kind: 'held' })
    // Only a lease that is still valid is renewed, and of two only one can be.
    expect(subject.ask(b, renew(6), 1_000)).toEqual({ kind: 'granted', fence: 6 })
    expect(subject.ask(a, renew(7), 1_000)).toMatchObject({ kind: 'held', by: [b] })
    expect(subject.ask(b, take(6), 1_000, { slot: 'web.1' as SlotKey })).toMatchObject({
      kind: 'held',
      by: [a],
    })
    expect(subject.ask(b, take(7), 1_000 + times.holdMs, { slot: 'web.1' as SlotKey })).toMatchObject({
      kind: 'stale',
    })
    expect(subject.ask(b, take(8), 1_000 + times.holdMs, { slot: 'web.1' as SlotKey })).toMatchObject({
      kind: 'granted',
    })
  })

  it('with another disk has no vote', () => {
    const lost = startVoter(v, freshDurable('e', epoch), noneKept, 0, times)
    const ask = { kind: 'ask', epoch: 1, slot, life: 1, askedAtMs: 0, term: 1, intent: look } as const
    expect(voterStep(lost, a, ask, 0).messages).toEqual([])
  })

  it('remembers that a slot was loosened, until somebody who knows that tightens it', () => {
    const subject = new Subject()
    subject.ask(a, take(1))
    expect(subject.ask(b, loosen, 10, { term: 2 })).toMatchObject({ kind: 'held' })
    expect(subject.ask(a, loosen, 10, { term: 2 })).toEqual({ kind: 'loosened' })
    subject.voter = startVoter(v, subject.voter.durable, undefined, 0, times)
    const nowMs = times.silenceMs
    expect(subject.ask(a, take(9), nowMs, { term: 1 })).toEqual({ kind: 'outdated' })
    expect(subject.ask(b, loosen, nowMs, { term: 2 })).toEqual({ kind: 'loosened' })
    expect(subject.ask(a, take(9), nowMs, { term: 3 })).toEqual({ kind: 'granted', fence: 9 })
    expect(subject.ask(b, loosen, nowMs, { term: 2 })).toMatchObject({ kind: 'held' })
  })

  it('refuses what it could not remember', () => {
    const subject = new Subject()
    for (let index = 0; index < leasedSlotsMax; index += 1)
      subject.ask(a, take(1), 0, { slot: `web.${index}` as SlotKey })
    expect(subject.ask(a, take(1))).toEqual({ kind: 'full' })
    expect(subject.ask(a, take(2), times.holdMs)).toEqual({ kind: 'full' })
  })
})
