import { describe, expect, test } from 'vitest'
import { hashText } from '../hash.ts'
import { maxWeight, pointsOf, rendezvous } from './hash.ts'
import { shareWeight } from './weight.ts'

const slots = Array.from({ length: 40_000 }, (_, index) => hashText(`service${index % 400}.${index}`))

/** How many of the slots each of these weights wins. */
function wins(weights: readonly number[], name: (index: number) => string): number[] {
  const points = weights.map((_, index) => pointsOf(name(index)))
  const won = weights.map(() => 0)
  for (const slot of slots) {
    const scores = weights.map((weight, index) => rendezvous(slot, points[index]!, weight))
    const winner = scores.indexOf(Math.max(...scores))
    won[winner]! += 1
  }
  return won
}

describe('weighted rendezvous hashing', () => {
  test('the hash is the same on every machine', () => {
    expect([hashText(''), hashText('a'), hashText('node-1')]).toMatchInlineSnapshot(`
      [
        2872998923,
        444641715,
        2865264164,
      ]
    `)
    expect(rendezvous(hashText('web.1'), pointsOf('node-1'), maxWeight)).toMatchInlineSnapshot(`3984269924`)
  })

  test('nodes of one weight win equally often, to 5 %', () => {
    for (const count of won(
      wins(Array<number>(8).fill(maxWeight), (index) => `node-${index}`),
      8,
    )) {
      expect(Math.abs(count - 1)).toBeLessThan(0.05)
    }
  })

  test('a node wins in proportion to its weight, to 5 %', () => {
    const weights = [16, 8, 4, 2, 1, 1]
    const shares = wins(weights, (index) => `host${index}`).map(
      (count, index) => (count / slots.length) * (32 / weights[index]!),
    )
    for (const share of shares) expect(Math.abs(share - 1)).toBeLessThan(0.12)
  })

  test('more load never raises a score', () => {
    const points = pointsOf('node-1')
    for (const slot of slots.slice(0, 500)) {
      const scores = Array.from({ length: maxWeight }, (_, index) => rendezvous(slot, points, index + 1))
      expect(scores).toEqual(scores.toSorted((a, b) => a - b))
    }
  })

  test('a node that leaves gives its slots to the others and moves none of theirs', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((name) => pointsOf(name))
    const winner = (slot: number, among: readonly Uint32Array[]): Uint32Array =>
      among.reduce((best, points) =>
        rendezvous(slot, points, 9) > rendezvous(slot, best, 9) ? points : best,
      )
    const moved = slots.filter((slot) => {
      const before = winner(slot, nodes)
      return before !== nodes[3] && before !== winner(slot, nodes.slice(0, 3))
    })
    expect(moved).toEqual([])
  })
})

function won(counts: readonly number[], nodes: number): number[] {
  return counts.map((count) => (count * nodes) / slots.length)
}

describe('the weight of a free share', () => {
  test('goes from 1 for nothing to 16 for all, in equal steps', () => {
    expect([0, 1, 2, 8, 15, 16].map((free) => shareWeight(free, 16))).toEqual([1, 1, 2, 8, 15, 16])
  })

  test('is exact for sizes near 2^50 and for every remainder', () => {
    const capacity = 2 ** 49 + 1
    for (let step = 0; step < 15; step += 1) {
      const least = Number((BigInt(capacity) * BigInt(step) + 14n) / 15n)
      expect(shareWeight(least, capacity)).toBe(step + 1)
      expect(shareWeight(least - 1, capacity)).toBe(Math.max(1, step))
    }
  })

  test('is 1 where there is nothing or less', () => {
    expect([shareWeight(-5, 10), shareWeight(0, 0), shareWeight(5, 0)]).toEqual([1, 1, 1])
  })
})
