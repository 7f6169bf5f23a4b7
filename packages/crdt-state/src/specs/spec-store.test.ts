import { describe, expect, test } from 'vitest'
import { resourceId } from '../hash.ts'
import type { SpecChange } from '../spec-store.ts'
import { author, openSpecs, scaled, serviceSpec } from '../testing/spec-fixtures.ts'

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
