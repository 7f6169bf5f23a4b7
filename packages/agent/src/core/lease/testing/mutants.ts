import type { LeaseMember } from '../member.ts'
import type { Durable } from '../voter.ts'
import type { ProfileName } from './chaos.ts'
import type { Tamper } from './host.ts'

function withVoter(member: LeaseMember, changed: Partial<LeaseMember['voter']>): LeaseMember {
  return { ...member, voter: { ...member.voter, ...changed } }
}

/** Takes these out of what a voter remembers while it answers asks. */
function forgetting(...names: readonly ('promised' | 'accepted')[]): NonNullable<Tamper['step']> {
  return (member, input, _localMs, next) => {
    if (input.kind !== 'message' || input.message.kind !== 'ask') return next(member)
    const { durable } = member.voter
    const kept = Object.fromEntries(names.flatMap((name) => (name in durable ? [[name, durable[name]]] : [])))
    const left = Object.fromEntries(Object.entries(durable).filter(([name]) => !(name in kept))) as unknown
    const { persist, ...effects } = next(withVoter(member, { durable: left as Durable }))
    const after = { ...effects.member.voter.durable, ...kept }
    return { ...effects, member: withVoter(effects.member, { durable: after }), persist: persist && after }
  }
}

/** A protocol with one rule less, and the kind of run in which that shows. */
export type Mutant = Tamper & { readonly shownBy: ProfileName }

/** The protocol without one of its rules each. */
export const mutants = {
  'a voter that has forgotten its grants is not silent': {
    shownBy: 'mixed',
    start: (member, localMs) => withVoter(member, { silentUntilMs: localMs }),
  },
  'a holder counts from when it was answered': {
    shownBy: 'slow',
    received: (message, localMs) =>
      message.kind === 'answer' ? { ...message, askedAtMs: localMs } : message,
  },
  'a voter holds no longer than a holder counts on it': {
    shownBy: 'slow',
    voterTimes: (times) => ({ ...times, holdMs: times.leaseMs }),
  },
  'a promise does not carry what was granted': {
    shownBy: 'voters',
    sent: (message) => (message.kind === 'promise' ? { ...message, held: [] } : message),
  },
  'fences are not on the disk': {
    shownBy: 'mixed',
    disk: (durable) => ({ ...durable, fence: durable.epoch.fence }),
  },
  'a promise does not carry the fences': {
    shownBy: 'mixed',
    sent: (message) => (message.kind === 'promise' ? { ...message, fence: 0 } : message),
  },
  'promises and acceptances are not on the disk': {
    shownBy: 'voters',
    disk: ({ promised: _promised, accepted: _accepted, ...durable }) => durable,
  },
  'what was loosened is not on the disk': {
    shownBy: 'voters',
    disk: (durable) => ({ ...durable, loosened: new Map() }),
  },
  'a promise does not carry what was loosened': {
    shownBy: 'voters',
    sent: (message) => (message.kind === 'promise' ? { ...message, loosened: [] } : message),
  },
  'a silent voter promises': {
    shownBy: 'mixed',
    step: (member, input, localMs, next) =>
      input.kind === 'message' && input.message.kind === 'prepare'
        ? next(withVoter(member, { silentUntilMs: localMs }))
        : next(member),
  },
  'a voter that has promised or accepted grants as before': {
    shownBy: 'voters',
    step: forgetting('promised', 'accepted'),
  },
  'a node whose lease file is lost still votes': {
    shownBy: 'mixed',
    newDisk: (before) => before,
  },
} satisfies Readonly<Record<string, Mutant>>
