import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { updateFact } from '../document/effective.ts'
import { wayBack } from '../document/way-back.ts'
import { specDigest } from '../spec-digest.ts'
import { isExclusive, lastExclusive, partitionFact, partitionLabel } from '../partition.ts'
import type { SpecMessage, SpecStore } from '../spec-store.ts'
import { author, openSpecs, overTheWire, serviceSpec, sync } from '../testing/spec-fixtures.ts'

const labelled = (value: string | undefined) =>
  serviceSpec({ Labels: value === undefined ? {} : { [partitionLabel]: value } })
const now = (store: SpecStore) => store.byName('service', 'web')!
const say = async (store: SpecStore, value: string | undefined): Promise<readonly SpecMessage[]> => {
  const { id, versionIndex, spec } = now(store)
  const { [partitionLabel]: _, ...others } = spec.Labels
  const Labels = value === undefined ? others : { ...others, [partitionLabel]: value }
  return (await store.update('service', id, versionIndex, { ...spec, Labels }, author)).messages
}

describe('what a document tells of its partition label', () => {
  test('nothing, where nobody has ever set it', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    await store.update(
      'service',
      now(store).id,
      now(store).versionIndex,
      serviceSpec({ replicas: 2 }),
      author,
    )
    expect(now(store).partition).toBeUndefined()
    expect(lastExclusive(now(store))).toBeUndefined()
  })

  test('each change of it counts, and no change of anything else; what was exclusive once stays so', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', labelled('available'), author)
    expect(now(store).partition).toEqual({ changes: 1, wasExclusive: false })
    await say(store, 'exclusive')
    const { id, versionIndex, spec } = now(store)
    const scaled = { ...spec, Mode: { Replicated: { Replicas: 3 } } }
    await store.update('service', id, versionIndex, scaled, author)
    await store.addFact('service', id, partitionFact.loosened(1, 7), {}, author)
    expect(now(store).partition).toEqual({ changes: 2, wasExclusive: true })
    await say(store, undefined)
    expect(isExclusive(now(store).spec)).toBe(false)
    expect(now(store).partition).toEqual({ changes: 3, wasExclusive: true })
  })

  test('is read anew from the disk, and the same', async () => {
    const opened = await openSpecs()
    await opened.store.create('service', 'web', labelled('exclusive'), author)
    const { store } = await opened.reopen()
    expect(now(store).partition).toEqual({ changes: 1, wasExclusive: true })
  })

  test('a failed update that goes back does not touch it', async () => {
    const { store } = await openSpecs()
    await store.create('service', 'web', serviceSpec(), author)
    const { id, versionIndex, spec } = now(store)
    const asked = serviceSpec({ image: 'bad', Labels: { [partitionLabel]: 'exclusive' } })
    await store.update('service', id, versionIndex, asked, author)
    const way = wayBack(store.history('service', id), now(store).spec, now(store).facts)
    const failure = { task: 't', atMs: 1, back: way!.back }
    await store.addFact('service', id, updateFact.failed(specDigest(now(store).spec)), failure, author)
    expect(now(store).spec.TaskTemplate).toEqual(spec.TaskTemplate)
    expect(isExclusive(now(store).spec)).toBe(true)
  })
})

describe('a name that is removed and created anew', () => {
  test('is known to have been exclusive, also by who never saw the older one, over any number of removals', async () => {
    const [here, there] = [(await openSpecs()).store, (await openSpecs()).store]
    await here.create('service', 'web', labelled('exclusive'), author)
    await say(here, undefined)
    await here.remove('service', now(here).id, author)
    const created = await here.create('service', 'web', serviceSpec(), author)
    await there.receive(overTheWire(created.messages))
    expect(now(there)).toMatchObject({ incarnation: 2 })
    expect(now(there).partition).toBeUndefined()
    expect(lastExclusive(now(there))).toBe(1)
    await here.remove('service', now(here).id, author)
    await sync(there, here)
    await there.restore('service', 'web', author)
    await sync(here, there)
    expect([lastExclusive(now(here)), now(here).incarnation]).toEqual([1, 3])
  })

  test('and tells of the last incarnation that was', async () => {
    const { store } = await openSpecs()
    for (const value of ['exclusive', undefined, 'exclusive', 'available']) {
      await store.create('service', 'web', labelled(value), author)
      await store.remove('service', now(store).id, author)
    }
    await store.create('service', 'web', serviceSpec(), author)
    expect([lastExclusive(now(store)), now(store).incarnation]).toEqual([3, 5])
  })
})

test('whoever knows more has seen at least as many changes; whoever knows the same, the same', async () => {
  const value = fc.constantFrom('exclusive', 'available', undefined)
  const step = fc.oneof(
    fc.record({ at: fc.nat({ max: 2 }), value }),
    fc.record({ at: fc.nat({ max: 2 }), pick: fc.nat() }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const opened = await Promise.all([openSpecs(), openSpecs(), openSpecs()])
      const stores = opened.map(({ store }) => store)
      const said: SpecMessage[] = []
      said.push(...(await stores[0]!.create('service', 'web', serviceSpec(), author)).messages)
      for (const store of stores.slice(1)) await store.receive(overTheWire(said))
      for (const one of steps) {
        const store = stores[one.at]!
        const before = now(store).partition
        if ('pick' in one) await store.receive(overTheWire([said[one.pick % said.length]!]))
        else said.push(...(await say(store, one.value)))
        const after = now(store).partition
        expect(after?.changes ?? 0).toBeGreaterThanOrEqual(before?.changes ?? 0)
        expect(after?.wasExclusive ?? false).toBe(
          (after?.wasExclusive ?? false) || (before?.wasExclusive ?? false),
        )
        expect(isExclusive(now(store).spec) && after?.wasExclusive !== true).toBe(false)
      }
      for (let round = 0; round < 3; round += 1)
        for (const from of stores) for (const to of stores) await sync(from, to)
      const [first, ...others] = stores.map((store) => now(store))
      for (const other of others) {
        expect(other.partition).toEqual(first!.partition)
        expect(isExclusive(other.spec)).toBe(isExclusive(first!.spec))
      }
    }),
    { numRuns: 60 },
  )
})
