import { generateIdentity, memoryStorage, openSpecStore, specDigest, type SpecStore } from '@moot/crdt-state'
import type { ServiceId, ServiceSpec, SpecDigest } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { author, webSpec } from './agent.testing.ts'
import { createSpecHistory } from './spec-history.ts'

let actors = 0
const store = (): Promise<SpecStore> =>
  openSpecStore({
    storage: memoryStorage(),
    identity: generateIdentity().identity,
    clusterId: 'test',
    newActor: () => String((actors += 1)).padStart(32, '0'),
  })
const withCommand = (spec: ServiceSpec, ...command: string[]): ServiceSpec => ({
  ...spec,
  TaskTemplate: {
    ...spec.TaskTemplate,
    ContainerSpec: { ...spec.TaskTemplate.ContainerSpec, Command: command },
  },
})

describe('the history of specs', () => {
  it('gives back an older spec of a service', async () => {
    const specs = await store()
    const { specAt } = createSpecHistory(specs)
    const { resource } = await specs.create('service', 'web', webSpec(1), author)
    await specs.update('service', resource.id, resource.versionIndex, webSpec(1, 'moot/test:2'), author)
    const id = resource.id as string as ServiceId
    expect(specAt(id, specDigest(webSpec(1)))).toEqual(webSpec(1))
  })

  it('gives back what two people made together, which neither of them saw', async () => {
    const [one, other] = [await store(), await store()]
    const { specAt, remember } = createSpecHistory(one)
    one.subscribe(({ kind, after }) => {
      if (kind === 'service' && after !== undefined) remember(after as never)
    })
    const created = await one.create('service', 'web', webSpec(1), author)
    await other.receive(created.messages)
    const { id, versionIndex } = created.resource
    await one.update('service', id, versionIndex, webSpec(1, 'moot/test:2'), author)
    const edit = await other.update('service', id, versionIndex, withCommand(webSpec(1), 'sleep'), author)
    await one.receive(edit.messages)
    const merged = withCommand(webSpec(1, 'moot/test:2'), 'sleep')
    const now = one.get('service', id)
    expect(now?.spec).toEqual(merged)
    await one.update('service', id, now?.versionIndex ?? 0, webSpec(1, 'moot/test:3'), author)
    expect(specAt(id as string as ServiceId, specDigest(merged))).toEqual(merged)
  })

  it('reads a history once for what is not in it, and again after the service changed', async () => {
    const specs = await store()
    let reads = 0
    const { specAt } = createSpecHistory({
      get: specs.get.bind(specs),
      history(kind, id) {
        reads += 1
        return specs.history(kind, id)
      },
    })
    const { resource } = await specs.create('service', 'web', webSpec(1), author)
    const id = resource.id as string as ServiceId
    const unknown = 'f'.repeat(24) as SpecDigest
    for (let each = 0; each < 100; each += 1) expect(specAt(id, unknown)).toBeUndefined()
    expect(reads).toBe(1)
    await specs.update('service', resource.id, resource.versionIndex, webSpec(2), author)
    specAt(id, unknown)
    expect(reads).toBe(2)
  })
})
