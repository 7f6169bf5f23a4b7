import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { changedFields } from './diff.ts'
import { flatten, overlap, unflatten } from './flat.ts'

const awkwardKey = fc.oneof(
  fc.constantFrom('', '/', '~', '~0', '~1', 'a/b', 'm~n', '__proto__', 'constructor', '0', '10', 'ä'),
  fc.string({ maxLength: 5 }),
)
const { spec } = fc.letrec<{ spec: Record<string, unknown>; value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    ),
    fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 3 }),
    tie('spec'),
  ),
  spec: fc.dictionary(awkwardKey, tie('value'), { maxKeys: 5, noNullPrototype: true }),
}))

describe('a spec as registers', () => {
  test('any JSON object survives flattening and unflattening', () => {
    fc.assert(
      fc.property(spec, (value) => {
        expect(unflatten(flatten(value))).toEqual(value)
      }),
    )
  })

  test('a field has one register, named by its JSON pointer', () => {
    expect([...flatten({ a: { 'b/c': 1, 'd~e': [1, { x: 2 }] }, f: {}, g: undefined })]).toEqual([
      ['/a/b~1c', 1],
      ['/a/d~0e', [1, { x: 2 }]],
      ['/f', {}],
    ])
  })

  test('applying the difference of two specs to the first gives the second', () => {
    fc.assert(
      fc.property(spec, spec, (before, after) => {
        const registers = flatten(before)
        for (const [pointer, value] of changedFields(before, after)) {
          if (value === undefined) registers.delete(pointer)
          else registers.set(pointer, value)
        }
        expect(unflatten(registers)).toEqual(after)
      }),
    )
  })

  test('whatever registers meet, in whatever order, they give one value', () => {
    const pointer = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 })
    const register = fc.tuple(pointer, fc.oneof(fc.integer(), fc.constant({})))
    fc.assert(
      fc.property(
        fc.uniqueArray(register, { selector: ([path]) => path.join('/') }),
        fc.func(fc.integer()),
        (registers, order) => {
          const entries = registers.map(([path, value]) => [`/${path.join('/')}`, value] as const)
          const shuffled = entries.toSorted((a, b) => order(a) - order(b))
          expect(unflatten(new Map(shuffled))).toEqual(unflatten(new Map(entries)))
        },
      ),
    )
  })

  test('registers deeper than any spec are left out', () => {
    expect(unflatten(new Map([['/a'.repeat(100_000), 1]]))).toEqual({})
    expect(unflatten(new Map([['no pointer', 1]]))).toEqual({})
  })

  test('a field overlaps itself and its parts, not its neighbours', () => {
    expect(overlap('/a', '/a')).toBe(true)
    expect(overlap('/a', '/a/b')).toBe(true)
    expect(overlap('/a/b', '/a')).toBe(true)
    expect(overlap('/ab', '/a')).toBe(false)
  })
})
