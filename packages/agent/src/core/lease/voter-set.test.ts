import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import { forcedEpoch, founderEpoch, generationOf } from './epoch.ts'
import type { Epoch, Seat } from './messages.ts'
import { times } from './testing/chaos.ts'
import { type VoterCandidate, voterChange, voterHealth, votersFor } from './voter-set.ts'
import { freshDurable, learnEpoch, noneKept, startVoter } from './voter.ts'

const seat = (name: string): Seat => ({ node: name as NodeId, disk: `${name}-disk` })

function epochOf(...names: readonly string[]): Epoch {
  return { ...founderEpoch(seat('a')), voters: names.map(seat) }
}

/** `a b c- d+`: a and b up for long, c away for long, d has just come; `e/x`: with another disk. */
function members(words: string): readonly VoterCandidate[] {
  return words.split(' ').map((word) => {
    const [, name = '', mark = '', disk] = /^(\w+)([-+~?]?)(?:\/(\w+))?$/.exec(word) ?? []
    return {
      node: name as NodeId,
      disk: mark === '?' ? undefined : (disk ?? `${name}-disk`),
      isUp: mark !== '-' && mark !== '~',
      forMs: mark === '+' || mark === '~' ? 1_000 : 10 * 60_000,
      isActive: true,
    }
  })
}

/** Of the voter whose turn it is first. */
function change(epoch: Epoch, words: string): string | undefined {
  const all = members(words)
  const changes = all.flatMap(({ node }) => voterChange(epoch, all, node, defaults) ?? [])
  const first = changes.find(({ afterMs }) => afterMs === 0)
  return first?.voters
    .map(({ node }) => node)
    .toSorted()
    .join(' ')
}

describe('who votes', () => {
  it('is one of one or two members, three of three or four, five of five and more', () => {
    expect([1, 2, 3, 4, 5, 6, 1_000].map(votersFor)).toEqual([1, 1, 3, 3, 5, 5, 5])
  })

  it.for<readonly [string, readonly string[], string, string | undefined]>([
    ['the founder alone for as long as it has one companion', ['a'], 'a b', undefined],
    ['three when the third has been there for a while', ['a'], 'a b c', 'a b c'],
    ['still one when the third has only just come', ['a'], 'a b c+', undefined],
    ['five of five', ['a', 'b', 'c'], 'a b c d e', 'a b c d e'],
    ['a spare instead of one that is away for long', ['a', 'b', 'c'], 'a b c- d', 'a b d'],
    ['nobody else for one that has just gone', ['a', 'b', 'c'], 'a b c~ d', undefined],
    ['nobody else where there is no spare', ['a', 'b', 'c'], 'a b c-', undefined],
    ['a spare instead of one that was removed', ['a', 'b', 'c'], 'a b d', 'a b d'],
    ['one of two that are left', ['a', 'b', 'c'], 'a b', 'a'],
    ['the same host with its new disk', ['a', 'b', 'c'], 'a b c/new', 'a b c'],
    ['nobody without a lease file', ['a'], 'a b c?', undefined],
    ['nobody by itself when a majority is away', ['a', 'b', 'c'], 'a b- c- d e', undefined],
  ])('%s', ([, voters, words, expected]) => {
    const epoch = epochOf(...voters)
    expect(change(epoch, words)).toBe(expected)
  })

  it('is proposed by the voters in turn, and by nobody else', () => {
    const all = members('a b c- d')
    const turns = all.map(({ node }) => voterChange(epochOf('a', 'b', 'c'), all, node, defaults)?.afterMs)
    expect(new Set(turns.slice(0, 2))).toEqual(new Set([0, defaults.voterTurnMs]))
    expect(turns.slice(2)).toEqual([undefined, undefined])
  })

  it('is told to people, and what to do when a majority is lost', () => {
    const nameOf = (node: NodeId): string => `host-${node}`
    const health = (words: string) => voterHealth(epochOf('a', 'b', 'c'), members(words), nameOf)
    expect(health('a b c')).toEqual({ kind: 'well', message: '3 of 3 voters for exclusive services answer' })
    expect(health('a b c~')).toMatchObject({
      kind: 'weak',
      message: expect.stringContaining('missing: host-c'),
    })
    expect(health('a b- c-')).toMatchObject({
      kind: 'lost',
      message: expect.stringMatching(/no majority; missing: host-b, host-c.*surely off/),
    })
  })
})

describe('voters named by force', () => {
  const known = { ...epochOf('a', 'b', 'c'), number: 17, fence: 9_000 }
  const forced = forcedEpoch(known, [seat('d')], 'd' as NodeId)

  it('come after all that the lost ones can still decide, with higher fences', () => {
    expect(forced.number).toBeGreaterThan(known.number + 1_000_000)
    expect(forced.fence).toBeGreaterThan(known.fence + 1_000_000)
    const again = forcedEpoch({ ...forced, number: forced.number + 3 }, [seat('a')], 'a' as NodeId)
    expect(generationOf(again)).toBe(2)
    expect(again.fence).toBeGreaterThan(forced.fence)
  })

  it('are not taken for the same where two people do it apart from each other', () => {
    expect(forcedEpoch(known, [seat('a')], 'a' as NodeId).number).not.toBe(forced.number)
  })

  it('wait for the leases that they know nothing of', () => {
    const voter = startVoter('d' as NodeId, freshDurable('d-disk', known), noneKept, 0, times)
    expect(learnEpoch(voter, forced, 1_000).silentUntilMs).toBe(1_000 + times.silenceMs)
    expect(learnEpoch(voter, { ...known, number: 18 }, 1_000).silentUntilMs).toBe(1_000)
  })
})
