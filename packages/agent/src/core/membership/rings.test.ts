import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { observersOf, ringsOf, targetsOf } from './rings.ts'

const members = (count: number): NodeId[] =>
  Array.from({ length: count }, (_, index) => `node-${index}` as NodeId)

describe('rings', () => {
  it('with k + 1 members or fewer everybody watches everybody', () => {
    for (const count of [1, 2, 3, 5]) {
      const all = members(count)
      for (const target of all) {
        expect([...observersOf(target, all, 4)].sort()).toEqual(all.filter((one) => one !== target).sort())
        expect([...targetsOf(target, all, 4)].sort()).toEqual(all.filter((one) => one !== target).sort())
      }
    }
  })

  it('each node has k distinct observers, and nobody watches itself', () => {
    for (const count of [6, 7, 20, 100]) {
      const { observers } = ringsOf(members(count), 4)
      for (const [target, watching] of observers) {
        expect(new Set(watching).size).toBe(4)
        expect(watching).not.toContain(target)
      }
    }
  })

  it('targets are the inverse of observers, and no node watches much more than its share', () => {
    const { observers, targets } = ringsOf(members(200), 4)
    for (const [observer, watched] of targets) {
      for (const target of watched) expect(observers.get(target)).toContain(observer)
      expect(watched.length).toBeLessThanOrEqual(8)
    }
    expect([...targets.values()].reduce((sum, watched) => sum + watched.length, 0)).toBe(800)
  })

  it('is a function of the set of members, not of their order', () => {
    const all = members(30)
    for (const target of all) {
      expect(observersOf(target, all.toReversed(), 4)).toEqual(observersOf(target, all, 4))
    }
  })

  it('one member less changes few observers', () => {
    const all = members(100)
    const without = all.filter((one) => one !== 'node-50')
    const moved = without.filter((target) => {
      const before = new Set(observersOf(target, all, 4))
      return observersOf(target, without, 4).some((observer) => !before.has(observer))
    })
    expect(moved.length).toBeLessThanOrEqual(8)
  })
})
