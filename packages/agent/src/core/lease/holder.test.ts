import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { founderEpoch } from './epoch.ts'
import { explainLease, leaseStatus } from './lease-status.ts'
import { type LeaseInput, type LeaseMember, leaseStep, nextLeaseAtMs, startMember } from './member.ts'
import type { Envelope, Intent, LeaseMessage, Seat, SlotKey, Verdict } from './messages.ts'
import { times } from './testing/chaos.ts'
import { freshDurable, noneKept } from './voter.ts'

const self = 'h' as NodeId
const voters = ['x', 'y', 'z'].map((name): Seat => ({ node: name as NodeId, disk: name }))
const epoch = { ...founderEpoch(voters[0]!), voters, number: 5 }
const slot = 'db.1' as SlotKey

/** A holder whose voters a test plays. */
class Subject {
  member: LeaseMember = startMember(
    { self, durable: freshDurable('h', epoch), kept: noneKept, life: 3, times },
    0,
  )
  sent: readonly Envelope[] = []

  input(input: LeaseInput, nowMs: number): this {
    const { member, messages } = leaseStep(this.member, input, nowMs, 0)
    this.member = member
    this.sent = messages
    return this
  }

  want(nowMs: number): this {
    return this.input({ kind: 'want', slot, wanted: { term: 1, as: 'exclusive' } }, nowMs)
  }

  tick(nowMs: number): this {
    return this.input({ kind: 'tick' }, nowMs)
  }

  hear(from: string, verdict: Verdict, askedAtMs: number, nowMs: number, life = 3): this {
    const message = { kind: 'answer', epoch: epoch.number, slot, life, askedAtMs, verdict } as const
    return this.input({ kind: 'message', from: from as NodeId, message }, nowMs)
  }

  /** A lease that counts from `nowMs`. */
  held(nowMs: number): this {
    this.want(nowMs).hear('x', free, nowMs, nowMs).hear('y', free, nowMs, nowMs)
    return this.hear('x', granted, nowMs, nowMs).hear('y', granted, nowMs, nowMs)
  }

  get intents(): readonly (Intent | LeaseMessage['kind'])[] {
    return this.sent.map(({ message }) => (message.kind === 'ask' ? message.intent : message.kind))
  }

  status(nowMs: number) {
    return leaseStatus(this.member, slot, nowMs)
  }
}

const free: Verdict = { kind: 'free', fence: 4 }
const granted: Verdict = { kind: 'granted', fence: 5 }
const three = <Value>(value: Value): readonly Value[] => [value, value, value]

describe('a holder', () => {
  it('looks, and takes what a majority says is free, with a fence above all that these have given', () => {
    const subject = new Subject().want(0)
    expect(subject.intents).toEqual(three({ kind: 'look' }))
    expect(subject.hear('x', { kind: 'free', fence: 2 }, 0, 5).intents).toEqual([])
    expect(subject.hear('y', free, 0, 6).intents).toEqual(three({ kind: 'take', fence: 5 }))
    expect(subject.hear('x', granted, 6, 8).status(8)).toEqual({ kind: 'waiting' })
    expect(subject.hear('z', granted, 6, 9).status(9)).toEqual({
      kind: 'held',
      fence: 5,
      deadlineMs: 6 + times.leaseMs,
    })
  })

  it('counts from when it asked for what the slower half of a majority granted', () => {
    const subject = new Subject().held(1_000)
    subject.tick(4_000)
    expect(subject.intents).toEqual(three({ kind: 'renew', fence: 5 }))
    subject.tick(4_500).hear('x', granted, 4_500, 4_510)
    expect(subject.status(4_510)).toMatchObject({ deadlineMs: 1_000 + times.leaseMs })
    subject.hear('z', granted, 4_000, 4_600)
    expect(subject.status(4_600)).toMatchObject({ deadlineMs: 4_000 + times.leaseMs })
  })

  it('counts nothing that an earlier process of its own has asked for', () => {
    const subject = new Subject().held(1_000).tick(4_000)
    subject.hear('x', granted, 4_000, 4_010, 2).hear('y', granted, 4_000, 4_010, 2)
    expect(subject.status(4_010)).toMatchObject({ deadlineMs: 1_000 + times.leaseMs })
  })

  it('has lost a lease at its deadline, even if a late answer would prolong it', () => {
    const subject = new Subject().held(0).tick(8_000)
    const late = times.leaseMs
    expect(subject.status(late)).toEqual({ kind: 'waiting' })
    subject.hear('x', granted, 8_000, late).hear('y', granted, 8_000, late).hear('z', granted, 8_000, late)
    expect(subject.status(late)).toEqual({ kind: 'waiting' })
  })

  it('asks for nothing, so that it gives nothing back, until the task of the lease that it has lost is gone', () => {
    const subject = new Subject().held(0)
    const goneAtMs = times.leaseMs + times.fadeMs
    expect(subject.tick(times.leaseMs).intents).toEqual([])
    expect(subject.tick(goneAtMs - 1).intents).toEqual([])
    expect(nextLeaseAtMs(subject.member)).toBe(goneAtMs)
    expect(subject.tick(goneAtMs).intents).toEqual(three({ kind: 'look' }))
  })

  it('never asks with the same fence again, whatever became of the first try', () => {
    const subject = new Subject().want(0).hear('x', free, 0, 1).hear('y', free, 0, 1)
    expect(subject.intents).toEqual(three({ kind: 'take', fence: 5 }))
    expect(subject.tick(1 + times.tryMs).intents).toEqual(three('release'))
    const againMs = 1 + times.tryMs + times.askIntervalMs
    subject.tick(againMs)
    expect(subject.intents).toEqual(three({ kind: 'look' }))
    subject.hear('x', free, againMs, againMs + 1).hear('y', free, againMs, againMs + 1)
    expect(subject.intents).toEqual(three({ kind: 'take', fence: 6 }))
    // An answer to the try that was given back.
    subject.hear('x', granted, 1, againMs + 2).hear('y', granted, 1, againMs + 2)
    expect(subject.status(againMs + 2)).toEqual({ kind: 'waiting' })
  })

  it('takes a higher fence at once where a voter has used its own up', () => {
    const subject = new Subject().want(0).hear('x', free, 0, 1).hear('y', free, 0, 1)
    expect(subject.hear('z', { kind: 'stale', fence: 90 }, 1, 2).intents).toEqual(
      three({ kind: 'take', fence: 91 }),
    )
  })

  it('says that it has given a slot back more than once, and then no more', () => {
    const subject = new Subject().held(0).input({ kind: 'drop', slot }, 100)
    expect(subject.intents).toEqual(three('release'))
    expect(subject.status(100)).toEqual({ kind: 'none' })
    for (const nowMs of [600, 1_100]) expect(subject.tick(nowMs).intents).toEqual(three('release'))
    expect(subject.tick(1_600).intents).toEqual([])
    expect(nextLeaseAtMs(subject.member)).toBe(Infinity)
  })

  it('goes on with the lease of a task that it finds running', () => {
    const adopted = {
      kind: 'adopt',
      slot,
      wanted: { term: 1, as: 'exclusive' },
      fence: 5,
      deadlineMs: 6_000,
    } as const
    const subject = new Subject().input(adopted, 1_000)
    expect(subject.status(1_000)).toEqual({ kind: 'held', fence: 5, deadlineMs: 6_000 })
    expect(subject.intents).toEqual(three({ kind: 'renew', fence: 5 }))
    subject.hear('x', granted, 1_000, 1_010).hear('z', granted, 1_000, 1_010)
    expect(subject.status(1_010)).toMatchObject({ deadlineMs: 1_000 + times.leaseMs })
  })

  it('explains what it waits for', () => {
    const nameOf = (node: NodeId): string => `host-${node}`
    const subject = new Subject().want(0)
    const why = (nowMs: number): string => explainLease(subject.member, slot, nameOf, nowMs)
    expect(why(7_000)).toBe(
      'db.1 is exclusive and needs the word of 2 of 3 voters; for 7 s no answer from host-x, host-y, host-z',
    )
    subject.hear('x', { kind: 'held', by: ['q' as NodeId], forMs: 8_200 }, 7_000, 7_001)
    subject.hear('y', { kind: 'silent', forMs: 500 }, 7_000, 7_001)
    expect(why(7_002)).toBe(
      'db.1 is exclusive and its lease is with host-q, for at most 9 s if it is not renewed; host-y has just started, and gives none for 1 s',
    )
    expect(explainLease(new Subject().held(0).member, slot, nameOf, 1)).toBe('')
  })
})
