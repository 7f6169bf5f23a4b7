import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextRoundStep, type OtherEnd, type OwnEnd, withKey } from './key-rounds.ts'
import { laneOf, sealOf } from './seals.ts'

const settings = { wireGuardRoundMs: 1_000, wireGuardPatienceMs: 100 }

const own = (rounds: readonly number[], uses?: number, ageMs = 0): OwnEnd => ({
  keys: rounds.map((round) => ({ round, key: `own${round}`, ageMs })),
  uses,
})
const other = (
  rounds: readonly number[],
  uses?: number,
  liveness: OtherEnd['liveness'] = 'alive',
): OtherEnd => ({
  liveness,
  end: {
    keys: rounds.map((round) => ({ round, key: `other${round}` })),
    ...(uses !== undefined && { uses }),
  },
})
const next = (mine: OwnEnd, ...others: readonly OtherEnd[]): unknown => nextRoundStep(mine, others, settings)

describe('the next step of a change of keys', () => {
  test('a node without a key makes one, of the round in which the others are', () => {
    expect(next(own([]))).toEqual({ kind: 'make', round: 0 })
    expect(next(own([]), other([7], 7))).toEqual({ kind: 'make', round: 7 })
    expect(next(own([]), other([7], 7, 'down'))).toEqual({ kind: 'make', round: 0 })
  })

  test('a node alone uses its key at once', () => {
    expect(next(own([0]))).toEqual({ kind: 'use', round: 0 })
  })

  test('whoever’s key is due first begins the next round, once the last one is over for all that live', () => {
    const due = own([4], 4, 1_000)
    expect(next(own([4], 4, 999), other([4], 4))).toBeUndefined()
    expect(next(due, other([4], 4))).toEqual({ kind: 'make', round: 5 })
    expect(next(due, other([3, 4], 4))).toBeUndefined()
    expect(next(due, other([4]))).toBeUndefined()
    expect(next(due, other([3], 3, 'down'))).toEqual({ kind: 'make', round: 5 })
  })

  test('the others follow it', () => {
    expect(next(own([4], 4), other([4, 5], 4))).toEqual({ kind: 'make', round: 5 })
  })

  test('a new key is used when all have one of its round; a host whose agent is down is waited for, not for ever', () => {
    expect(next(own([4, 5], 4), other([4, 5], 4), other([4], 4))).toBeUndefined()
    expect(next(own([4, 5], 4), other([4, 5], 4), other([4], 4, 'agent-down'))).toBeUndefined()
    expect(next(own([4, 5], 4), other([4, 5], 4), other([4], 4, 'down'))).toEqual({ kind: 'use', round: 5 })
    expect(next(own([4, 5], 4, 100), other([4], 4, 'agent-down'))).toEqual({ kind: 'use', round: 5 })
  })

  test('the older key goes when nobody sends by it any more', () => {
    expect(next(own([4, 5], 5), other([4, 5], 4))).toBeUndefined()
    expect(next(own([4, 5], 5, 9_999), other([4], 4, 'agent-down'))).toBeUndefined()
    expect(next(own([4, 5], 5), other([4, 5], 5))).toEqual({ kind: 'drop', round: 4 })
    expect(next(own([4, 5], 5), other([5], 5))).toEqual({ kind: 'drop', round: 4 })
  })

  test('a node that was away for several rounds uses what is left of its keys, and never none again', () => {
    const made = { round: 6, key: 'new', ageMs: 0 }
    expect(withKey(own([4], 4), made)).toEqual({ keys: [made], uses: 6 })
    expect(withKey(own([3, 4], 3), { ...made, round: 5 })).toMatchObject({ uses: 4 })
    expect(withKey(own([]), made)).toEqual({ keys: [made], uses: undefined })
  })
})

/** Nodes that hear of each other late and in any order. */
interface Node {
  end: OwnEnd
  /** What the others have of each other node's record. */
  readonly heard: (OwnEnd | undefined)[]
}

/** Rounds of keys by which something was sent. */
const seen = new Set<number>()

test('whatever is heard when, what is sent is understood: the one sends by a key that the other has, and knows', () => {
  const turn = fc.record({ at: fc.nat(2), hears: fc.subarray([0, 1, 2]), steps: fc.boolean() })
  fc.assert(
    fc.property(fc.array(turn, { minLength: 120, maxLength: 160 }), (turns) => {
      const nodes: Node[] = [0, 1, 2].map(() => ({ end: own([]), heard: [undefined, undefined, undefined] }))
      for (const { at, hears, steps } of turns) {
        for (const of of hears) nodes[at]!.heard[of] = nodes[of]!.end
        if (steps) act(nodes, at)
        for (const [from, one] of nodes.entries()) {
          for (const [to, two] of nodes.entries()) if (from !== to) understood(from, one, to, two)
        }
      }
    }),
    { numRuns: 100 },
  )
  expect(Math.max(...seen)).toBeGreaterThan(2)
})

function act(nodes: readonly Node[], at: number): void {
  const node = nodes[at]!
  const others = node.heard.flatMap((end, of) =>
    of === at || end === undefined ? [] : [{ liveness: 'alive' as const, end: endOf(end) }],
  )
  const step = nextRoundStep(node.end, others, { wireGuardRoundMs: 0, wireGuardPatienceMs: Infinity })
  if (step === undefined) return
  const { keys } = node.end
  if (step.kind === 'make')
    node.end = withKey(node.end, { round: step.round, key: `${at} ${step.round}`, ageMs: 0 })
  else if (step.kind === 'drop')
    node.end = { ...node.end, keys: keys.filter(({ round }) => round !== step.round) }
  else {
    // All have been told, and have said so.
    for (const [of, other] of nodes.entries()) if (of !== at) other.heard[at] = node.end
    node.end = { ...node.end, uses: step.round }
  }
}

function endOf({ keys, uses }: OwnEnd): OtherEnd['end'] {
  return { keys: keys.map(({ round, key }) => ({ round, key })), ...(uses !== undefined && { uses }) }
}

function understood(from: number, one: Node, to: number, two: Node): void {
  const peer = one.heard[to]
  const heard = two.heard[from]
  const sends = peer && sealOf(endOf(one.end), endOf(peer))?.sends
  const isStrict = heard !== undefined && sealOf(endOf(two.end), endOf(heard))?.isStrict === true
  expect(isStrict && sends?.kind !== 'sealed').toBe(false)
  if (peer === undefined) return
  if (sends?.kind !== 'sealed' || two.end.uses === undefined) return
  const mine = one.end.keys.find(({ round }) => round === sends.round)?.key
  expect(two.end.keys).toContainEqual(peer.keys.find(({ round }) => round === sends.round))
  expect(heard?.keys.find(({ round }) => round === sends.round)?.key).toBe(mine)
  seen.add(sends.round)
  expect(new Set(two.end.keys.map(({ round }) => laneOf(round))).size).toBe(two.end.keys.length)
}
