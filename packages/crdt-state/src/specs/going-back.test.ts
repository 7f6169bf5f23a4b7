import { describe, expect, test } from 'vitest'
import { updateFact } from '../document/effective.ts'
import { wayBack } from '../document/way-back.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { specDigest } from '../spec-digest.ts'
import type { Resource, SpecStore } from '../spec-store.ts'
import { author, deliver, openSpecs, scaled, serviceSpec, sync, withImage } from '../testing/spec-fixtures.ts'

const image = (service: Resource<ServiceSpec> | undefined): string | undefined =>
  service?.spec.TaskTemplate.ContainerSpec?.Image
const replicas = (service: Resource<ServiceSpec> | undefined): number | undefined =>
  service?.spec.Mode.Replicated?.Replicas
const web = (store: SpecStore): Resource<ServiceSpec> => store.byName('service', 'web')!

async function write(store: SpecStore, spec: ServiceSpec): Promise<Resource<ServiceSpec>> {
  const { id, versionIndex } = web(store)
  return (await store.update('service', id, versionIndex, spec, author)).resource
}

/** The steward's part: the update to what people wrote has failed. */
async function fail(store: SpecStore): Promise<void> {
  const service = web(store)
  const way = wayBack(store.history('service', service.id), service.spec, service.facts)
  if (way === undefined) throw new Error('there is nothing to go back to')
  const key = updateFact.failed(specDigest(service.spec))
  await store.addFact('service', service.id, key, { task: 'web.1.x', atMs: 5, ...way }, author)
}

async function complete(store: SpecStore): Promise<void> {
  const service = web(store)
  const key = updateFact.completed(specDigest(service.spec))
  await store.addFact('service', service.id, key, { atMs: 4 }, author)
}

/** A service that was updated to a bad image, and has gone back. */
async function goneBack(): Promise<Awaited<ReturnType<typeof openSpecs>>> {
  const opened = await openSpecs()
  await opened.store.create('service', 'web', serviceSpec({ replicas: 3 }), author)
  await write(opened.store, withImage(web(opened.store), 'bad'))
  await fail(opened.store)
  return opened
}

describe('an update that has failed', () => {
  test('leaves what ran before, without a spec before that, and says what failed; also after a restart', async () => {
    const opened = await goneBack()
    for (const store of [opened.store, (await opened.reopen()).store]) {
      const service = web(store)
      expect(service.spec).toEqual(serviceSpec({ replicas: 3 }))
      expect(service).toMatchObject({ rolledBack: true, previous: undefined, failure: { task: 'web.1.x' } })
    }
  })

  test('can be followed by a rollback to any spec that is named', async () => {
    const { store } = await goneBack()
    const { id, versionIndex } = web(store)
    const asked = withImage(web(store), 'older')
    const { resource } = await store.update('service', id, versionIndex, asked, author, 'rollback')
    expect([image(resource), resource.rolledBack, resource.failure]).toEqual(['older', true, undefined])
  })

  test('takes with it all that was written in that update, and nothing that was written later', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec({ replicas: 3, Labels: { a: '1' } }), author)
    await write(store, { ...withImage(web(store), 'bad'), Labels: { a: '2' } })
    await write(store, scaled(web(store), 7))
    await fail(store)
    expect([image(web(store)), web(store).spec.Labels, replicas(web(store))]).toEqual([
      'nginx:1',
      { a: '1' },
      7,
    ])
  })

  test('does not take with it what is written once all have gone back', async () => {
    const { store } = await goneBack()
    await write(store, scaled(web(store), 1))
    const { id, spec, facts } = web(store)
    expect(replicas(web(store))).toBe(1)
    expect(wayBack(store.history('service', id), spec, facts)).toBeUndefined()
  })

  test('goes back to the newest spec that is proven, over updates that a newer one overtook', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    await write(store, withImage(web(store), 'good'))
    await complete(store)
    await write(store, withImage(web(store), 'overtaken'))
    await write(store, withImage(web(store), 'bad'))
    await fail(store)
    expect(image(web(store))).toBe('good')
  })

  test('leaves how many there are to be as it is, unless it changed that itself', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec({ replicas: 3 }), author)
    await write(store, scaled(web(store), 0))
    await write(store, withImage(web(store), 'overtaken'))
    await write(store, scaled(web(store), 5))
    await write(store, withImage(web(store), 'bad'))
    await fail(store)
    expect([image(web(store)), replicas(web(store))]).toEqual(['nginx:1', 5])
    await write(store, { ...withImage(web(store), 'bad:2'), Mode: { Replicated: { Replicas: 9 } } })
    await fail(store)
    expect([image(web(store)), replicas(web(store))]).toEqual(['nginx:1', 5])
  })

  test('is settled by whoever writes on top of what was gone back to', async () => {
    const { store } = await goneBack()
    const service = await write(store, scaled(web(store), 5))
    expect([image(service), replicas(service)]).toEqual(['nginx:1', 5])
    expect(service).toMatchObject({ rolledBack: false })
    expect(service.failure).toBeUndefined()
  })

  test('is nothing to whoever fixes it meanwhile on another side: the fix wins, in whatever order they meet', async () => {
    for (const order of [0, 1]) {
      const [one, other] = [await openSpecs(), await openSpecs()]
      const { messages } = await one.store.create('service', 'web', serviceSpec(), author)
      await deliver(messages, other.store)
      await write(one.store, withImage(web(one.store), 'bad'))
      await sync(one.store, other.store)
      await fail(one.store)
      await write(other.store, withImage(web(other.store), 'fixed'))
      if (order === 0) await sync(one.store, other.store)
      else await sync(other.store, one.store)
      for (const { store } of [one, other]) {
        expect(image(web(store))).toBe('fixed')
        expect(web(store).failure).toBeUndefined()
      }
    }
  })

  test('and a scale on another side meanwhile both count', async () => {
    const [one, other] = [await openSpecs(), await openSpecs()]
    const { messages } = await one.store.create('service', 'web', serviceSpec({ replicas: 3 }), author)
    await deliver(messages, other.store)
    await write(one.store, {
      ...scaled(web(one.store), 4),
      TaskTemplate: withImage(web(one.store), 'bad').TaskTemplate,
    })
    await sync(one.store, other.store)
    await fail(one.store)
    await write(other.store, scaled(web(other.store), 9))
    await sync(one.store, other.store)
    for (const { store } of [one, other])
      expect([image(web(store)), replicas(web(store))]).toEqual(['nginx:1', 9])
  })

  test('is told to a client that had read the spec before: what it changed must not be what went back', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    const read = await write(store, withImage(web(store), 'bad'))
    await fail(store)
    const update = (spec: ServiceSpec) => store.update('service', read.id, read.versionIndex, spec, author)
    await expect(update(withImage(read, 'worse'))).rejects.toMatchObject({ code: 'ERR_STALE_VERSION' })
    const { resource } = await update(scaled(read, 6))
    expect([image(resource), replicas(resource)]).toEqual(['nginx:1', 6])
  })

  test('of a spec that two people made together undoes both', async () => {
    const [one, other] = [await openSpecs(), await openSpecs()]
    const { messages } = await one.store.create('service', 'web', serviceSpec(), author)
    await deliver(messages, other.store)
    await write(one.store, withImage(web(one.store), 'bad'))
    const { TaskTemplate } = web(other.store).spec
    await write(other.store, { ...web(other.store).spec, TaskTemplate: { ...TaskTemplate, ForceUpdate: 1 } })
    await sync(one.store, other.store)
    await fail(one.store)
    expect(web(one.store).spec).toEqual(serviceSpec())
  })

  test('of the first spec leads nowhere', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    const service = web(store)
    expect(wayBack(store.history('service', service.id), service.spec, service.facts)).toBeUndefined()
  })
})
