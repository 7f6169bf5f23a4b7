import type { ServiceId, SlotId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { assumedRuns, assumes } from './assumed.ts'

const web = 'web' as ServiceId
const at = (slot: number, attempt = 1): { slot: number; attempt: number } => ({ slot, attempt })

test('neighbours of one attempt are one entry', () => {
  const runs = assumedRuns(web, [at(1), at(2), at(3), at(5), at(6, 2), at(7, 2), at(9)])
  expect(runs).toEqual(['web.1-3@1', 'web.5@1', 'web.6-7@2', 'web.9@1'])
  expect(assumedRuns(web, [])).toEqual([])
})

test('a list assumes the slots of its runs, at their attempt, and no others', () => {
  const runs = assumedRuns(web, [at(1), at(2), at(3), at(6, 2)])
  expect([0, 1, 2, 3, 4, 6].map((slot) => assumes(runs, at(slot)))).toEqual([
    false,
    true,
    true,
    true,
    false,
    false,
  ])
  expect(assumes(runs, at(6, 2))).toBe(true)
  expect(assumes(undefined, at(1))).toBe(false)
})

test('a plain slot id stands for any attempt, and nonsense for nothing', () => {
  expect(assumes(['web.4' as SlotId], at(4, 9))).toBe(true)
  expect(assumes(['web' as SlotId, 'web.x' as SlotId, '' as SlotId], at(4))).toBe(false)
})
