import { describe, expect, test } from 'vitest'
import type { NodeId } from '../ids.ts'
import type { RecordKey } from '../record.ts'
import type { RecordMessage } from '../record-store.ts'
import { catchUp, openRecords, task, tasks, withoutTask } from '../testing/record-fixtures.ts'
import { overTheWire } from '../testing/spec-fixtures.ts'

const one = task('one')
const two = task('two')

describe('peers’ records', () => {
  test('follow deltas, and ask for the whole where a delta’s base is missing', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const first = await a.store.write(tasks(one))
    expect(first.from).toBeUndefined()
    const second = await a.store.write(tasks(two))
    const third = await a.store.write(withoutTask('one'))
    expect(b.store.receive(overTheWire([second]))).toEqual([{ kind: 'gap', node: a.node }])
    expect(b.store.receive(overTheWire([first, third, second, third, first]))).toEqual([
      { kind: 'applied' },
      { kind: 'gap', node: a.node },
      { kind: 'applied' },
      { kind: 'applied' },
      { kind: 'known' },
    ])
    expect(b.store.all().get(a.node)).toEqual(a.store.own)
  })

  test('a joined delta that begins earlier than what is here is applied', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const first = await a.store.write(tasks(one))
    const second = await a.store.write(tasks(two))
    const third = await a.store.write(withoutTask('one'))
    b.store.receive([first, second])
    const joined = { ...third, from: first.seq, entries: { ...second.entries, ...third.entries } }
    expect(b.store.receive([joined])).toEqual([{ kind: 'applied' }])
    expect(b.store.all().get(a.node)).toEqual(a.store.own)
  })

  test('an unchanged task keeps its identity when a whole record arrives', async () => {
    const a = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one))])
    const before = b.store.all().get(a.node)
    await a.store.write(tasks(two))
    catchUp(a.store, b.store)
    const after = b.store.all().get(a.node)
    expect(after?.tasks.get(one.id)).toBe(before?.tasks.get(one.id))
    expect(after?.tasks.size).toBe(2)
    expect(before?.tasks.size).toBe(1)
  })

  test('no node can speak for another', async () => {
    const a = await openRecords()
    const liar = await openRecords()
    const b = await openRecords()
    const message = await a.store.write(tasks(one))
    const theirs = await liar.store.write(tasks(two))
    const forged: readonly RecordMessage[] = [
      { ...message, entries: {} },
      { ...message, seq: 9 },
      { ...message, epoch: 9 },
      { ...message, entries: { ...message.entries, 'task/x': '{}' } },
      { ...message, publicKey: theirs.publicKey, signature: theirs.signature },
      { ...theirs, node: a.node },
    ]
    expect(new Set(b.store.receive(forged).map(({ kind }) => kind))).toEqual(new Set(['refused']))
    expect([...b.store.all().keys()]).toEqual([b.node])
    expect(b.store.receive([message])).toEqual([{ kind: 'applied' }])
  })

  test('a record of another cluster is refused', async () => {
    const a = await openRecords()
    const { openRecordStore } = await import('./open-record-store.ts')
    const elsewhere = await openRecordStore({ ...(await openRecords()), clusterId: 'other' })
    expect(elsewhere.receive([await a.store.write(tasks(one))])).toMatchObject([{ kind: 'refused' }])
  })

  test('an entry of an unknown kind or shape is kept and passed on, and not shown', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const c = await openRecords()
    await a.store.write(
      new Map<RecordKey, never>([
        ['future/x', { new: true } as never],
        ['task/other-id', one as never],
        ['alert/y', { target: 'y' } as never],
      ]),
    )
    catchUp(a.store, b.store)
    catchUp(b.store, c.store)
    expect(c.store.whole(a.node)).toEqual(a.store.whole(a.node))
    expect(Object.keys(c.store.whole(a.node)?.entries ?? {})).toHaveLength(3)
    expect(c.store.all().get(a.node)).toMatchObject({ tasks: new Map(), alerts: new Map() })
  })

  test('an oversized record is refused', async () => {
    const a = await openRecords()
    const b = await openRecords({ maxRecordBytes: 500 })
    const message = await a.store.write(tasks(task('huge', { message: 'x'.repeat(600) })))
    expect(b.store.receive([message])).toMatchObject([{ kind: 'refused' }])
  })

  test('are there after a restart, and a dropped one is not', async () => {
    const a = await openRecords()
    const gone = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one)), await gone.store.write(tasks(two))])
    b.store.receive([await a.store.write(tasks(two))])
    b.store.drop(gone.node)
    const again = await b.reopen()
    expect(again.store.all().get(a.node)).toEqual(a.store.own)
    expect(again.store.all().has(gone.node)).toBe(false)
  })

  test('one answer has at most the bytes asked for, and at least one record', async () => {
    const peers = await Promise.all(['a', 'b', 'c'].map(() => openRecords()))
    const hub = await openRecords()
    for (const { store } of peers) hub.store.receive([await store.write(tasks(one))])
    const late = await openRecords()
    let rounds = 0
    while (catchUp(hub.store, late.store, 1).length > 0) rounds += 1
    expect(rounds).toBe(4)
    expect(late.store.digest()).toEqual(new Map([...hub.store.digest(), ...late.store.digest()]))
  })

  test('watchers are told which nodes changed, and no more', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const told: NodeId[][] = []
    b.store.subscribe((changed) => told.push([...changed]))
    const message = await a.store.write(tasks(one))
    b.store.receive([message, message])
    b.store.receive([message])
    await b.store.write(tasks(two))
    b.store.drop(a.node)
    expect(told).toEqual([[a.node], [b.node], [a.node]])
  })
})
