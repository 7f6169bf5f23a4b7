import type { NodeId, RecordVersion } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type * as z from 'zod'
import { anyText } from '@moot/crdt-state/testing/any-text'
import { damaged, damages } from '@moot/crdt-state/testing/damaged-bytes'
import {
  commitAnswerSchema,
  commitSchema,
  compareAnswerSchema,
  decode,
  digestFromWire,
  digestToWire,
  encode,
  entriesFromWire,
  entriesToWire,
  fetchAnswerSchema,
  fetchSchema,
  page,
  pushedAnswerSchema,
  recordAnswerSchema,
  recordGossipSchema,
  recordMessagesSchema,
  recordRequestSchema,
  recordsAnswerSchema,
  specGossipSchema,
  specMessagesSchema,
  specsAnswerSchema,
  syncSchema,
} from './wire.ts'

const text = anyText(6)
const texts = fc.array(text, { maxLength: 3 })
const sequence = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const kind = fc.constantFrom('service', 'network', 'secret', 'config', 'node', 'cluster')
const atMs = fc.integer()

/** What a newer peer says beside what this version knows: it must get through to those who know it. */
function withMore<T extends object>(message: fc.Arbitrary<T>): fc.Arbitrary<object> {
  // JSON has no negative zero.
  const value = fc.jsonValue({ maxDepth: 1 }).map((value): unknown => JSON.parse(JSON.stringify(value)))
  const more = fc.dictionary(fc.stringMatching(/^x[a-z]{0,3}$/), value, {
    maxKeys: 2,
    noNullPrototype: true,
  })
  return fc.tuple(more, message).map(([more, message]) => ({ ...more, ...message }))
}

const changes = withMore(
  fc.record(
    { type: fc.constant('changes'), kind, name: text, incarnation: sequence, changes: texts, document: text },
    { requiredKeys: ['type', 'kind', 'name', 'incarnation'] },
  ),
)
const removal = withMore(
  fc.record({
    type: fc.constant('tombstone'),
    tombstone: withMore(
      fc.record(
        {
          kind,
          name: text,
          incarnation: sequence,
          author: withMore(fc.record({ node: text, client: text, atMs })),
          knew: fc.dictionary(fc.stringMatching(/^[0-9a-f]{8}$/), sequence, { noNullPrototype: true }),
          publicKey: text,
          signature: text,
        },
        { requiredKeys: ['kind', 'name', 'incarnation', 'author', 'publicKey', 'signature'] },
      ),
    ),
  }),
)
const messages = fc.array(fc.oneof(changes, removal), { maxLength: 3 })

/** As `recordKey` makes them, and of kinds to come. */
const entryKey = fc.oneof(
  fc.constant('status'),
  fc
    .tuple(fc.constantFrom('task', 'alert', 'update', 'rejection', 'future'), text)
    .map((parts) => parts.join('/')),
)
const record = withMore(
  fc.record(
    {
      node: text,
      epoch: sequence,
      seq: sequence,
      from: sequence,
      entries: fc.dictionary(entryKey, fc.option(text), { maxKeys: 4, noNullPrototype: true }),
      publicKey: text,
      signature: text,
    },
    { requiredKeys: ['node', 'epoch', 'seq', 'entries', 'publicKey', 'signature'] },
  ),
)
const records = fc.array(record, { maxLength: 3 })
const digest = fc.array(fc.tuple(text, sequence, sequence), { maxLength: 4 })
const entries = fc.array(fc.tuple(text, texts, fc.boolean()), { maxLength: 4 })
const buckets = fc.array(fc.nat({ max: 255 }), { maxLength: 256 })

/** Every message that one agent sends to another, with its schema. */
const formats: Readonly<Record<string, readonly [z.ZodType, fc.Arbitrary<unknown>]>> = {
  'spec messages': [specMessagesSchema, messages],
  'record messages': [recordMessagesSchema, records],
  'gossip of specs': [specGossipSchema, fc.oneof(fc.record({ messages }), fc.record({ behind: text }))],
  'gossip of records': [recordGossipSchema, fc.oneof(fc.record({ records }), fc.record({ behind: text }))],
  commit: [commitSchema, fc.record({ messages })],
  'answer to a commit': [commitAnswerSchema, fc.record({ confirmed: fc.boolean(), removals: messages })],
  fetch: [fetchSchema, fc.record({ ids: texts })],
  'answer to a fetch': [fetchAnswerSchema, fc.record({ messages, rest: texts })],
  'request of a record': [recordRequestSchema, fc.record({ node: text })],
  'answer with a record': [recordAnswerSchema, fc.record({ records })],
  'step of a sync': [
    syncSchema,
    fc.oneof(
      fc.record({ step: fc.constant('compare'), specs: text, records: text }),
      fc.record({ step: fc.constant('specs'), buckets, entries }),
      fc.record({ step: fc.constant('records'), digest }),
      fc.record({ step: fc.constant('push-records'), records }),
    ),
  ],
  'answer to a comparison': [
    compareAnswerSchema,
    fc.record({ buckets: fc.array(text, { maxLength: 256 }), digest }, { requiredKeys: [] }),
  ],
  'answer with specs': [specsAnswerSchema, fc.record({ messages, want: texts, more: fc.boolean() })],
  'answer with records': [recordsAnswerSchema, fc.record({ records, more: fc.boolean() })],
  'answer to pushed records': [pushedAnswerSchema, fc.constant({})],
}

describe.each(Object.entries(formats))('%s', (_, [schema, body]) => {
  test('arrives as it was sent', () => {
    fc.assert(
      fc.property(body, (body) => {
        expect(decode(schema, encode(body))).toEqual(body)
      }),
      { numRuns: 40 },
    )
  })

  test('that was damaged is of its shape or is not read, and throws nothing', () => {
    const noise = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
    )
    fc.assert(
      fc.property(body, damages, noise, (body, by, noise) => {
        for (const bytes of [damaged(encode(body), by), noise]) {
          const read = decode(schema, bytes)
          if (read === undefined) continue
          // What was read would be sent on, and read again, as it is. In bytes: `-0` becomes `0` on its way.
          expect(encode(decode(schema, encode(read)))).toEqual(encode(read))
        }
        expect(decode(schema, encode(body).subarray(0, -1))).toBeUndefined()
      }),
      { numRuns: 40 },
    )
  })
})

describe('digests', () => {
  test('are the same after their way over the wire', () => {
    fc.assert(
      fc.property(digest, entries, (digest, entries) => {
        const versions = new Map<NodeId, RecordVersion>(
          digest.map(([node, epoch, seq]) => [node as NodeId, { epoch, seq }]),
        )
        expect(digestFromWire(digestToWire(versions))).toEqual(versions)
        const specs = new Map(entries.map(([id, heads, dead]) => [id, { heads, dead }]))
        expect(entriesFromWire(entriesToWire(specs))).toEqual(specs)
      }),
      { numRuns: 100 },
    )
  })
})

describe('pages', () => {
  test('say everything once, in order, each as much as fits and at least one', () => {
    const length = (items: readonly unknown[]): number =>
      items.reduce<number>((sum, item) => sum + JSON.stringify(item).length + 1, 0)
    fc.assert(
      fc.property(fc.array(text), fc.integer({ min: 1, max: 40 }), (items, maxBytes) => {
        const pages: (readonly string[])[] = []
        for (let rest: readonly string[] = items; rest.length > 0;) {
          const next = page(rest, maxBytes)
          expect(next.length).toBeGreaterThan(0)
          expect(next.length === 1 || length(next) <= maxBytes).toBe(true)
          expect(next.length === rest.length || length(rest.slice(0, next.length + 1)) > maxBytes).toBe(true)
          pages.push(next)
          rest = rest.slice(next.length)
        }
        expect(pages.flat()).toEqual(items)
      }),
      { numRuns: 100 },
    )
  })
})
