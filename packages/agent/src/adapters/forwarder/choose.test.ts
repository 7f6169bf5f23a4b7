import { describe, expect, it } from 'vitest'
import { drawn } from './choose.ts'

describe('who is asked', () => {
  it('each is as likely to be first', () => {
    const counts = new Map<string, number>()
    for (let turn = 0; turn < 300; turn += 1) {
      const [first = ''] = drawn(['a', 'b', 'c'], 1, () => (turn % 300) / 300)
      counts.set(first, (counts.get(first) ?? 0) + 1)
    }
    expect([...counts.values()]).toEqual([100, 100, 100])
  })

  it('nobody is asked twice, and no more than there are', () => {
    expect([...drawn(['a', 'b', 'c'], 9, Math.random)].sort()).toEqual(['a', 'b', 'c'])
    expect(drawn(['a', 'b', 'c'], 2, Math.random)).toHaveLength(2)
    expect(drawn([], 2, Math.random)).toEqual([])
  })
})
