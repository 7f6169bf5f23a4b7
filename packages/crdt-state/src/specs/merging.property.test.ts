import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { generateIdentity } from '../identity.ts'
import { specKinds } from '../schema/kinds.ts'
import type { SpecKind, SpecOf } from '../schema/resources.ts'
import type { Author, SpecMessage, SpecStore, Tombstone } from '../spec-store.ts'
import { damaged, damages } from '../testing/damaged-bytes.ts'
import { author, openSpecs, overTheWire, serviceSpec } from '../testing/spec-fixtures.ts'
import type { Table } from '../storage.ts'

const replicas = 4
const at = fc.nat({ max: replicas - 1 })
const kind = fc.constantFrom('service' as const, 'network' as const)
const name = fc.constantFrom('web', 'api')
const value = fc.nat({ max: 3 })

/** What a person does at one replica, or what one replica gets of another. */
type Step =
  | {
      readonly kind: 'create' | 'edit' | 'remove' | 'restore' | 'fact'
      readonly at: number
      readonly of: 'service' | 'network'
      readonly name: string
      readonly value: number
    }
  | { readonly kind: 'merge'; readonly at: number; readonly from: number }
  | { readonly kind: 'restart'; readonly at: number }

const act = (kind: 'create' | 'edit' | 'remove' | 'restore' | 'fact'): fc.Arbitrary<Step> =>
  fc.record({ kind: fc.constant(kind), at, of: kindOf, name, value })
const kindOf = kind
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: act('create') },
  { weight: 5, arbitrary: act('edit') },
  { weight: 2, arbitrary: act('remove') },
  { weight: 1, arbitrary: act('restore') },
  { weight: 1, arbitrary: act('fact') },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('merge' as const), at, from: at }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), at }) },
)
const steps = fc.array(step, { minLength: 1, maxLength: 20 })

function specOf(kind: SpecKind, name: string, value: number): SpecOf[SpecKind] {
  if (kind === 'service') return serviceSpec({ Name: name, image: `image:${value}`, replicas: value })
  return {
    Name: name,
    Driver: value === 0 ? 'overlay' : 'bridge',
    Labels: value === 1 ? {} : { [`l${value}`]: String(value) },
    Options: {},
    Attachable: value === 2,
    Internal: false,
    Ingress: false,
    EnableIPv6: false,
  }
}

type Opened = Awaited<ReturnType<typeof openSpecs>>

async function take(step: Step, opened: Opened[], said: SpecMessage[]): Promise<void> {
  const { store } = opened[step.at]!
  if (step.kind === 'restart') {
    opened[step.at] = await opened[step.at]!.reopen()
    return
  }
  if (step.kind === 'merge') {
    await store.receive(overTheWire(wholeOf(opened[step.from]!.store)))
    return
  }
  const { of, name, value } = step
  const by: Author = { ...author, client: `client ${value}`, atMs: value }
  const resource = store.byName(of, name)
  if (step.kind === 'create' && resource === undefined) {
    said.push(...(await store.create(of, name, specOf(of, name, value) as never, by)).messages)
  } else if (step.kind === 'restore' && resource === undefined) {
    said.push(...((await store.restore(of, name, by).catch(() => undefined))?.messages ?? []))
  } else if (resource === undefined) return
  else if (step.kind === 'remove') said.push(...(await store.remove(of, resource.id, by)))
  else if (step.kind === 'fact') said.push(...(await store.addFact(of, resource.id, `f/${value}`, value, by)))
  else if (step.kind === 'edit') {
    const spec = specOf(of, name, value) as never
    said.push(...(await store.update(of, resource.id, resource.versionIndex, spec, by)).messages)
  }
}

async function happened(steps: readonly Step[]): Promise<{ opened: readonly Opened[]; said: SpecMessage[] }> {
  const opened = await Promise.all(Array.from({ length: replicas }, () => openSpecs()))
  const said: SpecMessage[] = []
  for (const one of steps) await take(one, opened, said)
  return { opened, said: overTheWire(said) }
}

const everyBucket = Array.from({ length: 256 }, (_, index) => index)
/** All that a replica has: whole documents and tombstones. */
function wholeOf(store: SpecStore): readonly SpecMessage[] {
  return store.diff(everyBucket, new Map()).send
}

/** A new replica that merged these, one after the other. */
async function merged(...from: readonly SpecStore[]): Promise<SpecStore> {
  const { store } = await openSpecs()
  for (const each of from) {
    for (const { kind } of await store.receive(overTheWire(wholeOf(each)))) {
      expect(['applied', 'known', 'removed']).toContain(kind)
    }
  }
  return store
}

/** All that a replica says of what it knows. */
function contents(store: SpecStore): unknown {
  const resources = specKinds.flatMap((kind) => [...store.all(kind).values()])
  return {
    digest: store.digest(),
    resources: new Map(resources.map((resource) => [resource.id, resource])),
    histories: new Map(resources.map(({ kind, id }) => [id, store.history(kind, id)])),
    tombstones: new Map(store.tombstones().map((one) => [`${one.kind}/${one.name}`, one])),
  }
}

function shuffled<T>(items: readonly T[], order: Iterator<number>): readonly T[] {
  return items
    .map((item) => ({ item, key: order.next().value ?? 0 }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

describe('merging replicas whose people created, edited, removed and restored the same names at once', () => {
  test('gives the same in any order and grouping, and once is as good as twice', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (steps, order) => {
        const { opened } = await happened(steps)
        const stores = opened.map(({ store }) => store)
        const [a, b, c, d] = stores as [SpecStore, SpecStore, SpecStore, SpecStore]
        const whole = contents(await merged(a, b, c, d))
        // Commutative.
        expect(contents(await merged(...shuffled(stores, order)))).toEqual(whole)
        // Associative.
        expect(contents(await merged(await merged(a, b), await merged(c, d)))).toEqual(whole)
        expect(contents(await merged(a, await merged(b, await merged(c, d))))).toEqual(whole)
        // Idempotent.
        expect(contents(await merged(a, a))).toEqual(contents(await merged(a)))
        expect(contents(await merged(...shuffled([...stores, ...stores], order)))).toEqual(whole)
        // And it is the same for a replica with a past of its own.
        for (const each of shuffled([b, c, d], order)) await a.receive(overTheWire(wholeOf(each)))
        expect(contents(a)).toEqual(whole)
      }),
      { numRuns: 8 },
    )
  })

  test('gives the same as hearing of each change, in any order and more than once', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (steps, order) => {
        const { opened, said } = await happened(steps)
        const { store } = await openSpecs()
        let open: readonly SpecMessage[] = shuffled([...said, ...said], order)
        for (let round = 0; round <= said.length && open.length > 0; round += 1) {
          const again: SpecMessage[] = []
          for (const message of shuffled(open, order)) {
            const [outcome] = await store.receive([message])
            expect(outcome?.kind).not.toBe('refused')
            if (outcome?.kind === 'gap') again.push(message)
          }
          open = again
        }
        expect(open).toEqual([])
        expect(contents(store)).toEqual(contents(await merged(...opened.map(({ store }) => store))))
      }),
      { numRuns: 15 },
    )
  })

  test('never brings back what was removed, nor loses what was created after it', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const { opened } = await happened(steps)
        const stores = opened.map(({ store }) => store)
        const all = await merged(...stores)
        const highest = new Map<string, Tombstone>()
        for (const tombstone of stores.flatMap((store) => store.tombstones())) {
          const key = `${tombstone.kind}/${tombstone.name}`
          if (tombstone.incarnation > (highest.get(key)?.incarnation ?? 0)) highest.set(key, tombstone)
        }
        for (const { kind, name, incarnation } of highest.values()) {
          expect(all.tombstone(kind, name)?.incarnation).toBe(incarnation)
          expect(all.byName(kind, name)?.incarnation ?? Infinity).toBeGreaterThan(incarnation)
        }
        for (const store of stores) {
          for (const { kind, name, incarnation } of specKinds.flatMap((kind) => [
            ...store.all(kind).values(),
          ])) {
            const isDead = incarnation <= (highest.get(`${kind}/${name}`)?.incarnation ?? 0)
            const kept = all.byName(kind, name)?.incarnation ?? 0
            expect(isDead || kept >= incarnation).toBe(true)
          }
        }
      }),
      { numRuns: 15 },
    )
  })

  test('gives the same again from the disk', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const { opened } = await happened(steps)
        const into = await openSpecs()
        for (const { store } of opened) {
          await into.store.receive(overTheWire(wholeOf(store)))
          const again = await into.reopen()
          expect(contents(again.store)).toEqual(contents(into.store))
          expect(again.store.damage()).toEqual([])
        }
      }),
      { numRuns: 8 },
    )
  })
})

describe('a disk whose rows do not say what was written', () => {
  const { identity } = generateIdentity()
  const tables: readonly Table[] = ['document', 'tombstone', 'graveyard']

  test('opens all the same: what cannot be read is left out, reported, and comes back with the next sync', async () => {
    const source = await openSpecs({ identity })
    for (const name of ['web', 'api', 'old']) {
      await source.store.create('service', name, serviceSpec({ Name: name }), author)
    }
    await source.store.remove('service', source.store.byName('service', 'old')!.id, author)
    const rows = tables.flatMap((table) => source.storage.list(table))
    expect(rows).toHaveLength(4)
    await fc.assert(
      fc.asyncProperty(fc.nat(), damages, fc.option(fc.uint8Array()), async (pick, by, noise) => {
        const into = await openSpecs({ identity })
        await into.storage.commit(rows.map((row) => ({ kind: 'put', ...row }) as const))
        const { table, key, bytes } = rows[pick % rows.length]!
        // Cut short, since a change that leaves the shape alone is what the row's checksum is for.
        const unreadable = noise ?? damaged(bytes, by).subarray(0, 40)
        await into.storage.commit([{ kind: 'put', table, key, bytes: unreadable }])
        const { store } = await into.reopen()
        expect(store.damage()).toMatchObject([{ what: `${table} ${key}`, healed: false }])
        await store.receive(overTheWire(wholeOf(source.store)))
        expect(contents(store)).toEqual(contents(source.store))
        expect(store.damage()).toMatchObject([{ healed: table !== 'graveyard' }])
      }),
      { numRuns: 30 },
    )
  })
})
