import { expect, test } from 'vitest'
import { Allowance } from './allowance.ts'

function taken(allowance: Allowance, tries: number, nowMs: number): number {
  return Array.from({ length: tries }, () => allowance.take(nowMs)).filter(Boolean).length
}

test('a second’s worth at once, then as much as time brings', () => {
  const allowance = new Allowance(50)
  expect(taken(allowance, 100, 1_000)).toBe(50)
  expect(taken(allowance, 100, 1_100)).toBe(5)
  expect(taken(allowance, 100, 1_110)).toBe(0)
  expect(taken(allowance, 100, 1_120)).toBe(1)
})

test('what was not used is not saved for more than a second', () => {
  const allowance = new Allowance(50)
  expect(taken(allowance, 1, 0)).toBe(1)
  expect(taken(allowance, 200, 60_000)).toBe(50)
})

test('asked often, it lets through exactly as many as asked seldom', () => {
  const allowance = new Allowance(50)
  let count = 0
  for (let nowMs = 0; nowMs < 10_000; nowMs += 1) count += taken(allowance, 3, nowMs)
  expect(count).toBeGreaterThanOrEqual(545)
  expect(count).toBeLessThanOrEqual(550)
})
