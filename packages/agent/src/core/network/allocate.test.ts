import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  allocateAddress,
  bridgeAddress,
  emptyBlocks,
  freeAddresses,
  mayGive,
  type OwnBlocks,
} from './allocate.ts'
import { blockOf, geometryOf } from './geometry.ts'
import { formatAddress, lastOf, parseAddress, parseRange } from './ipv4.ts'

const geometry = geometryOf(parseRange('10.1.0.0/24')!)
const own = (...blocks: number[]): OwnBlocks => ({ geometry, blocks, reserved: new Set() })
const at = (text: string) => parseAddress(text)!
const texts = (...addresses: (number | undefined)[]) =>
  addresses.map((address) => (address === undefined ? undefined : formatAddress(address)))

describe('an address for a container', () => {
  test('comes out of its node’s blocks, but for the first, which is the bridge’s own', () => {
    expect(texts(bridgeAddress(own(2, 0)))).toEqual(['10.1.0.72'])
    expect(texts(allocateAddress(own(2, 0), new Set(), undefined))).toEqual(['10.1.0.73'])
  })

  test('is the one after the latest, round and round, so that an address rests', () => {
    const given: (number | undefined)[] = []
    let latest: number | undefined
    for (let turn = 0; turn < 8; turn += 1) {
      latest = allocateAddress(own(0, 3), new Set([at('10.1.0.76')]), latest)
      given.push(latest)
    }
    expect(texts(...given)).toEqual([
      '10.1.0.65',
      '10.1.0.66',
      '10.1.0.67',
      '10.1.0.77',
      '10.1.0.78',
      '10.1.0.79',
      '10.1.0.65',
      '10.1.0.66',
    ])
  })

  test('is out of a block that is in use while there is room: an empty one may be given back', () => {
    expect(texts(allocateAddress(own(0, 3), new Set(), at('10.1.0.67')))).toEqual(['10.1.0.65'])
    const inUse = new Set(['10.1.0.65', '10.1.0.66', '10.1.0.67'].map(at))
    expect(texts(allocateAddress(own(0, 3), inUse, at('10.1.0.67')))).toEqual(['10.1.0.76'])
  })

  test('is none where all are in use: another block is needed', () => {
    const inUse = new Set(['10.1.0.65', '10.1.0.66', '10.1.0.67'].map(at))
    expect(allocateAddress(own(0), inUse, at('10.1.0.66'))).toBeUndefined()
    expect(freeAddresses(own(0), inUse)).toBe(0)
    expect(freeAddresses(own(0, 1), inUse)).toBe(4)
    expect(allocateAddress(own(), new Set(), undefined)).toBeUndefined()
    expect(bridgeAddress(own())).toBeUndefined()
  })

  test('is never one that is set aside; nor is the bridge’s', () => {
    const some: OwnBlocks = { ...own(0), reserved: new Set([at('10.1.0.64'), at('10.1.0.66')]) }
    expect(texts(bridgeAddress(some))).toEqual(['10.1.0.65'])
    expect(texts(allocateAddress(some, new Set(), undefined))).toEqual(['10.1.0.67'])
  })

  test('is never given twice, never the network’s or broadcast address, and of a block of the node', () => {
    const blocks = fc.uniqueArray(fc.nat({ max: geometry.blocks - 1 }), { minLength: 1, maxLength: 4 })
    const steps = fc.array(fc.record({ isGiven: fc.boolean(), pick: fc.nat() }), { maxLength: 40 })
    fc.assert(
      fc.property(blocks, steps, (blocks, steps) => {
        const inUse = new Set<number>()
        let latest: number | undefined
        for (const { isGiven, pick } of steps) {
          if (!isGiven) {
            inUse.delete([...inUse][pick % (inUse.size || 1)]!)
            continue
          }
          const free = freeAddresses(own(...blocks), inUse)
          const address = allocateAddress(own(...blocks), inUse, latest)
          expect(address === undefined).toBe(free === 0)
          if (address === undefined) continue
          expect(inUse.has(address)).toBe(false)
          expect(address).not.toBe(bridgeAddress(own(...blocks)))
          expect(address).not.toBe(lastOf(geometry.subnet))
          expect(blocks).toContain(blockOf(geometry, address))
          inUse.add(address)
          latest = address
        }
      }),
    )
  })
})

test('an address is a node’s to give where it is in a block of its own, and neither set aside nor its own', () => {
  const some: OwnBlocks = { ...own(0, 47), reserved: new Set([at('10.1.0.66')]) }
  const mine = ['10.1.0.65', '10.1.0.67', '10.1.0.254']
  const others = ['10.1.0.64', '10.1.0.66', '10.1.0.68', '10.1.0.5', '10.1.0.255', '10.2.0.65']
  expect([...mine, ...others].filter((address) => mayGive(some, at(address)))).toEqual(mine)
})

test('a block is empty when nobody has an address in it, nor the node its own', () => {
  const inUse = [at('10.1.0.84'), at('192.168.0.1')]
  expect(emptyBlocks(own(9, 5, 3, 7), inUse)).toEqual([3, 7])
  expect(emptyBlocks(own(9), [])).toEqual([])
  const reserved = new Set([100, 101, 102, 103].map((last) => at(`10.1.0.${last}`)))
  // All of the first block is set aside, so that the node's own address is in the second.
  expect(emptyBlocks({ ...own(9, 5, 3), reserved }, [])).toEqual([9, 3])
})
