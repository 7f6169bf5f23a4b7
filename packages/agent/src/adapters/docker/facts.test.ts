import { expect, test } from 'vitest'
import { genericResources, startTimeTicks } from './facts.ts'

test('the start time is found behind a process name that looks like fields', () => {
  const fields = Array.from({ length: 48 }, (_, index) => String(index + 4))
  expect(startTimeTicks(`1 (sh) -c ) 9) S ${fields.join(' ')}`)).toBe('22')
})

test('named resources of one kind come together, counts are added', () => {
  expect(
    genericResources([
      { NamedResourceSpec: { Kind: 'gpu', Value: 'a' } },
      { DiscreteResourceSpec: { Kind: 'ssd', Value: 3 } },
      { NamedResourceSpec: { Kind: 'gpu', Value: 'b' } },
    ]),
  ).toEqual([
    { kind: 'gpu', value: ['a', 'b'] },
    { kind: 'ssd', value: 3 },
  ])
})
