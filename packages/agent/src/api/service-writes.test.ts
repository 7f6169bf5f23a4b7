import {
  type NodeId,
  type Resource,
  type ServiceSpec,
  specDigest,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import { inject } from 'light-my-request'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from '../agent.testing.ts'
import { updateStatus } from '../core/reconcile/progress.ts'
import { defaults } from '../defaults.ts'
import { TaskRejectedError } from '../ports/engine.errors.ts'
import { createApiServer } from './server.ts'

interface Answer {
  readonly status: number
  readonly told: string
}

/** Whole agents, asked as Docker's clients ask: with the version that they read, which may be an older one by now. */
describe('a write with an older version', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  const web = (): Resource<ServiceSpec> => {
    const [found] = nth(0).agent.view().services.values()
    if (found === undefined) throw new Error('no service')
    return found
  }
  const image = (spec: ServiceSpec, Image: string): ServiceSpec => ({
    ...spec,
    TaskTemplate: { ...spec.TaskTemplate, ContainerSpec: { Image } },
  })
  const scaled = (spec: ServiceSpec, Replicas: number): ServiceSpec => ({
    ...spec,
    Mode: { Replicated: { Replicas } },
  })
  const stateOf = (): string | undefined =>
    updateStatus(nth(0).agent.view(), web(), nth(0).agent.liveness())?.State
  const tasksOf = (node: NodeId): readonly TaskEntry[] => [
    ...(nth(0).agent.view().records.get(node)?.tasks.values() ?? []),
  ]
  const running = (): readonly TaskEntry[] =>
    world.machines.flatMap(({ node }) => tasksOf(node)).filter(({ state }) => state === 'running')
  const ids = (tasks: readonly TaskEntry[]): readonly TaskId[] => tasks.map(({ id }) => id)
  async function begun(spec: ServiceSpec): Promise<void> {
    world = await World.of(2)
    await world.during(nth(0).agent.create('service', 'web', spec, author))
    await world.pass(20_000)
  }
  async function asked(path: string, body: unknown): Promise<Answer> {
    const { agent } = nth(0)
    const api = createApiServer({
      cluster: agent,
      enginePath: () => '/nonexistent/docker.sock',
      logger: pino({ level: 'silent' }),
      settings: defaults,
      agentVersion: '0.0.0',
      clock: world.clock,
    })
    const asking = inject((req, res) => void api.handle(req, res), {
      method: 'POST',
      url: path,
      payload: body as object,
    })
    const { statusCode, payload } = await world.during(Promise.resolve(asking))
    await api.close()
    return { status: statusCode, told: payload }
  }
  const write = (spec: ServiceSpec, { version = web().versionIndex, query = '' } = {}): Promise<Answer> =>
    asked(`/services/${web().id}/update?version=${version}${query}`, spec)
  /** To this image, until it is over. */
  async function updatedTo(name: string): Promise<void> {
    await write(image(web().spec, name))
    await world.until('the update is over', () =>
      ['completed', 'rollback_completed', 'paused'].includes(stateOf() ?? ''),
    )
    await world.pass(1_000)
  }

  it('that scales restarts nothing, although what it had read was well once', async () => {
    await begun(webSpec(4))
    await updatedTo('moot/test:2')
    const read = web()
    await updatedTo('moot/test:3')
    const before = ids(running())
    expect(await write(scaled(read.spec, 5), { version: read.versionIndex })).toMatchObject({ status: 200 })
    await world.runs(5)
    await world.pass(20_000)
    expect(web().spec).toEqual(scaled(image(read.spec, 'moot/test:3'), 5))
    expect(ids(running())).toEqual(expect.arrayContaining([...before]))
  })

  it('that scales restarts nothing, although what it had read has failed and was gone back from', async () => {
    await begun({ ...webSpec(4), UpdateConfig: { Parallelism: 1, FailureAction: 'rollback' } })
    const before = ids(running())
    const { id, versionIndex, spec } = web()
    const bad = image(spec, 'moot/missing:2')
    const { resource: read } = await world.during(
      nth(0).agent.update('service', id, versionIndex, bad, author),
    )
    expect(read.spec).toEqual(bad)
    await world.until('it goes back', () => stateOf() === 'rollback_completed')
    const kept = ids(running()).filter((id) => before.includes(id))
    expect(await write(scaled(read.spec, 5), { version: read.versionIndex })).toMatchObject({ status: 200 })
    await world.runs(5)
    await world.pass(20_000)
    expect(web().spec).toEqual(scaled(image(read.spec, 'moot/test:1'), 5))
    expect(ids(running())).toEqual(expect.arrayContaining(kept))
  })

  it('that asks for what has failed, on top of what somebody wrote meanwhile, has it tried again', async () => {
    await begun({ ...webSpec(2), UpdateConfig: { Parallelism: 1, FailureAction: 'rollback' } })
    await updatedTo('moot/missing:2')
    const read = web()
    await write(scaled(web().spec, 3))
    expect(await write(image(read.spec, 'moot/missing:2'), { version: read.versionIndex })).toMatchObject({
      status: 200,
    })
    const writes = nth(0)
      .agent.history('service', web().id)
      .filter(({ action }) => action === 'update')
    expect(writes.at(-1)?.spec).toMatchObject({
      TaskTemplate: { ContainerSpec: { Image: 'moot/missing:2' }, ForceUpdate: 1 },
      Mode: { Replicated: { Replicas: 3 } },
    })
  })

  it('from before a paused update lets that go on', async () => {
    await begun({ ...webSpec(2), UpdateConfig: { Parallelism: 1, FailureAction: 'pause' } })
    const read = web()
    const first = world.machines.find(({ node }) => tasksOf(node).some(({ slot }) => slot === 1))
    first?.engine.failNext('prepare', new TaskRejectedError('no such image'))
    await updatedTo('moot/test:2')
    expect(stateOf()).toBe('paused')
    expect(await write(scaled(read.spec, 3), { version: read.versionIndex })).toMatchObject({ status: 200 })
    await world.runs(3)
    await world.pass(60_000)
    // Over, and written again since.
    expect(stateOf()).toBeUndefined()
    expect(new Set(running().map(({ digest }) => digest))).toEqual(new Set([specDigest(web().spec)]))
    expect(web().spec).toEqual(scaled(image(read.spec, 'moot/test:2'), 3))
  })

  it('that rolls back is refused where the service is another by now, and nothing else is', async () => {
    await begun(webSpec(2))
    await updatedTo('moot/test:2')
    const read = web()
    await updatedTo('moot/test:3')
    const query = '&rollback=previous'
    expect(await write(read.spec, { version: read.versionIndex, query })).toEqual({
      status: 500,
      told: expect.stringContaining('update out of sequence'),
    })
    expect(web().spec).toEqual(image(read.spec, 'moot/test:3'))
    const { versionIndex: version, spec, id } = web()
    await world.during(nth(1).agent.addFacts('service', id, new Map([['some/fact', true]]), author))
    await world.until('the version is another', () => web().versionIndex !== version)
    expect(await write(spec, { version, query })).toMatchObject({ status: 200 })
    expect(web().spec).toEqual(read.spec)
  })
})
