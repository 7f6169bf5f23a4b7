import { BlockList } from 'node:net'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Ranges } from './ranges.ts'

/** Few enough that addresses often lie inside, or right beside. */
const block = fc.nat({ max: 63 }).map((number) => `10.128.${number >> 4}.${(number & 15) * 16}`)
const address = fc.oneof(
  fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 255 })).map(([third, last]) => `10.128.${third}.${last}`),
  fc.ipV4(),
)

test("ranges have what Node's own list of subnets has", () => {
  const blocks = fc.uniqueArray(block, { maxLength: 40 })
  fc.assert(
    fc.property(blocks, fc.constantFrom(28, 30, 32), address, (blocks, prefix, wanted) => {
      const list = new BlockList()
      for (const each of blocks) list.addSubnet(each, prefix)
      expect(new Ranges(blocks.map((each) => `${each}/${prefix}`)).has(wanted)).toBe(list.check(wanted))
    }),
  )
})
