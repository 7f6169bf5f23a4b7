import {
  generateIdentity,
  memoryStorage,
  nodeIdOf,
  openRecordStore,
  type OpenedRecordStore,
  type RecordKey,
  type RecordMessage,
} from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mergeDeltas } from './record-outbox.ts'
import { decode, encode, recordMessagesSchema } from './wire.ts'

/** What one node's agent writes between two flushes of its outbox; some of it at once, so that it becomes one write. */
type Step =
  | { readonly kind: 'write'; readonly keys: readonly string[]; readonly value: number }
  | { readonly kind: 'remove'; readonly keys: readonly string[] }
  | { readonly kind: 'restart' }

const keys = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('write' as const), keys, value: fc.nat({ max: 2 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), keys }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
)

const reading = generateIdentity().identity
const writing = generateIdentity().identity
const writer = nodeIdOf(writing.publicKey)
const clusterId = 'testcluster'
const reader = (): Promise<OpenedRecordStore> =>
  openRecordStore({ storage: memoryStorage(), identity: reading, clusterId })

/** Each delta in the order in which it was said, and the whole record after it. */
async function said(
  steps: readonly Step[],
): Promise<readonly { delta: RecordMessage; whole: RecordMessage }[]> {
  const storage = memoryStorage()
  const open = (): Promise<OpenedRecordStore> => openRecordStore({ storage, identity: writing, clusterId })
  let store = await open()
  const deltas: { delta: RecordMessage; whole: RecordMessage }[] = []
  for (const step of steps) {
    if (step.kind === 'restart') {
      await store.close()
      store = await open()
      continue
    }
    // As a kind of entry that this version does not know: the outbox does not look inside either.
    const value = step.kind === 'write' ? ({ value: step.value } as never) : undefined
    const writes = step.keys.map((key) =>
      store.write(new Map<RecordKey, never>([[`future/${key}`, value as never]])),
    )
    for (const delta of await Promise.all(writes)) deltas.push({ delta, whole: store.whole(writer)! })
  }
  return deltas
}

describe('deltas that are joined before they are sent', () => {
  test('say what each of them would have said, to whoever knows what came before them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 14 }),
        fc.nat(),
        fc.nat(),
        async (steps, from, sooner) => {
          const all = await said(steps)
          if (all.length === 0) return
          const start = from % all.length
          const joined = mergeDeltas(all.slice(start).map(({ delta }) => delta))
          expect(joined.length).toBeLessThanOrEqual(all.length - start)
          const store = await reader()
          // The reader has all that was said before, and maybe some of what is joined.
          const known = Math.min(all.length, start + (sooner % 3))
          if (known > 0) store.receive([all[known - 1]!.whole])
          const outcomes = store.receive(decode(recordMessagesSchema, encode(joined))!)
          for (const { kind } of outcomes) expect(['applied', 'known']).toContain(kind)
          expect(store.whole(writer)).toEqual(all.at(-1)!.whole)
          // Joined once more, they are what they were.
          expect(mergeDeltas(joined)).toEqual(joined)
        },
      ),
      { numRuns: 80 },
    )
  })

  test('leave a gap where one is, and never a record that its node has not written', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 14 }),
        fc.array(fc.boolean(), { minLength: 14, maxLength: 14 }),
        async (steps, kept) => {
          const all = await said(steps)
          // Some were lost with an overflow.
          const joined = mergeDeltas(
            all.filter((_, index) => kept[index % 14] === true).map(({ delta }) => delta),
          )
          const store = await reader()
          for (const message of joined) {
            const [outcome] = store.receive([message])
            expect(['applied', 'known', 'gap']).toContain(outcome?.kind)
            const held = store.whole(writer)
            expect([undefined, ...all.map(({ whole }) => whole)]).toContainEqual(held)
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
