import { describe, expect, test } from 'vitest'
import type { ServiceSpec } from '../schema/service.ts'
import { author, deliver, openSpecs, scaled, serviceSpec, withImage } from '../testing/spec-fixtures.ts'

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

  test('whoever revises a stale update is asked about what it makes of the spec as it is now', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const { id, versionIndex } = resource
    const { resource: current } = await store.update(
      'service',
      id,
      versionIndex,
      withImage(resource, 'nginx:2'),
      author,
    )
    const asked: unknown[] = []
    const labelled = (by: unknown, merged: ServiceSpec): ServiceSpec => {
      asked.push([by, merged])
      return { ...merged, Labels: { revised: 'yes' } }
    }
    const write = (spec: ServiceSpec): ReturnType<typeof store.update<'service'>> =>
      store.update('service', id, versionIndex, spec, author, 'update', labelled)
    const written = await write(scaled(resource, 5))
    const merged = serviceSpec({ image: 'nginx:2', replicas: 5 })
    expect(asked).toEqual([[current, merged]])
    expect(written.resource.spec).toEqual({ ...merged, Labels: { revised: 'yes' } })
    // Nothing is left to write.
    expect((await write(withImage(resource, 'nginx:2'))).messages).toEqual([])
    expect(asked).toHaveLength(1)
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

  test('a rollback of what is no longer there is refused, and one that only a fact came before is not', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const { id } = resource
    const update = (
      from: typeof resource,
      spec: ServiceSpec,
      action?: 'rollback',
    ): Promise<typeof resource> =>
      store.update('service', id, from.versionIndex, spec, author, action).then((written) => written.resource)
    const second = await update(resource, withImage(resource, 'nginx:2'))
    const stale = expect.objectContaining({ code: 'ERR_STALE_VERSION' })
    for (const change of [scaled(second, 4), withImage(second, 'nginx:3')]) {
      const third = await update(second, change)
      await expect(update(second, third.previous!, 'rollback')).rejects.toEqual(stale)
      expect(store.get('service', id)).toBe(third)
      await update(third, second.spec)
    }
    await update(store.get('service', id)!, withImage(resource, 'nginx:4'))
    const seen = store.get('service', id)!
    await store.addFact('service', id, 'completed/x', true, author)
    const back = await update(seen, seen.previous!, 'rollback')
    expect(back).toMatchObject({ spec: second.spec, rolledBack: true })
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
