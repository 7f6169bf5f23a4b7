import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RecordMessage, RecordVersion } from '../record-store.ts'
import { catchUp, openRecords, task, tasks, withoutTask } from '../testing/record-fixtures.ts'
import { overTheWire } from '../testing/spec-fixtures.ts'

type Step =
  | { readonly kind: 'write'; readonly at: number; readonly name: string; readonly pid: number }
  | { readonly kind: 'remove'; readonly at: number; readonly name: string }
  | { readonly kind: 'restart'; readonly at: number }
  | { readonly kind: 'deliver'; readonly at: number; readonly picks: readonly number[] }

const nodes = 3
const at = fc.nat({ max: nodes - 1 })
const name = fc.constantFrom('one', 'two', 'three')
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('write' as const), at, name, pid: fc.nat({ max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), at, name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), at }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      at,
      picks: fc.array(fc.nat(), { maxLength: 8 }),
    }),
  },
)

function isOlder(a: RecordVersion, b: RecordVersion): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq)
}

describe('records', () => {
  test('converge by anti-entropy, whatever gossip lost, repeated or reordered, and never go back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const members = await Promise.all(Array.from({ length: nodes }, () => openRecords()))
        const said: RecordMessage[] = []
        let wentBack = 0
        for (const one of steps) {
          const { store } = members[one.at]!
          if (one.kind === 'write') said.push(await store.write(tasks(task(one.name, { pid: one.pid }))))
          else if (one.kind === 'remove') said.push(await store.write(withoutTask(one.name)))
          else if (one.kind === 'restart') members[one.at] = await members[one.at]!.reopen()
          else {
            const before = store.digest()
            store.receive(overTheWire(one.picks.flatMap((pick) => said[pick % said.length] ?? [])))
            wentBack += [...before].filter(([node, was]) => isOlder(store.digest().get(node)!, was)).length
          }
        }
        expect(wentBack).toBe(0)
        for (const from of members) for (const to of members) catchUp(from.store, to.store)
        for (const { store } of members) {
          for (const { node, store: speaker } of members) expect(store.all().get(node)).toEqual(speaker.own)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('garbage is refused, throws nothing and changes nothing', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const message = await a.store.write(tasks(task('one')))
    b.store.receive([message])
    const before = b.store.all()
    const part = (sound: unknown): fc.Arbitrary<unknown> => fc.oneof(fc.constant(sound), fc.anything())
    const garbage = fc.oneof(
      fc.anything(),
      fc.record({
        node: fc.constantFrom(a.node, b.node),
        epoch: part(5),
        seq: part(7),
        from: part(1),
        entries: part(message.entries),
        publicKey: part(message.publicKey),
        signature: part(message.signature),
      }),
    )
    fc.assert(
      fc.property(fc.array(garbage, { maxLength: 5 }), (messages) => {
        for (const { kind } of b.store.receive(messages as RecordMessage[])) {
          expect(['refused', 'gap']).toContain(kind)
        }
        expect(b.store.all()).toBe(before)
      }),
      { numRuns: 500 },
    )
  })
})
