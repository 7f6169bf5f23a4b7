import type { TaskEntry } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import type { Shape } from './acts.ts'
import { fault } from './faults.ts'
import { People } from './people.ts'
import { Promises } from './promises.ts'
import { Watchers } from './watchers.ts'
import type { TaskRow } from './rows.ts'
import { World } from './world.ts'

/** Probes by label, and what is done about ill health, each by itself on whole clusters. */

const shape: Shape = {
  image: 'web:1',
  global: false,
  replicas: 6,
  checked: false,
  probed: ['ready', 'live'],
  parallelism: 1,
  order: 'stop-first',
  onFailure: 'pause',
}

interface Stage {
  readonly world: World
  readonly people: People
  /** Of the newest tasks, by slot: as every host's record of itself says. */
  readonly tasks: () => readonly TaskEntry[]
  readonly rows: () => Promise<readonly TaskRow[]>
  readonly wrong: () => Promise<readonly string[]>
  /** Slots in which containers were made since this was asked. */
  readonly made: () => () => ReadonlySet<TaskEntry['slot']>
}

async function running(seed: number, given: Partial<Shape> = {}): Promise<Stage> {
  const world = await World.of({ seed, hosts: 4 })
  const people = new People(world)
  const promises = new Promises(world, people)
  const watchers = new Watchers(world, { wholeNetwork: true })
  await world.during(
    people.say({ kind: 'deploy', atMs: 0, via: seed, service: 'web', shape: { ...shape, ...given } }),
  )
  await world.pass(15_000)
  const tasks = (): readonly TaskEntry[] =>
    world.hosts
      .flatMap(({ agent, node }) => [...(agent?.view().records.get(node)?.tasks.values() ?? [])])
      .filter(({ desired }) => desired === 'running' || desired === 'ready')
      .toSorted((a, b) => Number(a.slot) - Number(b.slot))
  return {
    world,
    people,
    tasks,
    rows: async () => (await world.during(world.host(0).ask('GET', '/tasks')))?.body as readonly TaskRow[],
    wrong: async () => [...(await promises.broken()), ...people.violations, ...watchers.violations],
    made() {
      const slots = new Set<TaskEntry['slot']>()
      world.onContainer((_host, { task }, { state }) => {
        if (state === 'created') slots.add(task.slot)
      })
      return () => slots
    },
  }
}

/** The most slots of the service that had no container which runs and is well, at any moment from now on. */
function mostDown({ world }: Stage, replicas: number): () => number {
  let most = 0
  const look = (): void => {
    const up = new Set(
      world.hosts
        .flatMap(({ engine }) => engine.containers())
        .filter(({ observation: { state } }) => state === 'running')
        .map(({ setup }) => setup.task.slot),
    )
    most = Math.max(most, replicas - up.size)
  }
  world.onContainer(look)
  return () => most
}

const seeds = [1, 2, 3]
describe.each(seeds)('with seed %i', (seed) => {
  test('a task runs once it is ready, and what is ready costs no message', async () => {
    const stage = await running(seed)
    expect(stage.tasks().map(({ state }) => state)).toEqual(Array.from({ length: 6 }, () => 'running'))
    expect(await stage.wrong()).toEqual([])
  })

  test('who loses its readiness runs on, says why, and is ready again by itself', async () => {
    const stage = await running(seed)
    const made = stage.made()
    const [first] = stage.tasks()
    const mend = stage.world.listeners.break(first!.id, ['ready'])
    await stage.world.pass(4_000)
    expect(stage.tasks()[0]).toMatchObject({ state: 'running', unready: { why: expect.any(String) } })
    expect(stage.tasks().filter(({ unready }) => unready !== undefined)).toHaveLength(1)
    const row = (await stage.rows()).find(({ ID }) => ID === first!.id)
    expect(row?.Status).toMatchObject({ State: 'running', Err: 'readiness: GET :8080/ready → 503' })
    mend()
    await stage.world.pass(2_000)
    expect(stage.tasks()[0]?.unready).toBeUndefined()
    expect([...made()]).toEqual([])
    expect(await stage.wrong()).toEqual([])
  })

  test('one task that is not alive any more is stopped as ill, and another takes its place', async () => {
    const stage = await running(seed)
    const [first] = stage.tasks()
    stage.world.listeners.break(first!.id, ['live'])
    const made = stage.made()
    await stage.world.pass(12_000)
    expect(made().size).toBe(1)
    const old = (await stage.rows()).find(({ ID }) => ID === first!.id)
    expect(old?.Status).toMatchObject({
      State: 'failed',
      Err: 'unhealthy container: liveness: GET :8080/live → 503',
    })
    expect(await stage.wrong()).toEqual([])
  })

  test.each([
    { by: 'its probes', given: {}, parallelism: 1 },
    { by: 'its probes', given: { parallelism: 2 }, parallelism: 2 },
    { by: 'Docker’s health check', given: { probed: [], checked: true }, parallelism: 1 },
    { by: 'Docker’s health check', given: { probed: [], checked: true, parallelism: 3 }, parallelism: 3 },
  ])(
    'a whole service that is ill by $by has $parallelism of its 6 tasks down at once, and all are well in the end',
    async ({ given, parallelism }) => {
      const stage = await running(seed, given)
      const down = mostDown(stage, 6)
      fault(stage.world, { kind: 'service ill', atMs: 0, forMs: 30_000, service: 'web' })
      await stage.world.pass(70_000)
      expect(down()).toBe(parallelism)
      expect(await stage.wrong()).toEqual([])
    },
  )

  test('whoever waits for its turn and gets well meanwhile is not stopped', async () => {
    const stage = await running(seed)
    const made = stage.made()
    fault(stage.world, { kind: 'service ill', atMs: 0, forMs: 6_000, service: 'web' })
    await stage.world.pass(5_900)
    expect(stage.tasks().filter(({ illness }) => illness?.kind === 'held').length).toBeGreaterThan(3)
    await stage.world.pass(20_000)
    expect(made().size).toBe(1)
    expect(stage.tasks().filter(({ illness, unready }) => illness ?? unready)).toEqual([])
    expect(await stage.wrong()).toEqual([])
  })

  test('agents that restart make nothing unready and nothing start anew', async () => {
    const stage = await running(seed)
    const made = stage.made()
    const seen = new Set<string>()
    for (const host of stage.world.hosts) host.killAgent()
    await stage.world.pass(1_000)
    for (const host of stage.world.hosts) host.startAgentSoon()
    for (let look = 0; look < 200; look += 1) {
      await stage.world.pass(100)
      for (const { state, unready } of stage.tasks())
        seen.add(`${state} ${unready === undefined ? 'ready' : 'unready'}`)
    }
    expect([...seen]).toEqual(['running ready'])
    expect([...made()]).toEqual([])
    expect(await stage.wrong()).toEqual([])
  })

  test('who was unready before its agent restarted is so until its probe says otherwise', async () => {
    const stage = await running(seed)
    const [first] = stage.tasks()
    const mend = stage.world.listeners.break(first!.id, ['ready'])
    await stage.world.pass(4_000)
    const sinceMs = stage.tasks()[0]?.unready?.sinceMs
    for (const host of stage.world.hosts) host.killAgent()
    await stage.world.pass(1_000)
    for (const host of stage.world.hosts) host.startAgentSoon()
    await stage.world.pass(20_000)
    expect(stage.tasks()[0]?.unready).toMatchObject({ sinceMs })
    mend()
    await stage.world.pass(2_000)
    expect(stage.tasks()[0]?.unready).toBeUndefined()
  })

  test.each(['sick', 'stuck'])(
    'an update to an image that is never ready (%s) goes back by itself, and costs its first slot only',
    async (tag) => {
      const stage = await running(seed, { onFailure: 'rollback' })
      const down = mostDown(stage, 6)
      const base = { atMs: 0, via: 1, service: 'web' }
      await stage.world.during(stage.people.say({ ...base, kind: 'image', image: `web:${tag}` }))
      await stage.world.pass(30_000)
      expect(down()).toBe(1)
      const images = stage.world.hosts
        .flatMap(({ engine }) => engine.containers())
        .filter(({ observation }) => observation.state === 'running')
        .map(({ setup }) => setup.spec.TaskTemplate.ContainerSpec.Image)
      expect(images).toEqual(Array.from({ length: 6 }, () => 'web:1'))
      expect(await stage.wrong()).toEqual([])
    },
  )

  test('startup holds back the others until it has succeeded once, and is then asked no more', async () => {
    const stage = await running(seed, { probed: ['start', 'ready', 'live'] })
    const [first] = stage.tasks()
    const asked: string[] = []
    stage.world.listeners.onProbe((_host, { task }, part, isWell) => {
      if (task.slot === first!.slot && task.id !== first!.id) asked.push(`${part} ${isWell ? 'yes' : 'no'}`)
    })
    stage.world.listeners.break(first!.id, ['live'])
    await stage.world.pass(15_000)
    const started = asked.indexOf('start yes')
    expect(new Set(asked.slice(0, started))).toEqual(new Set(['start no']))
    expect(new Set(asked.slice(started + 1))).toEqual(new Set(['ready yes', 'live yes']))
    expect(await stage.wrong()).toEqual([])
  })
})
