import {
  generateIdentity,
  memoryStorage,
  openSpecStore,
  releaseLabel,
  type ServiceId,
  type ServiceSpec,
  specDigest,
  type SpecStore,
} from '@moot/crdt-state'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { author, webSpec } from './agent.testing.ts'
import type { Conclusion } from './core/reconcile/input.ts'
import { createConcluder } from './update-conclusions.ts'

interface Bed {
  readonly specs: SpecStore
  readonly id: ServiceId
  readonly reads: () => number
  readonly service: () => NonNullable<ReturnType<typeof shown>>
  readonly write: (spec: ServiceSpec) => Promise<unknown>
  /** Resolves when it is written, or was found to be hopeless. */
  readonly conclude: (outcome: Conclusion['outcome']) => Promise<void>
}

const shown = (specs: SpecStore, id: ServiceId) => specs.get('service', id)

async function bed(first: ServiceSpec): Promise<Bed> {
  const specs = await openSpecStore({
    storage: memoryStorage(),
    identity: generateIdentity().identity,
    clusterId: 'test',
    newActor: () => '1'.padStart(32, '0'),
  })
  const { resource } = await specs.create('service', 'web', first, author)
  const id = resource.id as string as ServiceId
  let reads = 0
  const conclude = createConcluder({
    self: 'node1',
    specs: {
      get: specs.get.bind(specs),
      addFact: specs.addFact.bind(specs),
      history(kind, of) {
        reads += 1
        return specs.history(kind, of)
      },
    },
    commit: () => Promise.resolve(),
    wallMs: () => 7,
    logger: pino({ level: 'silent' }),
  })
  const service = () => shown(specs, id)!
  return {
    specs,
    id,
    reads: () => reads,
    service,
    write: (spec) => specs.update('service', id, service().versionIndex, spec, author),
    async conclude(outcome) {
      conclude({ service: id, digest: specDigest(service().spec), outcome })
      // The store's operations run one after the other: what was asked before is done by then.
      await specs.receive([])
      await specs.receive([])
    },
  }
}

const image = ({ service }: Bed): string => service().spec.TaskTemplate.ContainerSpec.Image
const released = (spec: ServiceSpec, id: string): ServiceSpec => ({ ...spec, Labels: { [releaseLabel]: id } })
const withRelease: Conclusion['outcome'] = {
  kind: 'failed',
  task: 't1',
  release: { id: '2-b', service: 'api', undone: ['2-b'] },
}

describe('what became of a release', () => {
  test('is written beside the service that goes back with it, with whose failure it was', async () => {
    const web = await bed(webSpec(1, 'web:1'))
    await web.write(released(webSpec(1, 'web:2'), '2-b'))
    await web.conclude({ kind: 'completed' })
    await web.conclude(withRelease)
    expect(image(web)).toBe('web:1')
    expect(web.service().failure).toMatchObject({
      task: 't1',
      atMs: 7,
      release: { id: '2-b', service: 'api' },
    })
  })

  test('is looked for in the history once where there is nothing to go back to; its own failure still counts', async () => {
    const web = await bed(webSpec(1, 'web:1'))
    await web.write(released(webSpec(1, 'web:2'), '2-b'))
    await web.write(released(webSpec(1, 'web:mine'), '2-b'))
    for (let each = 0; each < 5; each += 1) await web.conclude(withRelease)
    expect([image(web), web.reads()]).toEqual(['web:mine', 1])
    await web.conclude({ kind: 'failed', task: 't2' })
    expect([image(web), web.service().failure?.releases]).toEqual(['web:1', ['2-b']])
  })
})

test('that a slot is exclusive no more is written for each slot, and once', async () => {
  const web = await bed(webSpec(2, 'web:1'))
  for (const slot of [1, 2, 1]) await web.conclude({ kind: 'loosened', slot, term: 9 })
  expect([...web.service().facts.keys()].sort()).toEqual(['loosened/1/9', 'loosened/2/9'])
  expect(web.specs.history('service', web.service().id).length).toBe(3)
})
