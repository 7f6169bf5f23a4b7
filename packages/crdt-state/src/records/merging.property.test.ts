import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NodeId } from '../ids.ts'
import type { RecordMessage, RecordStore } from '../record-store.ts'
import {
  catchUp,
  openRecords,
  type OpenedRecords,
  task,
  tasks,
  withoutTask,
} from '../testing/record-fixtures.ts'
import { overTheWire } from '../testing/spec-fixtures.ts'

/** What the three writers do; some writes are made at once and become one. */
type Step =
  | { readonly kind: 'write'; readonly at: number; readonly name: string; readonly pid: number }
  | { readonly kind: 'both'; readonly at: number; readonly name: string; readonly pid: number }
  | { readonly kind: 'remove'; readonly at: number; readonly name: string }
  | { readonly kind: 'restart'; readonly at: number }

const writers = 3
const at = fc.nat({ max: writers - 1 })
const name = fc.constantFrom('one', 'two', 'three')
const pid = fc.nat({ max: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('write' as const, 'both' as const), at, name, pid }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), at, name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), at }) },
)
const steps = fc.array(step, { maxLength: 20 })

interface Past {
  readonly members: readonly OpenedRecords[]
  /** All that was ever given to gossip. */
  readonly said: readonly RecordMessage[]
  /** What each writer's record was, in turn, whole. */
  readonly wholes: readonly RecordMessage[]
}

async function happened(steps: readonly Step[]): Promise<Past> {
  const members = await Promise.all(Array.from({ length: writers }, () => openRecords()))
  const said: RecordMessage[] = []
  const wholes: RecordMessage[] = []
  for (const one of steps) {
    const { store } = members[one.at]!
    if (one.kind === 'restart') members[one.at] = await members[one.at]!.reopen()
    else if (one.kind === 'remove') said.push(await store.write(withoutTask(one.name)))
    else if (one.kind === 'write') said.push(await store.write(tasks(task(one.name, { pid: one.pid }))))
    else {
      const other = store.write(tasks(task('four', { pid: one.pid })))
      said.push(...(await Promise.all([other, store.write(tasks(task(one.name, { pid: one.pid })))])))
    }
    wholes.push(members[one.at]!.store.whole(members[one.at]!.node)!)
  }
  return { members, said: overTheWire(said), wholes: overTheWire(wholes) }
}

function shuffled<T>(items: readonly T[], order: Iterator<number>): readonly T[] {
  return items
    .map((item) => ({ item, key: order.next().value ?? 0 }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

/** What a store holds of these nodes, without itself. */
function heldOf(store: RecordStore, members: readonly OpenedRecords[]): unknown {
  const held = store.all()
  return members.map(({ node }) => [held.get(node), store.whole(node)])
}

function asWritten(members: readonly OpenedRecords[]): unknown {
  return members.map(({ node, store }) => [store.own, store.whole(node)])
}

describe('records that reach a node', () => {
  test('in any order, twice and with repetitions, gaps filled by whoever has the whole, are what was written', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (steps, order) => {
        const { members, said, wholes } = await happened(steps)
        const reader = await openRecords()
        // Deltas, older wholes that relays had, and all of it again.
        const arriving = shuffled([...said, ...said, ...wholes], order)
        for (const message of arriving) {
          const [outcome] = reader.store.receive([message])
          expect(['applied', 'known', 'gap']).toContain(outcome?.kind)
          if (outcome?.kind !== 'gap') continue
          const whole = members.find(({ node }) => node === outcome.node)?.store.whole(outcome.node)
          expect(reader.store.receive(overTheWire([whole!]))).toEqual([{ kind: 'applied' }])
        }
        for (const { store } of members) catchUp(store, reader.store)
        expect(heldOf(reader.store, members)).toEqual(asWritten(members))
        // Idempotent: nothing that was said before changes anything.
        const before = reader.store.all()
        for (const { kind } of reader.store.receive(arriving)) expect(kind).toBe('known')
        expect(reader.store.all()).toBe(before)
      }),
      { numRuns: 25 },
    )
  })

  test('merge to the same whole, whoever merged with whom before', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (steps, order) => {
        const { members, said, wholes } = await happened(steps)
        // Three readers, each with some of it.
        const some = async (): Promise<OpenedRecords> => {
          const reader = await openRecords()
          const all = shuffled([...said, ...wholes], order)
          reader.store.receive(all.slice(0, (order.next().value ?? 0) % (all.length + 1)))
          return reader
        }
        const readers = [await some(), await some(), await some()]
        const merged = async (...from: readonly OpenedRecords[]): Promise<OpenedRecords> => {
          const into = await openRecords()
          for (const { store } of from) catchUp(store, into.store)
          return into
        }
        const [a, b, c] = readers as [OpenedRecords, OpenedRecords, OpenedRecords]
        const whole = heldOf((await merged(a, b, c)).store, members)
        for (const each of [
          await merged(c, b, a),
          await merged(await merged(a, b), c),
          await merged(a, await merged(b, c)),
          await merged(a, a, b, a, c, c, b),
        ]) {
          expect(heldOf(each.store, members)).toEqual(whole)
        }
        expect(heldOf((await merged(a, a)).store, members)).toEqual(heldOf(a.store, members))
      }),
      { numRuns: 15 },
    )
  })

  test('are the same from the disk, at whatever point their reader was stopped', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (steps, order) => {
        const { members, said, wholes } = await happened(steps)
        let reader = await openRecords()
        for (const message of shuffled([...said, ...wholes], order)) {
          reader.store.receive([message])
          if ((order.next().value ?? 0) % 4 !== 0) continue
          const before = heldOf(reader.store, members)
          reader = await reader.reopen()
          expect(heldOf(reader.store, members)).toEqual(before)
        }
      }),
      { numRuns: 30 },
    )
  })

  test('of a node that was dropped do not come back by what others hold of the rest', async () => {
    await fc.assert(
      fc.asyncProperty(steps, at, async (steps, dropped) => {
        const { members, wholes } = await happened(steps)
        const reader = await openRecords()
        reader.store.receive(wholes)
        const gone: NodeId = members[dropped]!.node
        reader.store.drop(gone)
        expect(reader.store.all().has(gone)).toBe(false)
        for (const [index, { store }] of members.entries())
          if (index !== dropped) catchUp(store, reader.store)
        expect(reader.store.all().has(gone)).toBe(false)
        expect(reader.store.whole(gone)).toBeUndefined()
      }),
      { numRuns: 15 },
    )
  })
})
