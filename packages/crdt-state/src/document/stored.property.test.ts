import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../canonical-json.ts'
import { generateIdentity } from '../identity.ts'
import { specKinds } from '../schema/kinds.ts'
import type { Author, Tombstone } from '../spec-store.ts'
import { decodeGrave, encodeGrave } from '../specs/grave.ts'
import { edited } from '../specs/writing.ts'
import { anyText } from '../testing/any-text.ts'
import { damaged, damages } from '../testing/damaged-bytes.ts'
import { flatten } from './flat.ts'
import { decodeDocument, encodeDocument, type LiveDocument } from './live-document.ts'
import { readNote, writeNote } from './note.ts'
import { clockOf, covers, isSigned, signTombstone, supersedes, tombstoneSchema } from './tombstone.ts'

const text = anyText(8)
const atMs = fc.integer({ min: 0, max: 2 ** 42 })
const author: fc.Arbitrary<Author> = fc.record({ node: text, client: text, atMs })
const name = anyText(12).filter((text) => text !== '')
const incarnation = fc.integer({ min: 1, max: 0xffff_ffff })
const actor = fc.constantFrom('1', '2', '3').map((digit) => digit.repeat(32))
/** Mostly no valid spec: what cannot be read is stored as faithfully. */
const spec = fc.oneof(
  fc.dictionary(text, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4, noNullPrototype: true }),
  fc.record({ Name: text, TaskTemplate: fc.record({ ContainerSpec: fc.record({ Image: text }) }) }),
)

/** A document with a few changes, by several writers. */
const document: fc.Arbitrary<LiveDocument> = fc
  .record({
    name: fc.record({ kind: fc.constantFrom(...specKinds), name, incarnation }),
    edits: fc.array(
      fc.record({
        map: fc.constantFrom('spec' as const, 'facts' as const),
        action: fc.constantFrom('create' as const, 'update' as const, 'rollback' as const, 'fact' as const),
        spec,
        author,
        actor,
      }),
      { minLength: 1, maxLength: 3 },
    ),
  })
  .map(({ name, edits }) => {
    let made: LiveDocument | undefined
    for (const [index, { spec, map, ...edit }] of edits.entries()) {
      // A change that writes nothing is none.
      const fields = new Map([...flatten(spec), ['/index', index]])
      made = edited(name, made?.bytes, { ...edit, [map]: fields }).document
    }
    return made!
  })

describe('a document on the disk', () => {
  test('is read as it was written, in the store and in the graveyard', () => {
    fc.assert(
      fc.property(document, fc.nat({ max: 2 ** 48 - 1 }), (document, order) => {
        expect(decodeDocument(encodeDocument(document))).toEqual(document)
        expect(decodeGrave(encodeGrave({ document, order }))).toEqual({ document, order })
      }),
      { numRuns: 40 },
    )
  })

  test('and what is no document throws an error, whatever the bytes', () => {
    const outcome = (read: () => LiveDocument): unknown => {
      try {
        return read()
      } catch (error) {
        return error
      }
    }
    fc.assert(
      fc.property(document, damages, fc.uint8Array(), (document, by, noise) => {
        const stored = damaged(encodeDocument(document), by)
        // As of another version of the agent: then the summary is made anew, of Automerge's bytes.
        const head = '{"version":0'
        const older = Buffer.concat([
          stored.subarray(0, 4),
          Buffer.from(head),
          stored.subarray(4 + head.length),
        ])
        for (const bytes of [stored, older, noise]) {
          for (const read of [() => decodeDocument(bytes), () => decodeGrave(bytes).document]) {
            const found = outcome(read)
            expect(found instanceof Error || specKinds.includes((found as LiveDocument).kind)).toBe(true)
          }
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('the note of a change', () => {
  const action = fc.constantFrom('create' as const, 'update' as const, 'rollback' as const, 'fact' as const)

  test('is read as it was written', () => {
    fc.assert(
      fc.property(action, author, (action, author) => {
        expect(readNote(writeNote(action, author))).toEqual({ action, author })
      }),
    )
  })

  test('that cannot be read is an update by somebody', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constant(null)), (message) => {
        expect(readNote(message)).toEqual({ action: 'update', author: undefined })
      }),
    )
  })
})

describe('a tombstone', () => {
  const clusterId = 'testcluster'
  const { identity } = generateIdentity()
  const sequence = fc.integer({ min: 1, max: 2 ** 31 })
  const digits = fc
    .integer({ min: 0, max: 0xffff_ffff })
    .map((number) => number.toString(16).padStart(8, '0'))
  const tombstone: fc.Arbitrary<Tombstone> = fc
    .record(
      {
        kind: fc.constantFrom(...specKinds),
        name,
        incarnation,
        author,
        knew: fc.dictionary(digits, sequence, { maxKeys: 3, noNullPrototype: true }),
      },
      { requiredKeys: ['kind', 'name', 'incarnation', 'author'] },
    )
    .map((content) => signTombstone(identity, clusterId, content))
  const read = (bytes: Uint8Array): Tombstone | undefined => {
    try {
      return tombstoneSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    } catch {
      return undefined
    }
  }

  test('is read as it was written, and still signed', () => {
    fc.assert(
      fc.property(tombstone, (tombstone) => {
        const again = read(Buffer.from(JSON.stringify(tombstone)))
        expect(again).toEqual(tombstone)
        expect(isSigned(identity, clusterId, again!)).toBe(true)
        expect(isSigned(identity, 'other', again!)).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  test('cannot be changed in any bit', () => {
    fc.assert(
      fc.property(tombstone, damages, (tombstone, by) => {
        const changed = read(damaged(Buffer.from(JSON.stringify(tombstone)), by))
        if (changed === undefined || canonicalJson(changed) === canonicalJson(tombstone)) return
        expect(isSigned(identity, clusterId, changed)).toBe(false)
      }),
      { numRuns: 400 },
    )
  })

  test('of any two, however they were learnt, the same one holds', () => {
    fc.assert(
      fc.property(tombstone, tombstone, tombstone, fc.boolean(), (a, other, third, isSameIncarnation) => {
        const b = isSameIncarnation ? { ...other, incarnation: a.incarnation } : other
        const later = (x: Tombstone, y: Tombstone): Tombstone => (supersedes(x, y) ? x : y)
        expect(supersedes(a, a)).toBe(false)
        expect(later(a, b)).toEqual(later(b, a))
        expect(later(later(a, b), third)).toEqual(later(a, later(b, third)))
        expect(later(a, b).incarnation).toBe(Math.max(a.incarnation, b.incarnation))
      }),
      { numRuns: 200 },
    )
  })

  test('covers what its remover knew, and no change after it', () => {
    const change = fc.record({ actor, seq: fc.integer({ min: 1, max: 5 }) })
    fc.assert(
      fc.property(fc.array(change), change, tombstone, (known, next, tombstone) => {
        const removal = { ...tombstone, knew: clockOf(known) }
        expect(covers(removal, known)).toBe(true)
        const highest = Math.max(
          0,
          ...known.filter(({ actor }) => actor === next.actor).map(({ seq }) => seq),
        )
        expect(covers(removal, [{ ...next, seq: highest + 1 }])).toBe(false)
      }),
      { numRuns: 100 },
    )
  })
})
