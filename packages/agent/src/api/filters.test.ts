import { expect, test } from 'vitest'
import { booleanFilter, readFilters } from './filters.ts'
import { resolve } from './resolve.ts'

const read = (filters: unknown) =>
  readFilters(new URLSearchParams({ filters: JSON.stringify(filters) }), ['name', 'label', 'on'])

test('the list and the older map form say the same', () => {
  expect(read({ name: ['web', 'db'] }).values('name')).toEqual(['web', 'db'])
  expect(read({ name: { web: true, old: false, db: true } }).values('name')).toEqual(['web', 'db'])
})

test('names match by prefix, and any of several is enough', () => {
  const filters = read({ name: ['we', 'x'] })
  expect(filters.prefix('name', 'web')).toBe(true)
  expect(filters.prefix('name', 'other')).toBe(false)
  expect(filters.prefix('label', 'anything')).toBe(true)
})

test('every label that is asked for must be there', () => {
  const filters = read({ label: ['a', 'b=2'] })
  expect(filters.labels('label', { a: '1', b: '2' })).toBe(true)
  expect(filters.labels('label', { a: '1', b: '3' })).toBe(false)
  expect(filters.labels('label', { b: '2' })).toBe(false)
})

test('a filter that nobody knows is refused by its name', () => {
  expect(() => read({ nonsense: ['1'] })).toThrow("invalid filter 'nonsense'")
})

test.each(['[]', '{"name":1}', '{"name":[1]}', 'no json', '"text"'])('filters %s are refused', (text) => {
  expect(() => readFilters(new URLSearchParams({ filters: text }), ['name'])).toThrow(/invalid filter/)
})

test('a boolean filter reads what Go reads', () => {
  expect(booleanFilter(read({ on: ['1'] }), 'on')).toBe(true)
  expect(booleanFilter(read({ on: ['false'] }), 'on')).toBe(false)
  expect(booleanFilter(read({}), 'on')).toBeUndefined()
  expect(() => booleanFilter(read({ on: ['maybe'] }), 'on')).toThrow(/invalid filter/)
})

const things = [
  { id: 'abc1', name: 'web' },
  { id: 'abc2', name: 'db' },
  { id: 'web9', name: 'abc1' },
]
const find = (reference: string) =>
  resolve(
    'service',
    reference,
    things,
    ({ id }) => id,
    ({ name }) => name,
  )

test('a reference is a full id first, then a name, then the only id that begins so', () => {
  expect(find('abc1')).toBe(things[0])
  expect(find('web')).toBe(things[0])
  expect(find('web9')).toBe(things[2])
  expect(find('we')).toBe(things[2])
})

test('what several ids begin with is ambiguous, in Docker’s words', () => {
  expect(() => find('abc')).toThrow('service abc is ambiguous (2 matches found)')
  expect(() => find('none')).toThrow('service none not found')
  expect(() => find('')).toThrow('service  not found')
})
