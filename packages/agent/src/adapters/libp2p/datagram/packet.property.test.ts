import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodePacket, isProven, macKey, packetBytes, readPacket } from './packet.ts'
import type { Direction, Packet } from './packet.ts'

const packet: fc.Arbitrary<Packet> = fc.record({
  kind: fc.constantFrom('question' as const, 'answer' as const),
  tag: fc.nat({ max: 0xffff_ffff }),
  nonce: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  age: fc.nat({ max: 255 }),
})
const node = fc.string({
  unit: fc.constantFrom(...Array.from('0123456789abcdefghijklmnopqrstuvwxyz')),
  minLength: 25,
  maxLength: 25,
})
const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(macKey)
const direction: fc.Arbitrary<Direction> = fc
  .record({ key, from: node, to: node })
  .filter(({ from, to }) => from !== to)

test('a packet that was written is read as it was, has the one length, and is proven', () => {
  fc.assert(
    fc.property(packet, direction, (packet, direction) => {
      const bytes = encodePacket(packet, direction)
      expect(bytes).toHaveLength(packetBytes)
      expect(readPacket(bytes)).toEqual(packet)
      expect(isProven(bytes, direction)).toBe(true)
    }),
  )
})

test('one bit changed anywhere is not proven', () => {
  fc.assert(
    fc.property(packet, direction, fc.nat({ max: packetBytes * 8 - 1 }), (packet, direction, bit) => {
      const bytes = encodePacket(packet, direction)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      expect(isProven(bytes, direction)).toBe(false)
    }),
  )
})

test('it is proven for one key and one direction alone: nothing can be sent back to its sender or on to a third', () => {
  fc.assert(
    fc.property(packet, direction, direction, (packet, direction, other) => {
      const bytes = encodePacket(packet, direction)
      expect(isProven(bytes, { ...direction, from: direction.to, to: direction.from })).toBe(false)
      expect(isProven(bytes, { ...direction, to: other.to })).toBe(other.to === direction.to)
      expect(isProven(bytes, { ...direction, key: other.key })).toBe(other.key.equals(direction.key))
    }),
  )
})

test('whatever else arrives is no packet, and throws nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const read = readPacket(Buffer.from(bytes))
      const isOurs = bytes.length === packetBytes && (bytes[0] === 0x51 || bytes[0] === 0x41)
      expect(read !== undefined).toBe(isOurs)
    }),
    {
      examples: [
        [new Uint8Array()],
        [new Uint8Array(packetBytes).fill(0x51)],
        [new Uint8Array(packetBytes).fill(0x41)],
      ],
    },
  )
})
