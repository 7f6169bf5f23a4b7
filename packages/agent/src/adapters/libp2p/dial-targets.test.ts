import { expect, test } from 'vitest'
import type { NodeId } from '@moot/crdt-state'
import { dialTargets } from './dial-targets.ts'

const nodes = (count: number): NodeId[] =>
  Array.from({ length: count }, (_, index) => `node-${String(index).padStart(4, '0')}` as NodeId)

test('in a small mesh every other member is dialled', () => {
  const [self, ...others] = nodes(33)
  expect([...dialTargets(self!, others, 32, 16)].sort()).toEqual(others)
})

test.each([34, 40, 300])(
  'of %i members few are wanted, from both ends, and reach everybody in few steps',
  (count) => {
    const all = nodes(count)
    const targets = new Map(all.map((self) => [self, dialTargets(self, all, 32, 16)]))
    for (const [self, wanted] of targets) {
      expect(wanted.size).toBe(16)
      expect(wanted.has(self)).toBe(false)
      for (const other of wanted) expect(targets.get(other)?.has(self)).toBe(true)
    }
    const reached = new Set<NodeId>([all[0]!])
    let steps = 0
    while (reached.size < all.length && steps < 10) {
      steps += 1
      for (const node of Array.from(reached)) for (const next of targets.get(node) ?? []) reached.add(next)
    }
    expect(reached.size).toBe(count)
    expect(steps).toBeLessThanOrEqual(5)
  },
)
