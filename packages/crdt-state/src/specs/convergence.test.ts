import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ServiceSpec } from '../schema/service.ts'
import type { SpecMessage, SpecStore } from '../spec-store.ts'
import { author, openSpecs, overTheWire, serviceSpec, sync } from '../testing/spec-fixtures.ts'

/** What one person does at one of three nodes, to one of two names. */
type Step =
  | { readonly kind: 'create' | 'remove' | 'restore'; readonly at: number; readonly name: string }
  | {
      readonly kind: 'edit'
      readonly at: number
      readonly name: string
      readonly field: string
      readonly value: number
    }
  | { readonly kind: 'fact'; readonly at: number; readonly name: string; readonly value: number }
  /** Some of what was said so far reaches a node, in an order of its own, some of it twice. */
  | { readonly kind: 'deliver'; readonly at: number; readonly picks: readonly number[] }

const nodes = 3
const at = fc.nat({ max: nodes - 1 })
const name = fc.constantFrom('web', 'api')
const value = fc.nat({ max: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('create' as const), at, name }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('remove' as const, 'restore' as const), at, name }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('edit' as const),
      at,
      name,
      field: fc.constantFrom('replicas', 'image', 'label', 'mode', 'update'),
      value,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fact' as const), at, name, value }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      at,
      picks: fc.array(fc.nat(), { maxLength: 8 }),
    }),
  },
)

function changed(spec: ServiceSpec, field: string, to: number): ServiceSpec {
  switch (field) {
    case 'replicas':
      return { ...spec, Mode: { Replicated: { Replicas: to } } }
    case 'mode':
      return { ...spec, Mode: to === 0 ? { Global: {} } : { Replicated: { Replicas: to } } }
    case 'label':
      return { ...spec, Labels: to === 0 ? {} : { ...spec.Labels, [`l/${to}`]: String(to) } }
    case 'update':
      return { ...spec, UpdateConfig: to === 0 ? undefined : { Parallelism: to } }
    default:
      return { ...spec, TaskTemplate: { ContainerSpec: { Image: `image:${to}` } } }
  }
}

async function take(step: Step, store: SpecStore, said: SpecMessage[]): Promise<void> {
  if (step.kind === 'deliver') {
    const picked = step.picks.flatMap((pick) => (said.length === 0 ? [] : [said[pick % said.length]!]))
    await store.receive(overTheWire(picked))
    return
  }
  const resource = store.byName('service', step.name)
  if (step.kind === 'create' && resource === undefined) {
    said.push(
      ...(await store.create('service', step.name, serviceSpec({ Name: step.name }), author)).messages,
    )
  } else if (step.kind === 'restore' && resource === undefined) {
    const restored = await store.restore('service', step.name, author).catch(() => undefined)
    said.push(...(restored?.messages ?? []))
  } else if (step.kind === 'remove' && resource !== undefined) {
    said.push(...(await store.remove('service', resource.id, author)))
  } else if (step.kind === 'edit' && resource !== undefined) {
    const spec = changed(resource.spec, step.field, step.value)
    said.push(...(await store.update('service', resource.id, resource.versionIndex, spec, author)).messages)
  } else if (step.kind === 'fact' && resource !== undefined) {
    said.push(...(await store.addFact('service', resource.id, `fact/${step.value}`, step.value, author)))
  }
}

async function run(steps: readonly Step[]): Promise<{ stores: readonly SpecStore[]; said: SpecMessage[] }> {
  const stores = await Promise.all(Array.from({ length: nodes }, async () => (await openSpecs()).store))
  const said: SpecMessage[] = []
  for (const one of steps) await take(one, stores[one.at]!, said)
  return { stores, said }
}

function contents(store: SpecStore): unknown {
  return {
    services: store.all('service'),
    tombstones: new Map(store.tombstones().map((tombstone) => [tombstone.name, tombstone])),
  }
}

async function syncAll(stores: readonly SpecStore[]): Promise<void> {
  for (let round = 0; round < 2 * nodes; round += 1) {
    for (const [index, store] of stores.entries()) await sync(store, stores[(index + 1) % stores.length]!)
  }
}

describe('three replicas that were apart', () => {
  test('agree after anti-entropy, whatever was said and lost meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { stores } = await run(steps)
        await syncAll(stores)
        const [first, ...others] = stores
        for (const other of others) {
          expect(other.digest()).toEqual(first!.digest())
          expect(contents(other)).toEqual(contents(first!))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('agree after all messages arrive in any order, twice and with repetitions, gaps asked for again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 20 }),
        fc.infiniteStream(fc.nat()),
        async (steps, order) => {
          const { stores, said } = await run(steps)
          for (const store of stores) {
            // A gap is asked for again until all came; there are no more rounds of gaps than messages.
            let open: readonly SpecMessage[] = said
            for (let round = 0; round <= said.length && open.length > 0; round += 1) {
              const keyed = open.map((message) => ({ message, key: order.next().value ?? 0 }))
              const shuffled = keyed.toSorted((a, b) => a.key - b.key).map(({ message }) => message)
              const outcomes = await store.receive(overTheWire(shuffled))
              open = shuffled.filter((_, index) => outcomes[index]?.kind === 'gap')
            }
            expect(open).toEqual([])
            const again = await store.receive(overTheWire(said))
            expect(again.every(({ kind }) => kind === 'known' || kind === 'removed')).toBe(true)
          }
          const [first, ...others] = stores
          for (const other of others) {
            expect(other.digest().root).toBe(first!.digest().root)
            expect(contents(other)).toEqual(contents(first!))
          }
        },
      ),
      { numRuns: 40 },
    )
  })

  test('agree with themselves after a restart', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
        const opened = await openSpecs()
        const said: SpecMessage[] = []
        for (const one of steps) await take(one, opened.store, said)
        const again = (await opened.reopen()).store
        expect(contents(again)).toEqual(contents(opened.store))
        expect(again.digest()).toEqual(opened.store.digest())
      }),
      { numRuns: 40 },
    )
  })
})

describe('what a peer may send', () => {
  const garbage = fc.oneof(
    fc.anything(),
    fc.record({
      type: fc.constantFrom('changes', 'tombstone', 'other'),
      kind: fc.oneof(fc.constant('service'), fc.anything()),
      name: fc.oneof(fc.constant('web'), fc.anything()),
      incarnation: fc.oneof(fc.constantFrom(1, 2), fc.anything()),
      changes: fc.oneof(fc.array(fc.base64String()), fc.anything()),
      document: fc.oneof(fc.base64String(), fc.anything()),
      tombstone: fc.anything(),
    }),
  )

  test('garbage is refused, throws nothing and changes nothing', async () => {
    const { store } = await openSpecs()
    const { resource } = await store.create('service', 'web', serviceSpec(), author)
    const before = store.digest()
    await fc.assert(
      fc.asyncProperty(fc.array(garbage, { maxLength: 5 }), async (messages) => {
        const outcomes = await store.receive(messages as SpecMessage[])
        // An empty list of changes is a message that says nothing new.
        for (const { kind } of outcomes) expect(['refused', 'known']).toContain(kind)
        expect(store.digest()).toBe(before)
        expect(store.byName('service', 'web')).toBe(resource)
      }),
      { numRuns: 300 },
    )
  })

  test('no bit of a message can flip without being noticed', async () => {
    const { store: a } = await openSpecs()
    const created = await a.create('service', 'web', serviceSpec(), author)
    const message = created.messages[0] as ChangesMessage
    const whole = a.fetch([created.resource.id])[0] as ChangesMessage
    const { store: b } = await openSpecs()
    const { changes: [change] = [], document } = { ...message, document: whole.document }
    const flipped = [
      ...everyFlip(change!).map((text) => ({ ...message, changes: [text] })),
      ...everyFlip(document!).map((text) => ({ ...whole, document: text })),
    ]
    expect(flipped.length).toBeGreaterThan(500)
    const outcomes = await b.receive(flipped)
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['refused']))
    expect(b.all('service').size).toBe(0)
    expect(await b.receive([message])).toEqual([{ kind: 'applied' }])
    expect(b.digest()).toEqual(a.digest())
  })
})

type ChangesMessage = Extract<SpecMessage, { readonly type: 'changes' }>

/** One bit of each byte; which one differs from byte to byte. */
function everyFlip(text: string): readonly string[] {
  const sound = Buffer.from(text, 'base64')
  return Array.from(sound, (byte, offset) => {
    const bytes = Buffer.from(sound)
    bytes[offset] = byte ^ (1 << (offset % 8))
    return bytes.toString('base64')
  })
}
