import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  formatAddress,
  formatRange,
  holds,
  lastOf,
  overlaps,
  parseAddress,
  parseRange,
  rangeAround,
  sizeOf,
  subrange,
} from './ipv4.ts'

const address = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const range = fc.tuple(address, fc.integer({ min: 0, max: 32 })).map(([at, bits]) => rangeAround(at, bits))

describe('an address', () => {
  test('is read as it is written, up to the highest', () => {
    fc.assert(
      fc.property(address, (at) => {
        expect(parseAddress(formatAddress(at))).toBe(at)
      }),
    )
    expect(formatAddress(2 ** 32 - 1)).toBe('255.255.255.255')
  })

  test.each([
    '',
    '10.0.0',
    '10.0.0.0.1',
    '10.0.0.256',
    '10.0.0.01',
    '10.0.0.1 ',
    'fd00::1',
    '1e1.0.0.1',
    '-1.0.0.0',
  ])('%j is none', (text) => expect(parseAddress(text)).toBeUndefined())
})

describe('a range', () => {
  test('is read as it is written', () => {
    fc.assert(
      fc.property(range, (some) => {
        expect(parseRange(formatRange(some))).toEqual(some)
      }),
    )
  })

  test('may be named by any of its addresses', () => {
    expect(parseRange('10.1.2.3/16')).toEqual(parseRange('10.1.0.0/16'))
  })

  test.each(['10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/08', 'fd00::/64', '/8'])(
    '%j is none',
    (text) => expect(parseRange(text)).toBeUndefined(),
  )

  test('holds what lies between its ends', () => {
    fc.assert(
      fc.property(range, address, (some, at) => {
        expect(holds(some, at)).toBe(at >= some.first && at < some.first + sizeOf(some))
        expect(holds(some, lastOf(some))).toBe(true)
      }),
    )
  })

  test('overlaps with another exactly where one holds the ends of the other', () => {
    // Near each other, or they would hardly ever meet.
    const near = fc
      .tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 26, max: 32 }))
      .map(([at, bits]) => rangeAround(at, bits))
    fc.assert(
      fc.property(near, near, (a, b) => {
        const each = Array.from({ length: 64 }, (_, at) => at)
        expect(overlaps(a, b)).toBe(each.some((at) => holds(a, at) && holds(b, at)))
      }),
    )
  })

  test('is the ranges that it consists of, one after the other', () => {
    const some = parseRange('10.128.0.0/9')!
    expect(formatRange(subrange(some, 18, 0))).toBe('10.128.0.0/18')
    expect(formatRange(subrange(some, 18, 511))).toBe('10.255.192.0/18')
    expect(overlaps(some, subrange(some, 18, 512))).toBe(false)
  })
})
