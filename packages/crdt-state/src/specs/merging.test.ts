import { describe, expect, test } from 'vitest'
import { author, deliver, openSpecs, scaled, serviceSpec, sync, withImage } from '../testing/spec-fixtures.ts'

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
