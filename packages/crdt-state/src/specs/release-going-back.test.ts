import { describe, expect, test } from 'vitest'
import { updateFact } from '../document/effective.ts'
import { wayBack, wayBackWithRelease } from '../document/way-back.ts'
import { releaseLabel, releaseNumber } from '../release.ts'
import type { ServiceSpec } from '../schema/service.ts'
import { specDigest } from '../spec-digest.ts'
import type { Resource, SpecStore } from '../spec-store.ts'
import { author, openSpecs, scaled, serviceSpec, sync, withImage } from '../testing/spec-fixtures.ts'

const web = (store: SpecStore): Resource<ServiceSpec> => store.byName('service', 'web')!
const image = (store: SpecStore): string => web(store).spec.TaskTemplate.ContainerSpec.Image
const replicas = (store: SpecStore): number | undefined => web(store).spec.Mode.Replicated?.Replicas
const release = (store: SpecStore): string | undefined => web(store).spec.Labels[releaseLabel]

async function write(
  store: SpecStore,
  spec: ServiceSpec,
  action: 'update' | 'rollback' = 'update',
): Promise<void> {
  const { id, versionIndex } = web(store)
  await store.update('service', id, versionIndex, spec, author, action)
}

/** As `moot deploy` writes it. */
function released(store: SpecStore, id: string, spec: ServiceSpec): Promise<void> {
  return write(store, { ...spec, Labels: { ...spec.Labels, [releaseLabel]: id } })
}

async function complete(store: SpecStore): Promise<void> {
  const key = updateFact.completed(specDigest(web(store).spec))
  await store.addFact('service', web(store).id, key, { atMs: 4 }, author)
}

/** What the steward writes when another service of the release has failed. Was there anything to go back to? */
async function goBack(store: SpecStore, ...undone: readonly string[]): Promise<boolean> {
  const { id, spec, facts } = web(store)
  const back = wayBackWithRelease(store.history('service', id), spec, facts, new Set(undone))
  if (back === undefined) return false
  const key = updateFact.failedWith(specDigest(spec), release(store) ?? '')
  const value = { task: 'api.1.x', atMs: 5, back, release: { id: release(store) ?? '', service: 'api' } }
  await store.addFact('service', id, key, value, author)
  return true
}

async function fail(store: SpecStore): Promise<readonly string[]> {
  const { id, spec, facts } = web(store)
  const way = wayBack(store.history('service', id), spec, facts)
  if (way === undefined) throw new Error('there is nothing to go back to')
  const key = updateFact.failed(specDigest(spec))
  await store.addFact('service', id, key, { task: 'web.1.x', atMs: 5, ...way }, author)
  return way.releases
}

async function created(): Promise<SpecStore> {
  const { store } = await openSpecs()
  await store.create('service', 'web', serviceSpec({ replicas: 2, image: 'web:1' }), author)
  return store
}

describe('a service whose release goes back', () => {
  test('goes back to what was before it, completed or not', async () => {
    for (const isCompleted of [true, false]) {
      const store = await created()
      await released(store, '1-a', withImage(web(store), 'web:2'))
      if (isCompleted) await complete(store)
      expect(await goBack(store, '1-a')).toBe(true)
      expect([image(store), release(store)]).toEqual(['web:1', undefined])
      expect(web(store)).toMatchObject({
        rolledBack: true,
        previous: undefined,
        failure: { task: 'api.1.x', release: { id: '1-a', service: 'api' } },
      })
    }
  })

  test('gives back a change that restarts nothing too, and is left alone by it ever after', async () => {
    const store = await created()
    await released(store, '1-a', scaled(web(store), 5))
    await goBack(store, '1-a')
    expect(replicas(store)).toBe(2)
    await write(store, scaled(web(store), 5))
    expect([replicas(store), web(store).failure]).toEqual([5, undefined])
  })

  test('is updated again by a later release that asks for the same', async () => {
    const store = await created()
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await goBack(store, '1-a')
    await released(store, '2-b', withImage(web(store), 'web:2'))
    expect([image(store), web(store).failure]).toEqual(['web:2', undefined])
  })

  test('goes back over all the releases of which none was completed', async () => {
    const store = await created()
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await released(store, '2-b', withImage(web(store), 'web:3'))
    await goBack(store, '1-a', '2-b')
    expect(image(store)).toBe('web:1')
  })

  test('goes back to what a person had made of it before', async () => {
    const store = await created()
    await write(store, withImage(web(store), 'web:mine'))
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await goBack(store, '1-a')
    expect(image(store)).toBe('web:mine')
  })

  test('goes back to what was in force before, where the update before had failed', async () => {
    const store = await created()
    await write(store, withImage(web(store), 'web:bad'))
    await fail(store)
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await goBack(store, '1-a')
    expect(image(store)).toBe('web:1')
  })

  test('keeps a scale that came after', async () => {
    const store = await created()
    await released(store, '1-a', { ...scaled(web(store), 3), ...withImage(web(store), 'web:2') })
    await write(store, scaled(web(store), 7))
    await goBack(store, '1-a')
    expect([image(store), replicas(store)]).toEqual(['web:1', 7])
  })

  test('stays where it was created by it, changed by a person since, released anew, or rolled back by hand', async () => {
    const fresh = (await openSpecs()).store
    await fresh.create('service', 'web', serviceSpec({ Labels: { [releaseLabel]: '1-a' } }), author)
    expect(await goBack(fresh, '1-a')).toBe(false)

    const changed = await created()
    await released(changed, '1-a', withImage(web(changed), 'web:2'))
    await write(changed, withImage(web(changed), 'web:mine'))
    expect(await goBack(changed, '1-a')).toBe(false)

    const anew = await created()
    await released(anew, '1-a', withImage(web(anew), 'web:2'))
    await released(anew, '2-b', withImage(web(anew), 'web:3'))
    expect(await goBack(anew, '1-a')).toBe(false)

    const back = await created()
    await released(back, '1-a', withImage(web(back), 'web:2'))
    await released(back, '2-b', withImage(web(back), 'web:3'))
    await write(back, web(back).previous!, 'rollback')
    expect(release(back)).toBe('1-a')
    expect(await goBack(back, '1-a')).toBe(false)
  })

  test('is nothing to whoever changes it on another side meanwhile, in whatever order they meet', async () => {
    for (const order of [0, 1]) {
      const [one, other] = [await created(), (await openSpecs()).store]
      await released(one, '1-a', withImage(web(one), 'web:2'))
      await sync(other, one)
      await goBack(one, '1-a')
      await write(other, withImage(web(other), 'web:fixed'))
      if (order === 0) await sync(one, other)
      else await sync(other, one)
      for (const store of [one, other]) {
        expect([image(store), web(store).failure]).toEqual(['web:fixed', undefined])
      }
    }
  })

  test('is no place for a later failure to go back to, though its own update was completed', async () => {
    const store = await created()
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await complete(store)
    await goBack(store, '1-a')
    await write(store, withImage(web(store), 'web:bad'))
    await fail(store)
    expect(image(store)).toBe('web:1')
  })
})

describe('a failure undoes', () => {
  test('the releases that have written the service since what it goes back to', async () => {
    const store = await created()
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await complete(store)
    await released(store, '2-b', withImage(web(store), 'web:3'))
    await released(store, '3-c', withImage(web(store), 'web:bad'))
    expect(await fail(store)).toEqual(['2-b', '3-c'])
    expect(image(store)).toBe('web:2')
  })

  test('no release where a person’s own change on top of one has failed', async () => {
    const store = await created()
    await released(store, '1-a', withImage(web(store), 'web:2'))
    await complete(store)
    await write(store, withImage(web(store), 'web:bad'))
    expect(await fail(store)).toEqual([])
  })
})

describe('the history', () => {
  test('numbers writes so that what comes later, or from another side, renumbers nothing', async () => {
    const [one, other] = [await created(), (await openSpecs()).store]
    await write(one, withImage(web(one), 'web:2'))
    await complete(one)
    await sync(other, one)
    await write(one, withImage(web(one), 'web:3'))
    await write(one, withImage(web(one), 'web:4'))
    await write(other, scaled(web(other), 9))
    const numbers = (store: SpecStore): readonly (readonly [number, string])[] =>
      store.history('service', web(store).id).map(({ number, heads }) => [number, String(heads)] as const)
    const [before, apart] = [numbers(one), numbers(other)]
    expect(before.map(([number]) => number)).toEqual([1, 2, 2, 3, 4])
    await sync(one, other)
    expect(numbers(one)).toEqual(expect.arrayContaining([...before, ...apart]))
    await write(one, scaled(web(one), 3))
    expect(numbers(one).at(-1)?.[0]).toBe(5)
  })

  test('shows as previous what was in force, not what had failed', async () => {
    const store = await created()
    await write(store, withImage(web(store), 'web:bad'))
    await fail(store)
    await write(store, withImage(web(store), 'web:2'))
    expect(web(store).previous?.TaskTemplate.ContainerSpec.Image).toBe('web:1')
    await write(store, web(store).previous!, 'rollback')
    expect([image(store), web(store).failure]).toEqual(['web:1', undefined])
  })

  test('a release id tells its number', () => {
    expect(['7-k3f9', 'x', undefined].map(releaseNumber)).toEqual([7, 0, 0])
  })
})
