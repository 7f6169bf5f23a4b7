import { generateIdentity, type Identity, type NodeId, nodeIdOf } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defaults } from '../defaults.ts'
import {
  encodeIntroduction,
  extended,
  type Introduction,
  introductionMaxBytes,
  parseIntroduction,
  signAdmission,
  type Standing,
  vouches,
} from './introduction.ts'

const clusterId = 'c'.repeat(25)
const max = defaults.introductionLinksMax
/** The founder, whom it admitted, whom that one admitted … */
const line: readonly Identity[] = Array.from({ length: max + 4 }, () => generateIdentity().identity)
const nodeAt = (place: number): NodeId => nodeIdOf(line[place]!.publicKey)

function introductionOf(place: number): Introduction {
  if (place === 0) return []
  return extended(
    signAdmission(line[place - 1]!, clusterId, line[place]!.publicKey),
    introductionOf(place - 1),
  )
}
const standings =
  (known: Readonly<Record<NodeId, Standing>>) =>
  (signer: NodeId): Standing =>
    known[signer] ?? 'unknown'
const isVouchedFor = (
  introduction: Introduction,
  place: number,
  known: Readonly<Record<NodeId, Standing>>,
  cluster = clusterId,
): boolean => vouches(introduction, line[place]!.publicKey, cluster, standings(known), line[0]!)

const place = fc.integer({ min: 1, max: line.length - 1 })

describe('an introduction', () => {
  test('is read as it was written, and fits the bound', () => {
    fc.assert(
      fc.property(place, (place) => {
        const bytes = encodeIntroduction(introductionOf(place))!
        expect(bytes.length).toBeLessThanOrEqual(introductionMaxBytes)
        expect(parseIntroduction(bytes)).toEqual(introductionOf(place))
      }),
      { numRuns: 30 },
    )
  })

  test('of the founder is none', () => {
    expect(encodeIntroduction(introductionOf(0))).toBeUndefined()
    expect(isVouchedFor([], 0, { [nodeAt(0)]: 'trusted' })).toBe(false)
  })

  test('vouches while one of the last signers is trusted', () => {
    fc.assert(
      fc.property(place, fc.nat({ max: line.length - 1 }), (place, trusted) => {
        const isAmong = trusted < place && trusted >= place - max
        expect(isVouchedFor(introductionOf(place), place, { [nodeAt(trusted)]: 'trusted' })).toBe(isAmong)
      }),
      { numRuns: 100 },
    )
  })

  test('vouches for nobody else, and in no other cluster', () => {
    fc.assert(
      fc.property(place, fc.nat({ max: line.length - 1 }), (place, other) => {
        fc.pre(place !== other)
        const known = { [nodeAt(place - 1)]: 'trusted' } as const
        expect(isVouchedFor(introductionOf(place), other, known)).toBe(false)
        expect(isVouchedFor(introductionOf(place), place, known, 'd'.repeat(25))).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  test('of which any byte was changed is refused', () => {
    const bytes = encodeIntroduction(introductionOf(3))!
    const known = { [nodeAt(0)]: 'trusted', [nodeAt(1)]: 'trusted', [nodeAt(2)]: 'trusted' } as const
    expect(isVouchedFor(parseIntroduction(bytes)!, 3, known)).toBe(true)
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Uint8Array.from(bytes)
        changed[at]! ^= flip
        const read = parseIntroduction(changed)
        expect(read !== undefined && isVouchedFor(read, 3, known)).toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  test('is refused where its signer was removed, although whoever had admitted that one is trusted', () => {
    const known = { [nodeAt(2)]: 'former', [nodeAt(1)]: 'trusted' } as const
    expect(isVouchedFor(introductionOf(3), 3, known)).toBe(false)
    // Removed later than it mattered: a member vouches for whom it admitted itself.
    expect(isVouchedFor(introductionOf(4), 4, { ...known, [nodeAt(3)]: 'trusted' })).toBe(true)
  })

  test('that is noise, or longer than the bound, cannot be read', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          const read = parseIntroduction(bytes)
          expect(read === undefined || read.length === 0).toBe(true)
        },
      ),
    )
    const link = introductionOf(1)[0]!
    const long = Array.from({ length: max + 1 }, () => link)
    expect(parseIntroduction(Buffer.from(JSON.stringify(long)))).toBeUndefined()
  })
})
