import { describe, expect, test } from 'vitest'
import { generateIdentity } from '../identity.ts'
import type { NodeId } from '../ids.ts'
import { recordKey } from '../record.ts'
import { catchUp, openRecords, task, tasks, withoutTask } from '../testing/record-fixtures.ts'

const one = task('one')
const two = task('two')
const alert = {
  target: 'n'.repeat(25) as NodeId,
  evidence: 'silent',
  epoch: 1,
  seq: 1,
  sinceMs: 1,
} as const

describe('the own record', () => {
  test('is durable before a write resolves, and unseen until then', async () => {
    const { store, storage } = await openRecords()
    const release = storage.holdSync()
    let done = false
    const writing = store.write(tasks(one)).finally(() => {
      done = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect({ done, tasks: store.own.tasks.size, seq: store.own.seq }).toEqual({
      done: false,
      tasks: 0,
      seq: 0,
    })
    release()
    await writing
    expect(store.own.tasks.get(one.id)).toEqual(one)
  })

  test('a claim outlives a crash, and an alert does not', async () => {
    const { store, storage, identity } = await openRecords()
    await store.write(tasks(one))
    await store.write(new Map([[recordKey.alert(alert.target), alert]]))
    const held = storage.holdSync()
    const lost = store.write(tasks(two))
    await new Promise((resolve) => setImmediate(resolve))
    storage.crash()
    held()
    await expect(lost).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    const { store: again } = await openRecords({ storage, identity })
    expect([...again.own.tasks.values()]).toEqual([one])
    expect(again.own.alerts.size).toBe(0)
    expect(again.own.epoch).toBe(store.own.epoch + 1)
    expect(again.own.seq).toBe(0)
  })

  test('begins a higher epoch at each opening, before anything is said in it', async () => {
    const opened = await openRecords()
    opened.storage.failNext(new Error('disk full'))
    await expect(opened.reopen()).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    const second = await opened.reopen()
    const third = await second.reopen()
    expect([opened, second, third].map(({ store }) => store.own.epoch)).toEqual([1, 2, 3])
  })

  test('writes made together, and those made during a sync, are one batch each', async () => {
    const { store, storage } = await openRecords()
    await store.write(new Map())
    const before = storage.syncs()
    const release = storage.holdSync()
    const first = store.write(tasks(one))
    await Promise.resolve()
    await Promise.resolve()
    const later = ['a', 'b', 'c'].map((name) => store.write(tasks(task(name))))
    release()
    await first
    const messages = await Promise.all(later)
    expect(storage.syncs() - before).toBe(2)
    expect(new Set(messages.map(({ seq }) => seq)).size).toBe(1)
    expect(Object.keys(messages[0]!.entries)).toHaveLength(3)
  })

  test('a failed write leaves it as it was, and its number is not used again', async () => {
    const { store, storage } = await openRecords()
    const first = await store.write(tasks(one))
    storage.failNext(new Error('disk full'))
    await expect(store.write(tasks(two))).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    expect(store.own.tasks.size).toBe(1)
    expect(store.own.seq).toBe(first.seq)
    const next = await store.write(tasks(two))
    expect(next.seq).toBe(first.seq + 2)
    expect(next.from).toBe(first.seq)
  })

  test('what did not change keeps its identity', async () => {
    const { store } = await openRecords()
    await store.write(tasks(one, two))
    const before = store.own
    await store.write(tasks({ ...one }, { ...two, state: 'failed' }))
    expect(store.own.tasks.get(one.id)).toBe(before.tasks.get(one.id))
    expect(store.own.tasks.get(two.id)?.state).toBe('failed')
    expect(store.own.tasks).not.toBe(before.tasks)
    expect(store.own.alerts).toBe(before.alerts)
    expect(before.tasks.get(two.id)?.state).toBe('running')
  })

  test('a write that changes nothing makes no new version', async () => {
    const { store, storage } = await openRecords()
    const first = await store.write(tasks(one))
    const syncs = storage.syncs()
    expect(await store.write(tasks({ ...one }))).toMatchObject({ seq: first.seq, entries: {} })
    expect(storage.syncs()).toBe(syncs)
  })

  test('a write beyond the bound fails alone', async () => {
    const { store } = await openRecords({ maxRecordBytes: 2_000 })
    const outcomes = await Promise.allSettled([
      store.write(tasks(one)),
      store.write(tasks(task('huge', { message: 'x'.repeat(3_000) }))),
      store.write(tasks(two)),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: { code: 'ERR_RECORD_TOO_LARGE' } })
    expect([...store.own.tasks.keys()]).toEqual([one.id, two.id])
  })
})

describe('a node that meets its own record', () => {
  test('of an earlier life knows it', async () => {
    const a = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one))])
    const again = await a.reopen()
    expect(again.store.receive([b.store.whole(a.node)!])).toEqual([{ kind: 'known' }])
    expect(again.store.receive([again.store.whole(a.node)!])).toEqual([{ kind: 'known' }])
  })

  test('of a higher epoch jumps past it and takes over what it said (a disk restored from a backup)', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const second = await (await a.reopen()).reopen()
    b.store.receive([await second.store.write(tasks(one))])
    const restored = await openRecords({ identity: a.identity })
    await restored.store.write(tasks(two))
    expect(restored.store.own.epoch).toBe(1)
    expect(restored.store.receive([b.store.whole(a.node)!])).toEqual([{ kind: 'applied' }])
    await restored.store.write(new Map())
    expect(restored.store.own.epoch).toBe(4)
    expect([...restored.store.own.tasks.values()].map(({ id }) => id)).toEqual([two.id, one.id])
    catchUp(restored.store, b.store)
    expect(b.store.all().get(a.node)).toEqual(restored.store.own)
  })

  test('of the same epoch with other content is a cloned disk', async () => {
    const { identity } = generateIdentity()
    // Two disks with the same memory: both have lived once before.
    const a = await (await openRecords({ identity })).reopen()
    const clone = await (await openRecords({ identity })).reopen()
    await a.store.write(tasks(one))
    const theirs = await clone.store.write(tasks(two))
    expect(a.store.receive([theirs])).toEqual([{ kind: 'cloned', version: { epoch: 2, seq: 1 } }])
    await clone.store.write(tasks(one))
    expect(a.store.receive([clone.store.whole(a.node)!])).toMatchObject([{ kind: 'cloned' }])
  })

  test('with its signature in another spelling of the same bytes is refused, and not taken for a clone’s', async () => {
    const a = await openRecords()
    await a.store.write(tasks(one))
    const message = a.store.whole(a.node)!
    const { signature } = message
    // Four bits of the last letter stand for nothing.
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    const respelt = `${signature.slice(0, 85)}${letters[letters.indexOf(signature[85]!) ^ 1]}==`
    expect(Buffer.from(respelt, 'base64')).toEqual(Buffer.from(signature, 'base64'))
    expect(a.store.receive([{ ...message, signature: respelt }])).toMatchObject([{ kind: 'refused' }])
    expect(a.store.receive([message])).toEqual([{ kind: 'known' }])
  })

  test('of the first epoch, on a disk that remembers nothing, jumps past it: the disk is new, the node is not', async () => {
    const a = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one))])
    const wiped = await openRecords({ identity: a.identity })
    await wiped.store.write(tasks(two))
    await wiped.store.write(tasks(task('three')))
    expect(wiped.store.receive([b.store.whole(a.node)!])).toEqual([{ kind: 'applied' }])
    await wiped.store.write(new Map())
    expect(wiped.store.own.epoch).toBe(2)
    expect(wiped.store.own.tasks.size).toBe(3)
  })

  test('of the first epoch comes from several peers while the jump past it is on its way to the disk: no clone', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const c = await openRecords()
    const first = await a.store.write(tasks(one))
    c.store.receive([first])
    b.store.receive([first, await a.store.write(tasks(two))])
    const wiped = await openRecords({ identity: a.identity })
    const release = wiped.storage.holdSync()
    for (const peer of [c, b, c, b])
      expect(wiped.store.receive([peer.store.whole(a.node)!])[0]?.kind).not.toBe('cloned')
    release()
    await wiped.store.write(new Map())
    expect(wiped.store.own.epoch).toBe(2)
    expect(new Set(wiped.store.own.tasks.keys())).toEqual(new Set([one.id, two.id]))
  })

  test('of ever higher epochs stops jumping: two clones do not race for ever', async () => {
    const { identity } = generateIdentity()
    const a = await openRecords({ identity })
    const clone = await (await openRecords({ identity })).reopen()
    let outcome = 'applied'
    let rounds = 0
    while (outcome === 'applied' && rounds < 100) {
      await clone.store.write(tasks(task(`round ${rounds}`)))
      outcome = a.store.receive([clone.store.whole(a.node)!])[0]!.kind
      await a.store.write(new Map())
      clone.store.receive([a.store.whole(a.node)!])
      rounds += 1
    }
    expect(outcome).toBe('cloned')
    expect(rounds).toBeLessThan(20)
  })

  test('signed by somebody else refuses it', async () => {
    const a = await openRecords()
    const message = await a.store.write(tasks(one))
    expect(a.store.receive([{ ...message, epoch: 50 }])).toMatchObject([{ kind: 'refused' }])
    expect(a.store.own.epoch).toBe(1)
  })
})

describe('damage', () => {
  test('a lost claim is brought back from a peer, exactly it', async () => {
    const a = await openRecords()
    const b = await openRecords()
    await a.store.write(tasks(one, two, task('removed later')))
    catchUp(a.store, b.store)
    await a.store.write(withoutTask('removed later'))
    a.storage.corrupt('own-record', `entry/task/${one.id}`)
    const again = await a.reopen()
    expect(again.store.isOwnDamaged).toBe(true)
    expect(again.store.damage()).toMatchObject([{ what: `own-record entry/task/${one.id}`, healed: false }])
    expect([...again.store.own.tasks.keys()]).toEqual([two.id])
    expect(again.store.receive([b.store.whole(a.node)!])).toEqual([{ kind: 'applied' }])
    await again.store.write(new Map())
    expect(new Set(again.store.own.tasks.keys())).toEqual(new Set([one.id, two.id]))
    expect(again.store.isOwnDamaged).toBe(false)
    expect(again.store.damage()).toMatchObject([{ healed: true }])
    expect((await again.reopen()).store.own.tasks.size).toBe(2)
  })

  test('a claim that a peer gave back is missed until it stands in the record, on the disk', async () => {
    const a = await openRecords()
    const b = await openRecords()
    await a.store.write(tasks(one))
    catchUp(a.store, b.store)
    a.storage.corrupt('own-record', `entry/task/${one.id}`)
    const again = await a.reopen()
    const wasWhole: boolean[] = []
    again.store.subscribe(() => wasWhole.push(!again.store.isOwnDamaged && again.store.own.tasks.has(one.id)))
    const release = again.storage.holdSync()
    again.store.receive([b.store.whole(a.node)!])
    expect(again.store.isOwnDamaged).toBe(true)
    release()
    await again.store.write(new Map())
    expect(again.store.isOwnDamaged).toBe(false)
    expect(wasWhole[0]).toBe(true)
  })

  test('a record with a hole is kept back until a peer’s copy fills it, so that it replaces none', async () => {
    const a = await openRecords()
    const b = await openRecords()
    catchUp(a.store, b.store)
    b.store.receive([await a.store.write(tasks(one))])
    a.storage.corrupt('own-record', `entry/task/${one.id}`)
    const again = await a.reopen()
    expect(again.store.digest().has(a.node)).toBe(false)
    expect(again.store.whole(a.node)).toBeUndefined()
    catchUp(again.store, b.store)
    catchUp(b.store, again.store)
    await again.store.write(new Map())
    catchUp(again.store, b.store)
    expect([...b.store.all().get(a.node)!.tasks.keys()]).toEqual([one.id])
    expect(b.store.all().get(a.node)?.epoch).toBe(2)
  })

  test('a node alone with a hole in its record writes on without it', async () => {
    const a = await openRecords()
    await a.store.write(tasks(one))
    a.storage.corrupt('own-record', `entry/task/${one.id}`)
    const again = await a.reopen()
    await again.store.write(tasks(two))
    expect(again.store.digest().get(a.node)).toEqual({ epoch: 2, seq: 1 })
    expect([...again.store.own.tasks.keys()]).toEqual([two.id])
  })

  test('what this life wrote is not undone by a peer’s older copy', async () => {
    const a = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one))])
    a.storage.corrupt('own-record', `entry/task/${one.id}`)
    const again = await a.reopen()
    await again.store.write(tasks({ ...one, state: 'failed' }))
    again.store.receive([b.store.whole(a.node)!])
    await again.store.write(new Map())
    expect(again.store.own.tasks.get(one.id)?.state).toBe('failed')
  })

  test('a lost version row does not send the node back in time', async () => {
    const a = await openRecords()
    await a.store.write(tasks(one))
    a.storage.corrupt('own-record', 'version')
    expect((await a.reopen()).store.own.epoch).toBe(2)
  })

  test('a node that lost both its version and its memory of it jumps past what peers remember', async () => {
    const a = await openRecords()
    const b = await openRecords()
    const second = await a.reopen()
    b.store.receive([await second.store.write(tasks(one))])
    a.storage.corrupt('own-record', 'version')
    a.storage.corrupt('meta', 'own-epoch')
    const again = await second.reopen()
    expect(again.store.own.epoch).toBe(1)
    catchUp(b.store, again.store)
    await again.store.write(tasks(two))
    catchUp(again.store, b.store)
    expect(b.store.all().get(a.node)).toEqual(again.store.own)
    expect(again.store.own.epoch).toBe(3)
  })

  test('a damaged peer’s record is reported and healed by the next sync', async () => {
    const a = await openRecords()
    const b = await openRecords()
    b.store.receive([await a.store.write(tasks(one))])
    await b.store.close()
    await b.storage.commit([])
    b.storage.corrupt('peer-record', a.node)
    const again = await b.reopen()
    expect(again.store.damage()).toMatchObject([{ healed: false }])
    catchUp(a.store, again.store)
    expect(again.store.all().get(a.node)).toEqual(a.store.own)
    expect(again.store.damage()).toMatchObject([{ healed: true }])
    expect(again.store.isOwnDamaged).toBe(false)
  })
})
