import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../canonical-json.ts'
import type { RecordMessage } from '../record-store.ts'
import type { StorageWrite, Table } from '../storage.ts'
import { damaged, damages } from '../testing/damaged-bytes.ts'
import { recordEntry } from '../testing/record-arbitraries.ts'
import { openRecords, type OpenedRecords, task, tasks } from '../testing/record-fixtures.ts'
import { overTheWire } from '../testing/spec-fixtures.ts'
import { decodeEntry } from './decode-entry.ts'

describe('an entry of a record', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(recordEntry, ([key, value]) => {
        const entry = decodeEntry(key, canonicalJson(value))
        expect(entry?.value).toEqual(value)
        expect(entry?.kind).toBe(key.split('/')[0])
      }),
      { numRuns: 250 },
    )
  })

  test('whose text is damaged is read or left out, and throws nothing', () => {
    fc.assert(
      fc.property(recordEntry, damages, fc.string(), ([key, value], by, noise) => {
        const text = Buffer.from(damaged(Buffer.from(canonicalJson(value)), by)).toString('utf8')
        for (const each of [text, noise]) {
          const entry = decodeEntry(key, each)
          expect(entry === undefined || canonicalJson(entry.value) === canonicalJson(JSON.parse(each))).toBe(
            true,
          )
        }
      }),
      { numRuns: 250 },
    )
  })

  test('with a member of another type is not shown to anybody who relies on the type', () => {
    // No member of any kind of entry may be any of these.
    const wrong = fc.constantFrom(false, null, { no: 1 }, [[]])
    fc.assert(
      fc.property(recordEntry, fc.nat(), wrong, ([key, value], pick, instead) => {
        const members = Object.keys(value)
        const member = members[pick % members.length]!
        expect(decodeEntry(key, canonicalJson({ ...value, [member]: instead }))).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })
})

const changes = fc.array(recordEntry, { minLength: 1, maxLength: 5 }).map((entries) => new Map(entries))

/** Puts bytes on the disk below the store, as if their checksum held. */
async function overwrite(
  { storage }: OpenedRecords,
  table: Table,
  key: string,
  bytes: Uint8Array,
): Promise<void> {
  await storage.commit([{ kind: 'put', table, key, bytes } satisfies StorageWrite])
}

describe('a record', () => {
  test('says to peers what it says to itself, over the wire and from their disks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(changes, { minLength: 1, maxLength: 3 }), async (writes) => {
        const a = await openRecords()
        const b = await openRecords()
        for (const write of writes) {
          const outcomes = b.store.receive(overTheWire([await a.store.write(write)]))
          expect(outcomes.every(({ kind }) => kind === 'applied' || kind === 'known')).toBe(true)
        }
        expect(b.store.all().get(a.node)).toEqual(a.store.own)
        expect(b.store.whole(a.node)).toEqual(a.store.whole(a.node))
        const again = await b.reopen()
        expect(again.store.all().get(a.node)).toEqual(a.store.own)
        expect(again.store.damage()).toEqual([])
      }),
      { numRuns: 40 },
    )
  })

  test('outlives a restart of its node, but for suspicions', async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (write) => {
        const a = await openRecords()
        await a.store.write(write)
        const before = a.store.own
        const after = (await a.reopen()).store.own
        const kept = [...before.alerts].filter(
          ([, { evidence }]) => evidence === 'judged' || evidence === 'returned',
        )
        expect(after).toEqual({ ...before, epoch: before.epoch + 1, seq: 0, alerts: new Map(kept) })
      }),
      { numRuns: 40 },
    )
  })

  test('cannot be changed in any bit of its message', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const message = await a.store.write(tasks(task('one')))
    const sound = Buffer.from(JSON.stringify(message))
    fc.assert(
      fc.property(damages, (by) => {
        let changed: unknown
        try {
          changed = JSON.parse(Buffer.from(damaged(sound, by)).toString('utf8'))
        } catch {
          return
        }
        if (canonicalJson(changed) === canonicalJson(message)) return
        const [outcome] = b.store.receive([changed as RecordMessage])
        // A member that this version does not know may stand beside what is signed.
        const said = outcome?.kind === 'applied' ? { ...(changed as object), ...message } : message
        expect(outcome?.kind === 'applied' ? changed : message).toEqual(said)
        expect([undefined, a.store.own]).toContainEqual(b.store.all().get(a.node))
      }),
      { numRuns: 800 },
    )
  })

  test('of a peer that cannot be read on the disk is left out and reported, or is what it was', async () => {
    const a = await openRecords()
    const message = await a.store.write(tasks(task('one')))
    await fc.assert(
      fc.asyncProperty(damages, fc.option(fc.uint8Array()), async (by, noise) => {
        const b = await openRecords()
        const bytes = noise ?? damaged(Buffer.from(JSON.stringify(message)), by)
        await overwrite(b, 'peer-record', a.node, bytes)
        const again = await b.reopen()
        const found = again.store.all().get(a.node)
        expect([undefined, a.store.own]).toContainEqual(found)
        expect(again.store.damage()).toHaveLength(found === undefined ? 1 : 0)
      }),
      { numRuns: 60 },
    )
  })

  test('of the node itself starts a later life, whatever its rows on the disk say', async () => {
    const row = fc.constantFrom('version', 'entry/status', `entry/task/${task('one').id}`)
    await fc.assert(
      fc.asyncProperty(
        row,
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        async (row, bytes) => {
          const a = await openRecords()
          await a.store.write(tasks(task('one'), task('two')))
          const { epoch } = a.store.own
          await overwrite(a, 'own-record', row, bytes)
          const again = await a.reopen()
          expect(again.store.own.epoch).toBe(epoch + 1)
          expect(again.store.own.tasks.get(task('two').id)).toEqual(task('two'))
          // And peers take it.
          const b = await openRecords()
          expect(b.store.receive(overTheWire([again.store.whole(a.node)!]))).toEqual([{ kind: 'applied' }])
        },
      ),
      { numRuns: 40 },
    )
  })
})
