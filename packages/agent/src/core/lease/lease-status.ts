import type { NodeId } from '@moot/crdt-state'
import { majorityOf } from './epoch.ts'
import type { SlotState } from './holder.ts'
import type { LeaseMember } from './member.ts'
import type { SlotKey } from './messages.ts'

/** What a node may do with a slot now. */
export type LeaseStatus =
  | { readonly kind: 'none' }
  | { readonly kind: 'waiting' }
  /** The watchdog has to know the deadline before the task starts, and each later one in time. */
  | { readonly kind: 'held'; readonly fence: number; readonly deadlineMs: number }
  /** It may run without a lease, and the fact that it may is to be written beside the spec. */
  | { readonly kind: 'loosened'; readonly term: number }

/** @param nowMs a lease whose deadline is there is none, whether a tick has said so or not. */
export function leaseStatus({ holder }: LeaseMember, slot: SlotKey, nowMs: number): LeaseStatus {
  const state = holder.slots.get(slot)
  if (state === undefined || state.kind === 'releasing') return { kind: 'none' }
  if (state.kind === 'loosened') return { kind: 'loosened', term: state.wanted.term }
  if (state.kind !== 'held' || state.deadlineMs <= nowMs) return { kind: 'waiting' }
  return { kind: 'held', fence: state.fence, deadlineMs: state.deadlineMs }
}

type Waiting = Extract<SlotState, { readonly kind: 'looking' | 'taking' }>

/** Why a slot's task is pending, for people: in one line. '' where the lease is not what it waits for. */
export function explainLease(
  { holder, times }: LeaseMember,
  slot: SlotKey,
  nameOf: (node: NodeId) => string,
  nowMs: number,
): string {
  const state = holder.slots.get(slot)
  if (state?.kind !== 'looking' && state?.kind !== 'taking') return ''
  const { voters } = holder.epoch
  if (voters.length === 0) return `${slot} is exclusive, and this node has not heard yet who gives leases`
  const isFresh = ({ askedAtMs }: { readonly askedAtMs: number }): boolean =>
    askedAtMs > nowMs - 3 * times.tryMs
  const words = new Map([...state.words].filter(([, word]) => isFresh(word)))
  const silent = voters.filter(({ node }) => !words.has(node)).map(({ node }) => nameOf(node))
  if (words.size < majorityOf(holder.epoch)) {
    const sinceS = Math.round((nowMs - state.sinceMs) / 1_000)
    return `${slot} is exclusive and needs the word of ${majorityOf(holder.epoch)} of ${voters.length} voters; for ${sinceS} s no answer from ${silent.sort().join(', ')}`
  }
  return `${slot} is exclusive and ${obstacle(words, nameOf)}`
}

function obstacle(words: Waiting['words'], nameOf: (node: NodeId) => string): string {
  const holders = new Map<NodeId, number>()
  const reasons: string[] = []
  for (const [voter, { verdict }] of words) {
    if (verdict.kind === 'held')
      for (const node of verdict.by) holders.set(node, Math.max(holders.get(node) ?? 0, verdict.forMs))
    else if (verdict.kind === 'silent')
      reasons.push(`${nameOf(voter)} has just started, and gives none for ${seconds(verdict.forMs)}`)
    else if (verdict.kind === 'changing') reasons.push(`who votes is being changed`)
    else if (verdict.kind === 'outdated')
      reasons.push(`was made available by a change that this node has not heard of yet`)
    else if (verdict.kind === 'full') reasons.push(`the voters have as many leases as they can remember`)
  }
  const held = [...holders].map(
    ([node, forMs]) =>
      `its lease is with ${nameOf(node)}, for at most ${seconds(forMs)} if it is not renewed`,
  )
  return [...new Set([...held, ...reasons.sort()])].join('; ') || 'its lease is being asked for'
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1_000)} s`
}
