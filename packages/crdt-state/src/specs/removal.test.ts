import { describe, expect, test } from 'vitest'
import { nodeIdOf } from '../hash.ts'
import type { SpecChange } from '../spec-store.ts'
import {
  author,
  deliver,
  openSpecs,
  overTheWire,
  scaled,
  serviceSpec,
  sync,
} from '../testing/spec-fixtures.ts'

describe('removal', () => {
  test('leaves a signed tombstone, and a node that returns resurrects nothing', async () => {
    const { store: a } = await openSpecs()
    const { store: returned } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, returned)
    await a.remove('service', resource.id, author)
    expect(a.byName('service', 'web')).toBeUndefined()
    const changes: SpecChange[] = []
    returned.subscribe((change) => changes.push(change))
    await sync(returned, a)
    expect(returned.byName('service', 'web')).toBeUndefined()
    expect(a.byName('service', 'web')).toBeUndefined()
    expect(returned.digest()).toEqual(a.digest())
    expect(changes).toMatchObject([{ before: { name: 'web' }, after: undefined, origin: 'remote' }])
    expect(changes[0]).not.toHaveProperty('droppedEdit')
    expect(returned.wasRemoved('service', resource.id)).toBe(true)
    expect(returned.wasRemoved('network', resource.id)).toBe(false)
    expect(await a.receive(messages)).toMatchObject([
      { kind: 'removed', tombstone: { name: 'web', incarnation: 1 } },
    ])
  })

  test('a tombstone that was tampered with, or is of another cluster, or of a stranger, is refused', async () => {
    const { store: a, options } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    const [removal] = overTheWire(await a.remove('service', resource.id, author))
    if (removal?.type !== 'tombstone') throw new Error('no tombstone')
    const { tombstone } = removal
    const { store: b } = await openSpecs()
    const { store: elsewhere } = await openSpecs({ clusterId: 'other' })
    const { store: strict } = await openSpecs({
      trust: (key) => !Buffer.from(key).equals(options.identity.publicKey),
    })
    await deliver(messages, b, elsewhere, strict)
    const forged = { type: 'tombstone', tombstone: { ...tombstone, incarnation: 7 } } as const
    expect(await b.receive([forged])).toMatchObject([{ kind: 'refused' }])
    expect(await elsewhere.receive([removal])).toMatchObject([{ kind: 'refused' }])
    expect(await strict.receive([removal])).toMatchObject([{ kind: 'refused' }])
    // Whoever vouches for the signer does not vouch for the signature, nor for another cluster's.
    for (const store of [b, strict]) {
      expect(await store.receive([forged], { vouched: true })).toMatchObject([{ kind: 'refused' }])
    }
    expect(await elsewhere.receive([removal], { vouched: true })).toMatchObject([{ kind: 'refused' }])
    for (const store of [b, elsewhere, strict]) expect(store.byName('service', 'web')).toBeDefined()
    expect(await b.receive([removal])).toEqual([{ kind: 'applied' }])
    expect(await strict.receive([removal], { vouched: true })).toEqual([{ kind: 'applied' }])
  })

  test('by a node that left counts for one that joins later and never knew it', async () => {
    const { store: a, options } = await openSpecs()
    const self = nodeIdOf(options.identity.publicKey)
    const spec = { Name: 'node1', PublicKey: 'x', Addresses: [], Labels: {}, Availability: 'active' as const }
    await a.create('node', self, { ...spec, Role: 'manager' }, author)
    const { resource } = await a.create('service', 'web', serviceSpec(), author)
    await a.remove('service', resource.id, author)
    await a.remove('node', a.byName('node', self)!.id, author)
    const { store: joined } = await openSpecs({
      trust: (key) => joined.tombstone('node', nodeIdOf(key)) !== undefined,
    })
    await sync(a, joined)
    await sync(a, joined)
    expect(joined.digest()).toEqual(a.digest())
    expect(joined.tombstone('service', 'web')).toBeDefined()
  })

  test('wins over a concurrent edit, says so on both sides, and can be undone with the edit', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, b)
    const removal = await a.remove('service', resource.id, author)
    const edit = await b.update('service', resource.id, resource.versionIndex, scaled(resource, 9), author)
    const lost: (SpecChange & { droppedEdit?: boolean })[] = []
    a.subscribe((change) => lost.push(change))
    b.subscribe((change) => lost.push(change))
    expect(await a.receive(overTheWire(edit.messages))).toMatchObject([{ kind: 'removed' }])
    await deliver(removal, b)
    expect(lost).toMatchObject([{ droppedEdit: true }, { droppedEdit: true }])
    expect(a.digest()).toEqual(b.digest())
    // Heard again: told once.
    await a.receive(edit.messages)
    expect(lost).toHaveLength(2)
    for (const store of [a, b]) {
      const { resource: back } = await store.restore('service', 'web', author)
      expect(back.incarnation).toBe(2)
      expect(back.spec.Mode).toEqual({ Replicated: { Replicas: 9 } })
    }
    await sync(a, b)
    expect(a.byName('service', 'web')?.conflicts).toEqual([])
  })

  test('an edit that the remover had seen, and this node not, is no lost edit', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, b)
    const edit = await a.update('service', resource.id, resource.versionIndex, scaled(resource, 9), author)
    const removal = await a.remove('service', resource.id, author)
    const changes: SpecChange[] = []
    b.subscribe((change) => changes.push(change))
    await deliver(removal, b)
    await deliver(edit.messages, b)
    expect(changes.filter(({ droppedEdit }) => droppedEdit === true)).toEqual([])
    expect((await b.restore('service', 'web', author)).resource.spec.Mode.Replicated?.Replicas).toBe(9)
  })

  test('a removed name can be created again, as another document', async () => {
    const opened = await openSpecs()
    const { store } = opened
    const first = await store.create('service', 'web', serviceSpec(), author)
    await store.remove('service', first.resource.id, author)
    const second = await store.create('service', 'web', serviceSpec({ replicas: 2 }), author)
    expect(second.resource).toMatchObject({ incarnation: 2, versionIndex: expect.any(Number) })
    expect(second.resource.id).not.toBe(first.resource.id)
    const again = (await opened.reopen()).store
    expect(again.byName('service', 'web')).toEqual(second.resource)
    expect(again.tombstone('service', 'web')?.incarnation).toBe(1)
    expect(again.digest()).toEqual(store.digest())
  })

  test('a newer incarnation hides the older one until its removal arrives', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const first = await a.create('service', 'web', serviceSpec(), author)
    await deliver(first.messages, b)
    const removal = await a.remove('service', first.resource.id, author)
    const second = await a.create('service', 'web', serviceSpec({ replicas: 2 }), author)
    const changes: SpecChange[] = []
    b.subscribe((change) => changes.push(change))
    await deliver(second.messages, b)
    expect(b.byName('service', 'web')?.incarnation).toBe(2)
    expect(b.all('service').size).toBe(1)
    expect(b.get('service', first.resource.id)).toBeUndefined()
    expect(changes.map(({ id, after }) => [id, after?.incarnation])).toEqual([
      [first.resource.id, undefined],
      [second.resource.id, 2],
    ])
    await deliver(removal, b)
    expect(changes).toHaveLength(2)
    expect(b.digest()).toEqual(a.digest())
  })

  test('one name removed on two sides keeps one tombstone on both', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, b)
    const left = await a.remove('service', resource.id, author)
    const right = await b.remove('service', resource.id, { ...author, client: 'other' })
    await deliver(right, a)
    await deliver(left, b)
    expect(a.tombstones()).toEqual(b.tombstones())
    expect(a.digest()).toEqual(b.digest())
  })

  test('the graveyard is bounded, and the newest graves stay', async () => {
    const opened = await openSpecs()
    const { store } = opened
    for (let index = 0; index < 205; index += 1) {
      const { resource } = await store.create('network', `n${index}`, { Name: `n${index}` } as never, author)
      await store.remove('network', resource.id, author)
    }
    expect(opened.storage.list('graveyard')).toHaveLength(200)
    await expect(store.restore('network', 'n4', author)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' })
    expect((await (await opened.reopen()).store.restore('network', 'n5', author)).resource.incarnation).toBe(
      2,
    )
  })
})

describe('damage', () => {
  test.each(['document', 'tombstone'] as const)(
    'a damaged %s is set aside, reported, and healed by a peer',
    async (table) => {
      const opened = await openSpecs()
      const { store: peer } = await openSpecs()
      const kept = await opened.store.create('service', 'kept', serviceSpec(), author)
      const gone = await opened.store.create('service', 'gone', serviceSpec(), author)
      await opened.store.remove('service', gone.resource.id, author)
      await sync(peer, opened.store)
      opened.storage.corrupt(table, table === 'document' ? kept.resource.id : 'service/gone')
      const { store } = await opened.reopen()
      expect(store.damage()).toMatchObject([
        { healed: false, setAsideAs: expect.stringContaining('set_aside') },
      ])
      expect(store.digest().root).not.toBe(peer.digest().root)
      await sync(store, peer)
      expect(store.digest()).toEqual(peer.digest())
      expect(store.byName('service', 'kept')?.spec).toEqual(kept.resource.spec)
      expect(store.damage()).toMatchObject([{ healed: true }])
      expect((await opened.reopen()).store.digest()).toEqual(peer.digest())
    },
  )

  test('an object that is sound and yet none of ours does not stop the opening', async () => {
    const opened = await openSpecs()
    const { resource } = await opened.store.create('service', 'web', serviceSpec(), author)
    const bytes = Buffer.from('no document')
    await opened.storage.commit([
      { kind: 'put', table: 'document', key: 'x', bytes },
      { kind: 'put', table: 'tombstone', key: 'service/x', bytes },
      { kind: 'put', table: 'graveyard', key: 'x', bytes },
    ])
    const { store } = await opened.reopen()
    expect(store.byName('service', 'web')).toEqual(resource)
    expect(store.damage().map(({ what }) => what)).toEqual([
      'tombstone service/x',
      'document x',
      'graveyard x',
    ])
  })
})
