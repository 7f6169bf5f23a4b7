import { describe, expect, test } from 'vitest'
import type { Deed, Shape } from './acts.ts'
import type { Host } from './host.ts'
import { People } from './people.ts'
import { Promises } from './promises.ts'
import { World } from './world.ts'

/** What people count on, each by itself: no other fault, and exact figures. */

const shape: Shape = {
  image: 'web:1',
  global: false,
  replicas: 6,
  checked: true,
  parallelism: 1,
  order: 'stop-first',
  onFailure: 'pause',
}
const seeds = [1, 2, 3]

interface Stage {
  readonly world: World
  readonly say: (deed: DistributiveOmit<Deed, 'atMs'>) => Promise<unknown>
  readonly wrong: () => Promise<readonly string[]>
}
type DistributiveOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never

/** A cluster that runs `web` and is at rest. */
async function running(seed: number, hosts: number, given: Partial<Shape> = {}): Promise<Stage> {
  const world = await World.of({ seed, hosts })
  const people = new People(world)
  const promises = new Promises(world, people)
  const say = (deed: DistributiveOmit<Deed, 'atMs'>): Promise<unknown> =>
    world.during(people.say({ ...deed, atMs: 0 }))
  await say({ kind: 'deploy', via: seed, service: 'web', shape: { ...shape, ...given } })
  await world.pass(15_000)
  const wrong = async (): Promise<readonly string[]> => [...(await promises.broken()), ...people.violations]
  expect(await wrong()).toEqual([])
  return { world, say, wrong }
}

const containers = ({ engine }: Host): readonly string[] =>
  engine
    .containers()
    .filter(({ observation }) => observation.state === 'running')
    .map(({ observation }) => observation.container)
const all = (world: World): readonly string[] => world.hosts.flatMap(containers)

const imagesOf = (world: World): readonly string[] =>
  world.hosts
    .flatMap(({ engine }) => engine.containers())
    .filter(({ observation }) => observation.state === 'running')
    .map(({ setup }) => setup.spec.TaskTemplate.ContainerSpec.Image)

/** The fewest replicas that were up at any moment from now on. */
function lowest(world: World): () => number {
  const up = (): number =>
    world.hosts
      .flatMap(({ engine }) => engine.containers())
      .filter(
        ({ observation: { state, health } }) =>
          state === 'running' && health !== 'starting' && health !== 'unhealthy',
      ).length
  let fewest = up()
  world.onContainer(() => {
    fewest = Math.min(fewest, up())
  })
  return () => fewest
}

/** The first host that knows that an update has failed loses its power when so many know it. */
async function whenKnown(world: World, knowing: number): Promise<void> {
  let first: Host | undefined
  for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 1) {
    const known = world.hosts.filter(({ agent }) =>
      [...(agent?.view().services.values() ?? [])].some(({ failure }) => failure?.releases !== undefined),
    )
    first ??= known[0]
    if (first !== undefined && known.length >= knowing) return first.powerOff()
    await world.pass(1)
  }
  throw new Error('no update has failed')
}

describe.each(seeds)('with seed %i', (seed) => {
  test('what is evened out by itself waits for five quiet minutes, and then has never one less', async () => {
    const { world, say, wrong } = await running(seed, 3, { evensOut: true })
    const host = 1
    const change = async (state: 'drain' | 'active', forMs: number): Promise<void> => {
      await say({ kind: 'availability', via: 0, host, state })
      await world.pass(forMs)
    }
    await change('drain', 20_000)
    await change('active', 200_000)
    // Anything that changes begins the wait anew.
    await change('drain', 1_000)
    await change('active', 295_000)
    const counts = (): readonly number[] => world.hosts.map((each) => containers(each).length)
    expect(counts()).toEqual([3, 0, 3])
    const fewest = lowest(world)
    await world.pass(25_000)
    expect(counts()).toEqual([2, 2, 2])
    expect(fewest()).toBe(shape.replicas)
    expect(await wrong()).toEqual([])
  })

  test('a host that comes back takes nothing from those that stood in for it', async () => {
    const { world, wrong } = await running(seed, 5, { replicas: 10 })
    const victim = world.host(seed)
    victim.powerOff()
    await world.pass(12_000)
    const survivors = all(world)
    expect(survivors).toHaveLength(10)
    victim.powerOn()
    await world.pass(30_000)
    expect(all(world)).toEqual(survivors)
    expect(await wrong()).toEqual([])
  })

  test('all agents killed at once, at any moment of a deploy: what ran runs on, what was answered is there', async () => {
    const { world, say, wrong } = await running(seed, 4)
    const before = all(world)
    void say({ kind: 'deploy', via: 1, service: 'api', shape: { ...shape, image: 'api:1' } })
    await world.pass(seed * 40)
    for (const host of world.hosts) host.killAgent()
    await world.pass(2_000)
    for (const host of world.hosts) host.startAgentSoon()
    await world.pass(30_000)
    expect(all(world)).toEqual(expect.arrayContaining([...before]))
    expect(await wrong()).toEqual([])
  })

  test('all hosts off, and on again one after the other: all comes back by itself', async () => {
    const { world, wrong } = await running(seed, 4)
    for (const host of world.hosts) host.powerOff()
    await world.pass(5_000)
    for (const host of world.hosts) {
      host.powerOn()
      await world.pass(world.random.between(0, 4_000))
    }
    await world.pass(40_000)
    expect(await wrong()).toEqual([])
  })

  test('a host that was cut off for a while gives back all that it took over', async () => {
    const { world, wrong } = await running(seed, 5, { replicas: 5 })
    const island = world.host(seed)
    const undo = world.hosts
      .filter((host) => host !== island)
      .flatMap((host) => [world.block(host, island), world.block(island, host)])
    await world.pass(20_000)
    for (const unblock of undo) unblock()
    await world.pass(40_000)
    expect(all(world)).toHaveLength(5)
    expect(await wrong()).toEqual([])
  })

  test.each([
    { order: 'start-first', parallelism: 1, least: 6 },
    { order: 'start-first', parallelism: 3, least: 6 },
    { order: 'stop-first', parallelism: 1, least: 5 },
    { order: 'stop-first', parallelism: 2, least: 4 },
  ] as const)(
    'an update ($order, $parallelism at a time) leaves $least of 6 up',
    async ({ order, parallelism, least }) => {
      const { world, say, wrong } = await running(seed, 4, { order, parallelism })
      const fewest = lowest(world)
      await say({ kind: 'image', via: 2, service: 'web', image: 'web:2' })
      await world.pass(60_000)
      expect(fewest()).toBe(least)
      expect(await wrong()).toEqual([])
    },
  )

  test.each([
    { image: 'web:missing', what: 'cannot be had', least: 6 },
    { image: 'web:bad', what: 'crashes', least: 4 },
    { image: 'web:sick', what: 'is never healthy', least: 4 },
  ])(
    'an update to an image that $what stops after its first two, and a good one mends it',
    async ({ image, least }) => {
      const { world, say, wrong } = await running(seed, 3, { parallelism: 2 })
      const fewest = lowest(world)
      await say({ kind: 'image', via: 0, service: 'web', image })
      await world.pass(60_000)
      expect(fewest()).toBe(least)
      const old = world.hosts
        .flatMap(({ engine }) => engine.containers())
        .filter(
          ({ setup, observation }) =>
            observation.state === 'running' && setup.spec.TaskTemplate.ContainerSpec.Image === 'web:1',
        )
      expect(old).toHaveLength(least)
      await say({ kind: 'image', via: 1, service: 'web', image: 'web:3' })
      await world.pass(60_000)
      expect(await wrong()).toEqual([])
    },
  )

  test('an update that one crash has paused goes on when its service is written again', async () => {
    const { world, say, wrong } = await running(seed, 3)
    await say({ kind: 'image', via: 0, service: 'web', image: 'web:2' })
    let isCrashed = false
    world.onContainer((host, { spec, task }, { state }) => {
      if (isCrashed || state !== 'running' || spec.TaskTemplate.ContainerSpec.Image !== 'web:2') return
      isCrashed = true
      world.clock.after(100, () => host.engine.crash(task.id))
    })
    await world.pass(60_000)
    expect(imagesOf(world).filter((image) => image === 'web:1')).toHaveLength(5)
    await say({ kind: 'scale', via: 1, service: 'web', replicas: 7 })
    await world.pass(60_000)
    expect(imagesOf(world)).toEqual(Array.from({ length: 7 }, () => 'web:2'))
    expect(await wrong()).toEqual([])
  })

  test('a bad update that is paused takes nothing more down when its service is written again', async () => {
    const { world, say, wrong } = await running(seed, 3)
    await say({ kind: 'image', via: 0, service: 'web', image: 'web:bad' })
    await world.pass(30_000)
    for (const replicas of [7, 6]) {
      await say({ kind: 'scale', via: 1, service: 'web', replicas })
      await world.pass(30_000)
      const old = imagesOf(world).filter((image) => image === 'web:1')
      expect(old.length).toBeGreaterThanOrEqual(5)
    }
    await say({ kind: 'image', via: 1, service: 'web', image: 'web:3' })
    await world.pass(60_000)
    expect(await wrong()).toEqual([])
  })

  test.each([
    { image: 'web:missing', what: 'cannot be had', order: 'stop-first', least: 6 },
    { image: 'web:bad', what: 'crashes', order: 'stop-first', least: 4 },
    { image: 'web:bad', what: 'crashes', order: 'start-first', least: 6 },
    { image: 'web:sick', what: 'is never healthy', order: 'stop-first', least: 4 },
    { image: 'web:sick', what: 'is never healthy', order: 'start-first', least: 6 },
  ] as const)(
    'an update ($order) to an image that $what goes back by itself, and leaves $least of 6 up',
    async ({ image, order, least }) => {
      const { world, say, wrong } = await running(seed, 4, { parallelism: 2, order, onFailure: 'rollback' })
      const fewest = lowest(world)
      await say({ kind: 'image', via: 0, service: 'web', image })
      await world.pass(30_000)
      expect(fewest()).toBe(least)
      expect(imagesOf(world)).toEqual(Array.from({ length: 6 }, () => 'web:1'))
      expect(await wrong()).toEqual([])
      await say({ kind: 'image', via: 1, service: 'web', image: 'web:2' })
      await world.pass(30_000)
      expect(imagesOf(world)).toEqual(Array.from({ length: 6 }, () => 'web:2'))
    },
  )

  test.each([0, 500, 1_500])(
    'an update that fails goes back, though the host that accepted it loses its power after %i ms',
    async (afterMs) => {
      const { world, say, wrong } = await running(seed, 4, { parallelism: 2, onFailure: 'rollback' })
      await say({ kind: 'image', via: seed, service: 'web', image: 'web:bad' })
      await world.pass(afterMs)
      world.host(seed).powerOff()
      await world.pass(40_000)
      expect(imagesOf(world)).toEqual(Array.from({ length: 6 }, () => 'web:1'))
      world.host(seed).powerOn()
      await world.pass(30_000)
      expect(await wrong()).toEqual([])
    },
  )

  test.each([
    { what: 'has been updated already', replicas: 1, knowing: 2 },
    { what: 'has been updated already', replicas: 1, knowing: 1 },
    { what: 'is in the middle of its update', replicas: 3, knowing: 1 },
    { what: 'is in the middle of its update', replicas: 3, knowing: 2 },
  ])(
    'a release of which one fails goes back where the other $what, though who writes it down first loses its power ($knowing know of it)',
    async ({ replicas, knowing }) => {
      const { world, say, wrong } = await running(seed, 5, { replicas: 0 })
      const { image: _, ...rest } = { ...shape, replicas, onFailure: 'rollback' as const }
      const release = (front: string, back: string): Promise<unknown> =>
        say({ kind: 'release', via: seed, images: { front, back }, shape: rest })
      const old = Array.from({ length: replicas }, () => ['back:1', 'front:1'])
        .flat()
        .toSorted()
      await release('front:1', 'back:1')
      await world.pass(10_000)
      expect(imagesOf(world).toSorted()).toEqual(old)
      await release('front:sick', 'back:2')
      await whenKnown(world, knowing)
      await world.pass(40_000)
      expect(imagesOf(world).toSorted()).toEqual(old)
      for (const host of world.hosts) host.powerOn()
      await world.pass(30_000)
      expect(await wrong()).toEqual([])
      await release('front:2', 'back:2')
      await world.pass(40_000)
      expect(new Set(imagesOf(world))).toEqual(new Set(['front:2', 'back:2']))
    },
  )

  test('draining a host takes down nothing that has room elsewhere', async () => {
    const { world, say, wrong } = await running(seed, 4)
    const fewest = lowest(world)
    const drained = world.host(seed)
    await say({ kind: 'availability', via: 0, host: seed % 4, state: 'drain' })
    await world.pass(20_000)
    expect(fewest()).toBe(6)
    expect(containers(drained)).toEqual([])
    expect(await wrong()).toEqual([])
  })
})
