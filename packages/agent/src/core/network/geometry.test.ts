import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressesOf, blockOf, blockRange, geometryOf, isTooSmall } from './geometry.ts'
import {
  formatRange,
  holds,
  lastOf,
  overlaps,
  parseAddress,
  parseRange,
  rangeAround,
  sizeOf,
} from './ipv4.ts'

const subnet = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: 16, max: 28 }))
  .map(([at, bits]) => rangeAround(at, bits))
const none = new Set<number>()

describe('a subnet', () => {
  test.each([
    ['10.128.0.0/18', '10.128.0.0/20', 768, '10.128.16.0/28'],
    ['10.1.0.0/22', '10.1.0.0/24', 48, '10.1.1.0/28'],
    ['10.1.0.0/23', '10.1.0.0/25', 96, '10.1.0.128/30'],
    ['10.1.0.0/24', '10.1.0.0/26', 48, '10.1.0.64/30'],
    ['10.1.0.0/28', '10.1.0.0/30', 3, '10.1.0.4/30'],
  ])('%s has its virtual IPs in %s, and %d blocks from %s on', (cidr, virtual, blocks, first) => {
    const geometry = geometryOf(parseRange(cidr)!)
    expect(formatRange(geometry.virtual)).toBe(virtual)
    expect(geometry.blocks).toBe(blocks)
    expect(formatRange(blockRange(geometry, 0))).toBe(first)
  })

  test('is of use from a /28 on', () => {
    expect(isTooSmall(parseRange('10.1.0.0/28')!)).toBe(false)
    expect(isTooSmall(parseRange('10.1.0.0/29')!)).toBe(true)
  })

  test('is its virtual IPs and its blocks: nothing twice, nothing left over', () => {
    fc.assert(
      fc.property(subnet, fc.nat(), (range, pick) => {
        const geometry = geometryOf(range)
        const last = blockRange(geometry, geometry.blocks - 1)
        expect(lastOf(last)).toBe(lastOf(range))
        expect(sizeOf(geometry.virtual) + geometry.blocks * sizeOf(last)).toBe(sizeOf(range))
        const block = pick % geometry.blocks
        expect(overlaps(blockRange(geometry, block), geometry.virtual)).toBe(false)
        const at = range.first + (pick % sizeOf(range))
        const found = blockOf(geometry, at)
        expect(found === undefined).toBe(holds(geometry.virtual, at))
        expect(holds(found === undefined ? geometry.virtual : blockRange(geometry, found), at)).toBe(true)
        expect(blockOf(geometry, lastOf(range) + 1)).toBeUndefined()
      }),
    )
  })

  test('gives nobody its network’s or broadcast address, or what is set aside', () => {
    const geometry = geometryOf(parseRange('10.1.0.0/24')!)
    const reserved = new Set([parseAddress('10.1.0.65')!])
    const all = Array.from({ length: geometry.blocks }, (_, block) =>
      addressesOf(geometry, block, reserved),
    ).flat()
    expect(all).not.toContain(parseAddress('10.1.0.0'))
    expect(all).not.toContain(parseAddress('10.1.0.255'))
    expect(all).not.toContain(parseAddress('10.1.0.65'))
    expect(all).toHaveLength(192 - 2)
    expect(addressesOf(geometry, 1, none)).toHaveLength(4)
  })
})
