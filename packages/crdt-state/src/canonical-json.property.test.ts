import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from './canonical-json.ts'
import { anyText } from './testing/any-text.ts'

const key = fc.oneof(
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    'toJSON',
    '0',
    '10',
    '9',
    'ä',
    '\u{1f600}',
    '\uffff',
    'a',
    'A',
  ),
  anyText(4),
)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(
      anyText(),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .map((number) => (Object.is(number, -0) ? 0 : number)),
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
}))

/** The same value, written by a client with other habits: members in another order, and some that are not there. */
function rewritten(value: unknown, order: (key: string) => number): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => rewritten(item, order))
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([key, member]) => [key, rewritten(member, order)] as const)
  const absent = Object.hasOwn(value, 'absent') ? [] : [['absent', undefined] as const]
  return Object.fromEntries([...members, ...absent].toSorted(([a], [b]) => order(a) - order(b)))
}

describe('canonical JSON', () => {
  test('says all of a value: read again, it is that value', () => {
    fc.assert(
      fc.property(value, (value) => {
        const text = canonicalJson(value)
        expect(JSON.parse(text)).toEqual(value)
        expect(canonicalJson(JSON.parse(text))).toBe(text)
      }),
      { numRuns: 300 },
    )
  })

  test('is one text, in whichever order the members were written and whatever was left undefined', () => {
    fc.assert(
      fc.property(value, fc.func(fc.integer()), (value, order) => {
        expect(canonicalJson(rewritten(value, order))).toBe(canonicalJson(value))
      }),
      { numRuns: 300 },
    )
  })
})
