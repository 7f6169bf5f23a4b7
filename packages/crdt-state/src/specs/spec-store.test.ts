import { describe, expect, test } from 'vitest'
import { resourceId } from '../hash.ts'
import type { ServiceSpec } from '../schema/service.ts'
import type { Resource, SpecChange } from '../spec-store.ts'
import { author, deliver, openSpecs, overTheWire, serviceSpec, sync } from '../testing/spec-fixtures.ts'

function scaled({ spec }: Resource<ServiceSpec>, replicas: number): ServiceSpec {
  return { ...spec, Mode: { Replicated: { Replicas: replicas } } }
}
function withImage({ spec }: Resource<ServiceSpec>, image: string): ServiceSpec {
  return {
    ...spec,
    TaskTemplate: {
      ...spec.TaskTemplate,
      ContainerSpec: { ...spec.TaskTemplate.ContainerSpec, Image: image },
    },
  }
}

describe('writing', () => {
  test('what was written is read back, also after a restart', async () => {
    const opened = await openSpecs()
    const { resource } = await opened.store.create(
      'service',
      'web',
      serviceSpec({ Labels: { 'a/b~c': '' } }),
      author,
    )
    expect(opened.store.byName('service', 'web')).toBe(resource)
    expect(resource.id).toBe(resourceId('service', 'web', 1))
    const again = (await opened.reopen()).store
    expect(again.get('service', resource.id)).toEqual(resource)
    expect([...again.all('service').keys()]).toEqual([resource.id])
    expect(again.digest()).toEqual(opened.store.digest())
    expect(resource.spec).toEqual(serviceSpec({ Labels: { 'a/b~c': '' } }))
  })

  test('a name is taken once', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    await expect(store.create('service', 'web', serviceSpec(), author)).rejects.toMatchObject({
      code: 'ERR_NAME_TAKEN',
    })
    await store.create('network', 'web', { Name: 'web' } as never, author)
    const together = await Promise.allSettled([
      store.create('service', 'api', serviceSpec(), author),
      store.create('service', 'api', serviceSpec(), author),
    ])
    expect(together.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  test('a write that changes nothing succeeds, and says nothing to anybody', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const again = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      structuredClone(resource.spec),
      author,
    )
    expect(again).toEqual({ resource, messages: [] })
    expect(again.resource).toBe(resource)
  })

  test('fields and whole objects can be removed', async () => {
    const { store } = await openSpecs()
    const spec = serviceSpec({ Labels: { a: '1', b: '2' }, UpdateConfig: { Parallelism: 2 } })
    const created = await store.create('service', 'web', spec, author)
    const { UpdateConfig: _, ...rest } = spec
    const { resource } = await store.update(
      'service',
      created.resource.id,
      created.resource.versionIndex,
      { ...rest, Labels: { b: '2' } },
      author,
    )
    expect(resource.spec).toEqual({ ...rest, Labels: { b: '2' } })
    const global = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      { ...resource.spec, Mode: { Global: {} } },
      author,
    )
    expect(global.resource.spec.Mode).toEqual({ Global: {} })
    expect(global.resource.conflicts).toEqual([])
  })

  test('an unknown resource is not found', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const notFound = expect.objectContaining({ code: 'ERR_NOT_FOUND' })
    await expect(store.update('network', resource.id, 0, { Name: 'web' } as never, author)).rejects.toEqual(
      notFound,
    )
    await expect(store.remove('service', resourceId('service', 'none', 1), author)).rejects.toEqual(notFound)
    await expect(store.restore('service', 'none', author)).rejects.toEqual(notFound)
    expect(store.history('service', resourceId('service', 'none', 1))).toEqual([])
    expect(store.get('network', resource.id)).toBeUndefined()
  })

  test('a document beyond the bound is refused and changes nothing', async () => {
    const { store } = await openSpecs()
    // Random, so that it does not compress: what is stored and sent is bounded.
    const parts = Array.from({ length: 80 }, () => crypto.getRandomValues(new Uint8Array(60_000)))
    const spec = { Name: 'd', Labels: {}, Data: Buffer.concat(parts).toString('base64') }
    await expect(store.create('config', 'd', spec, author)).rejects.toMatchObject({
      code: 'ERR_RESOURCE_TOO_LARGE',
    })
    expect(store.byName('config', 'd')).toBeUndefined()
  })
})

describe('durability', () => {
  test('nothing is seen, told or done before it is on the disk', async () => {
    const { store, storage } = await openSpecs()
    const told: SpecChange[] = []
    store.subscribe((change) => told.push(change))
    const release = storage.holdSync()
    let done = false
    const writing = store.create('service', 'web', serviceSpec(), author).finally(() => {
      done = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect({ done, told, seen: store.byName('service', 'web') }).toEqual({
      done: false,
      told: [],
      seen: undefined,
    })
    release()
    await writing
    expect(told).toHaveLength(1)
  })

  test('a failed write leaves everything as it was, and the next one works', async () => {
    const opened = await openSpecs()
    const { store, storage } = opened
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const before = store.digest()
    const told: SpecChange[] = []
    store.subscribe((change) => told.push(change))
    const failed = expect.objectContaining({ code: 'ERR_STORAGE_FAILED' })
    for (const attempt of [
      () => store.create('service', 'api', serviceSpec(), author),
      () => store.update('service', resource.id, resource.versionIndex, scaled(resource, 3), author),
      () => store.addFact('service', resource.id, 'failed/x', true, author),
      () => store.remove('service', resource.id, author),
    ]) {
      storage.failNext(new Error('disk full'))
      await expect(attempt()).rejects.toEqual(failed)
    }
    expect(store.digest()).toEqual(before)
    expect(store.byName('service', 'web')).toBe(resource)
    expect(store.byName('service', 'api')).toBeUndefined()
    expect(store.tombstones()).toEqual([])
    expect(told).toEqual([])
    expect((await opened.reopen()).store.digest()).toEqual(before)
    const { resource: after } = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      scaled(resource, 3),
      author,
    )
    expect(after.spec.Mode).toEqual({ Replicated: { Replicas: 3 } })
  })

  test('a change whose commit failed never shares its actor and number with another', async () => {
    const { store, storage } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    storage.failNext(new Error('power?'))
    await store
      .update('service', resource.id, resource.versionIndex, scaled(resource, 2), author)
      .catch(() => undefined)
    await store.update('service', resource.id, resource.versionIndex, scaled(resource, 3), author)
    const [tombstone] = await store.remove('service', resource.id, author)
    const knew = tombstone?.type === 'tombstone' ? tombstone.tombstone.knew : undefined
    expect(Object.values(knew ?? {})).toEqual([1, 1])
  })

  test('what a peer sent is not confirmed before it is on the disk', async () => {
    const { store: other } = await openSpecs()
    const { messages } = await other.create('service', 'web', serviceSpec(), author)
    const { store, storage } = await openSpecs()
    storage.failNext(new Error('disk full'))
    await expect(store.receive(messages)).rejects.toMatchObject({ code: 'ERR_STORAGE_FAILED' })
    expect(store.byName('service', 'web')).toBeUndefined()
    expect(await store.receive(messages)).toEqual([{ kind: 'applied' }])
  })

  test('each opening writes under an actor of its own', async () => {
    const opened = await openSpecs()
    const { resource } = await opened.store.create('service', 'web', serviceSpec(), author)
    const again = (await opened.reopen()).store
    await again.update('service', resource.id, resource.versionIndex, scaled(resource, 2), author)
    const [removal] = await again.remove('service', resource.id, author)
    const knew = removal?.type === 'tombstone' ? removal.tombstone.knew : undefined
    expect(Object.keys(knew ?? {})).toHaveLength(2)
  })

  test('a closed store refuses writes', async () => {
    const { store } = await openSpecs()
    const last = store.create('service', 'web', serviceSpec(), author)
    await store.close()
    await expect(last).resolves.toBeDefined()
    await expect(store.create('service', 'api', serviceSpec(), author)).rejects.toMatchObject({
      code: 'ERR_STORE_CLOSED',
    })
  })
})

describe('versions', () => {
  test('grow with each change and stay below 2^53', async () => {
    const { store } = await openSpecs()
    let { resource } = await store.create('service', 'web', serviceSpec(), author)
    for (const replicas of [2, 3, 4]) {
      const before = resource.versionIndex
      resource = (await store.update('service', resource.id, before, scaled(resource, replicas), author))
        .resource
      expect(resource.versionIndex).toBeGreaterThan(before)
    }
    expect(resource.versionIndex).toBeLessThan(2 ** 53)
  })

  test('a stale update of other fields is merged', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    await store.update('service', resource.id, resource.versionIndex, scaled(resource, 5), author)
    const { resource: both } = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      withImage(resource, 'nginx:2'),
      author,
    )
    expect(both.spec).toEqual(serviceSpec({ image: 'nginx:2', replicas: 5 }))
  })

  test('a stale update of the same field is refused, and one to the same value is not', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    await store.update('service', resource.id, resource.versionIndex, scaled(resource, 5), author)
    const stale = store.update('service', resource.id, resource.versionIndex, scaled(resource, 6), author)
    await expect(stale).rejects.toMatchObject({
      code: 'ERR_STALE_VERSION',
      message: expect.stringMatching(/^update out of sequence/),
    })
    const same = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      scaled(resource, 5),
      author,
    )
    expect(same.messages).toEqual([])
  })

  test('a version from before a restart, or read at another node, is found in the history', async () => {
    const opened = await openSpecs()
    const { store: other } = await openSpecs()
    const created = await opened.store.create('service', 'web', serviceSpec(), author)
    await deliver(created.messages, other)
    const seen = other.byName('service', 'web')!
    expect(seen.versionIndex).toBe(created.resource.versionIndex)
    const again = (await opened.reopen()).store
    await again.update('service', seen.id, seen.versionIndex, scaled(seen, 5), author)
    const third = (await opened.reopen()).store
    const { resource } = await third.update(
      'service',
      seen.id,
      seen.versionIndex,
      withImage(seen, 'nginx:2'),
      author,
    )
    expect(resource.spec).toEqual(serviceSpec({ image: 'nginx:2', replicas: 5 }))
  })

  test('a version that never was is stale', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    for (const version of [0, 1, resource.versionIndex + 1, Number.NaN, -1, 2 ** 52]) {
      await expect(
        store.update('service', resource.id, version, scaled(resource, 2), author),
      ).rejects.toMatchObject({
        code: 'ERR_STALE_VERSION',
      })
    }
  })

  test('a fact does not make a client’s version stale', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    await store.addFact('service', resource.id, 'failed/abc', { reason: 'bad image' }, author)
    const { resource: after } = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      scaled(resource, 2),
      author,
    )
    expect(after.facts).toEqual(new Map([['failed/abc', { reason: 'bad image' }]]))
    expect(after.spec.Mode).toEqual({ Replicated: { Replicas: 2 } })
  })
})

describe('history and rollback', () => {
  test('says who changed what and when, oldest first', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const ann = { node: 'node-2', client: 'moot', atMs: 1_800_000_000_001 }
    await store.update('service', resource.id, resource.versionIndex, scaled(resource, 4), ann)
    await store.addFact('service', resource.id, 'failed/x', 1, author)
    const history = store.history('service', resource.id)
    expect(history.map(({ action, author: by }) => [action, by])).toEqual([
      ['create', author],
      ['update', ann],
      ['fact', author],
    ])
    expect(history[1]?.paths).toEqual(['/Mode/Replicated/Replicas'])
    expect(history[0]?.spec).toEqual(serviceSpec())
    expect(store.byName('service', 'web')).toMatchObject({ createdAtMs: author.atMs })
  })

  test('the previous spec is the one before the last change of the spec, also after a restart', async () => {
    const opened = await openSpecs()
    const { store } = opened
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    expect(resource.previous).toBeUndefined()
    const second = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      scaled(resource, 4),
      author,
    )
    await store.addFact('service', resource.id, 'failed/x', 1, author)
    expect(store.byName('service', 'web')?.previous).toEqual(resource.spec)
    expect((await opened.reopen()).store.byName('service', 'web')?.previous).toEqual(resource.spec)
    expect({ ...second.resource }.previous).toEqual(resource.spec)
  })

  test('a rollback is an update that is remembered as one', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    await expect(
      store.update('service', resource.id, resource.versionIndex, scaled(resource, 2), author, 'rollback'),
    ).rejects.toMatchObject({ code: 'ERR_ROLLBACK_UNAVAILABLE' })
    const { resource: second } = await store.update(
      'service',
      resource.id,
      resource.versionIndex,
      scaled(resource, 4),
      author,
    )
    expect(second.rolledBack).toBe(false)
    const { resource: back } = await store.update(
      'service',
      second.id,
      second.versionIndex,
      second.previous!,
      author,
      'rollback',
    )
    expect(back.spec).toEqual(resource.spec)
    expect(back.rolledBack).toBe(true)
  })
})

describe('merging', () => {
  test('concurrent edits of different fields both hold', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, b)
    const left = await a.update('service', resource.id, resource.versionIndex, scaled(resource, 5), author)
    const right = await b.update(
      'service',
      resource.id,
      resource.versionIndex,
      withImage(resource, 'nginx:2'),
      author,
    )
    await deliver(right.messages, a)
    await deliver(left.messages, b)
    expect(a.byName('service', 'web')).toEqual(b.byName('service', 'web'))
    expect(a.byName('service', 'web')?.spec).toEqual(serviceSpec({ image: 'nginx:2', replicas: 5 }))
    expect(a.byName('service', 'web')?.conflicts).toEqual([])
  })

  test('the same field edited on both sides converges to one value, and the conflict shows both authors', async () => {
    const ann = { node: 'node-1', client: 'ann', atMs: 1 }
    const bob = { node: 'node-2', client: 'bob', atMs: 2 }
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create('service', 'web', serviceSpec(), author)
    await deliver(messages, b)
    await a.update('service', resource.id, resource.versionIndex, scaled(resource, 5), ann)
    await b.update('service', resource.id, resource.versionIndex, scaled(resource, 7), bob)
    await sync(a, b)
    const merged = a.byName('service', 'web')!
    expect(b.byName('service', 'web')).toEqual(merged)
    const winner = merged.spec.Mode.Replicated?.Replicas
    expect(merged.conflicts).toEqual([
      {
        path: '/Mode/Replicated/Replicas',
        winner,
        losers: [winner === 5 ? { value: 7, author: bob } : { value: 5, author: ann }],
      },
    ])
    const { resource: settled } = await a.update(
      'service',
      resource.id,
      merged.versionIndex,
      scaled(merged, 9),
      ann,
    )
    expect(settled.conflicts).toEqual([])
  })

  test('a field that one side removed and the other changed is a conflict, not a silent loss', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const { resource, messages } = await a.create(
      'service',
      'web',
      serviceSpec({ Labels: { x: '1' } }),
      author,
    )
    await deliver(messages, b)
    await a.update('service', resource.id, resource.versionIndex, { ...resource.spec, Labels: {} }, author)
    await b.update(
      'service',
      resource.id,
      resource.versionIndex,
      { ...resource.spec, Labels: { x: '2' } },
      author,
    )
    await sync(a, b)
    const [conflict] = a.byName('service', 'web')!.conflicts
    expect(conflict?.path).toBe('/Labels/x')
    expect(new Set([conflict?.winner, conflict?.losers[0]?.value])).toEqual(new Set(['2', null]))
    expect(b.byName('service', 'web')).toEqual(a.byName('service', 'web'))
  })

  test('one name created on two sides is one document, merged field by field', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const left = await a.create('service', 'web', serviceSpec({ Labels: { left: '1' } }), author)
    const right = await b.create(
      'service',
      'web',
      serviceSpec({ image: 'nginx:2', Labels: { right: '1' } }),
      author,
    )
    expect(left.resource.id).toBe(right.resource.id)
    await sync(a, b)
    const merged = a.byName('service', 'web')!
    expect(b.byName('service', 'web')).toEqual(merged)
    expect(merged.spec.Labels).toEqual({ left: '1', right: '1' })
    expect(merged.conflicts.map(({ path }) => path)).toEqual(['/TaskTemplate/ContainerSpec/Image'])
  })

  test('two modes merged into one service are read as one mode everywhere, and shown as a conflict', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    await a.create('service', 'web', serviceSpec({ Mode: { Global: {} } }), author)
    await b.create('service', 'web', serviceSpec({ replicas: 3 }), author)
    await sync(a, b)
    const merged = a.byName('service', 'web')!
    expect(b.byName('service', 'web')).toEqual(merged)
    expect(merged.spec.Mode).toEqual({ Replicated: { Replicas: 3 } })
    expect(merged.conflicts).toContainEqual({
      path: '/Mode',
      winner: { Replicated: { Replicas: 3 } },
      losers: [{ value: { Global: {} }, author: undefined }],
    })
  })

  test('a change before the one it depends on is a gap, and nothing of it is kept', async () => {
    const { store: a } = await openSpecs()
    const { store: b } = await openSpecs()
    const first = await a.create('service', 'web', serviceSpec(), author)
    const second = await a.update(
      'service',
      first.resource.id,
      first.resource.versionIndex,
      scaled(first.resource, 2),
      author,
    )
    const empty = b.digest()
    expect(await b.receive(second.messages)).toEqual([{ kind: 'gap' }])
    expect(b.digest()).toEqual(empty)
    expect(await b.receive([...first.messages, ...second.messages, ...first.messages])).toEqual([
      { kind: 'applied' },
      { kind: 'applied' },
      { kind: 'known' },
    ])
    expect(b.digest()).toEqual(a.digest())
  })

  test('unchanged resources keep their identity, and the collection is replaced', async () => {
    const { store } = await openSpecs()
    const web = await store.create('service', 'web', serviceSpec(), author)
    const before = store.all('service')
    await store.create('service', 'api', serviceSpec(), author)
    expect(store.all('service')).not.toBe(before)
    expect(store.all('service').get(web.resource.id)).toBe(web.resource)
    expect(before.size).toBe(1)
    expect(store.all('service')).toBe(store.all('service'))
  })
})

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
    for (const store of [b, elsewhere, strict]) expect(store.byName('service', 'web')).toBeDefined()
    expect(await b.receive([removal])).toEqual([{ kind: 'applied' }])
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
