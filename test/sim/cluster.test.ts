import { describe, expect, test, vi } from 'vitest'
import type { ServiceId } from '@moot/crdt-state'
import { runningIds, runningOf, wantedSetRuns, watchLowest, watchStops } from './checkers.ts'
import { story } from './story.ts'
import { createWorkload, specFor } from './workload.ts'
import { createWorld, type World } from './world.ts'

/**
 * A few nodes with the production core on a virtual network, engines and clock. A failure names its seed:
 * `MOOT_SIM_SEED=17 npx vitest run test/sim` replays exactly that run.
 */
const only = process.env['MOOT_SIM_SEED'] || undefined
/** `make soak` tries more. */
const count = Number(process.env['MOOT_SIM_SEEDS'] || 100)
const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)]
/** Crash loops take long to simulate. */
const fewestSeeds = only === undefined ? seeds.slice(0, Math.ceil(count * 0.08)) : seeds
const fewSeeds = only === undefined ? seeds.slice(0, Math.ceil(count / 4)) : seeds

/** Virtual time costs 60 ms a seed on an idle core, and several times that beside other suites. */
vi.setConfig({ testTimeout: 180_000 * Math.max(1, count / 100) })

/** Runs until nothing is wrong, for at most this long; gives what is wrong at the end. */
function settle(world: World, limitMs: number): readonly string[] {
  for (let spentMs = 0; spentMs < limitMs; spentMs += 500) {
    if (wantedSetRuns(world).length === 0) {
      // At rest, not only passing through.
      world.run(3_000)
      const wrong = wantedSetRuns(world)
      if (wrong.length === 0) return wrong
    }
    world.run(500)
  }
  if (only !== undefined) console.log(story(world))
  return wantedSetRuns(world)
}

function failuresOf(all: readonly number[], run: (seed: number) => readonly string[]): readonly string[] {
  const failures: string[] = []
  for (const seed of all) {
    const wrong = run(seed)
    if (wrong.length > 0) failures.push(`seed ${seed}: ${wrong.join('; ')}`)
  }
  return failures
}

describe('a cluster', () => {
  test('runs exactly what is wanted once faults stop, whatever happened, and stopped nothing without a cause', () => {
    const failures = failuresOf(seeds, (seed) => {
      const world = createWorld(seed, 3 + (seed % 3))
      const stops = watchStops(world, 15_000)
      const workload = createWorkload(world, { maxDown: world.nodes.length })
      world.run(500)
      for (let act = 0; act < 14; act += 1) {
        workload.act()
        world.run(world.random.between(50, 2_500))
      }
      workload.mend()
      const wrong = settle(world, 90_000)
      return [...wrong, ...stops]
    })
    expect(failures).toEqual([])
  })

  test('loses no running container to nodes that come back', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 5)
      world.run(500)
      world.putService(world.nodes[0]!, 'web', specFor({ replicas: 10 }))
      const before = settle(world, 20_000)
      world.nodes[seed % 5]!.powerOff()
      world.run(12_000)
      const survivors = runningIds(world)
      world.nodes[seed % 5]!.powerOn()
      world.run(15_000)
      const lost = [...survivors].filter((id) => !runningIds(world).has(id))
      return [...before, ...wantedSetRuns(world), ...lost.map((id) => `${id} was stopped`)]
    })
    expect(failures).toEqual([])
  })

  test('keeps every container when all agents are killed at once', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 4)
      world.run(500)
      world.putService(world.nodes[0]!, 'web', specFor({ replicas: 6, checked: true }))
      const before = settle(world, 20_000)
      const ids = [...runningIds(world)].sort()
      for (const node of world.nodes) node.killAgent()
      world.run(2_000)
      for (const node of world.nodes) node.startAgent()
      world.run(20_000)
      expect([...runningIds(world)].sort()).toEqual(ids)
      return before
    })
    expect(failures).toEqual([])
  })

  test('comes back by itself after all hosts were off', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 4)
      world.run(500)
      world.putService(world.nodes[0]!, 'web', specFor({ replicas: 6 }))
      const before = settle(world, 20_000)
      for (const node of world.nodes) node.powerOff()
      world.run(5_000)
      for (const node of world.nodes) {
        node.powerOn()
        world.run(world.random.between(0, 4_000))
      }
      return [...before, ...settle(world, 40_000)]
    })
    expect(failures).toEqual([])
  })
})

describe('an update', () => {
  const update = (order: string, parallelism: number) => ({ Order: order, Parallelism: parallelism })

  test('never has more than its parallelism down, and with start-first none', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 4)
      world.network.loss = seed % 3 === 0 ? 0.3 : 0
      world.run(500)
      const order = seed % 2 === 0 ? 'start-first' : 'stop-first'
      const parallelism = 1 + (seed % 3)
      const checked = seed % 5 < 2
      const deploy = (image: string) =>
        world.putService(
          world.nodes[seed % 4]!,
          'web',
          specFor({ replicas: 7, image, checked, update: update(order, parallelism) }),
        )
      const id = deploy('web:1').id as ServiceId
      const before = settle(world, 30_000)
      const watch = watchLowest(world, id)
      deploy('web:2')
      world.run(1_500)
      // Sometimes a newer one while the first is under way.
      if (seed % 4 === 0) deploy('web:3')
      const wrong = settle(world, 60_000)
      const least = order === 'start-first' ? 7 : 7 - parallelism
      return [...before, ...wrong, ...(watch.lowest() < least ? [`only ${watch.lowest()} of 7 were up`] : [])]
    })
    expect(failures).toEqual([])
  })

  test('to an image that cannot be had costs no replica and stops after the first batch', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 3)
      world.run(500)
      const deploy = (image: string) =>
        world.putService(
          world.nodes[0]!,
          'web',
          specFor({ replicas: 6, image, update: update('stop-first', 2) }),
        )
      const id = deploy('web:1').id as ServiceId
      const before = settle(world, 30_000)
      const ids = [...runningIds(world)].sort()
      const watch = watchLowest(world, id)
      deploy('web:missing')
      world.run(20_000)
      expect([...runningIds(world)].sort()).toEqual(ids)
      return [...before, ...(watch.lowest() < 6 ? ['a replica was lost'] : [])]
    })
    expect(failures).toEqual([])
  })

  test('to an image that crashes, or is never healthy, stops after the first batch', () => {
    for (const image of ['web:bad', 'web:sick']) {
      const failures = failuresOf(fewestSeeds, (seed) => {
        const world = createWorld(seed, 3)
        world.run(500)
        const deploy = (name: string) =>
          world.putService(
            world.nodes[0]!,
            'web',
            specFor({ replicas: 6, image: name, checked: true, update: update('stop-first', 2) }),
          )
        const id = deploy('web:1').id as ServiceId
        const before = settle(world, 30_000)
        const watch = watchLowest(world, id)
        deploy(image)
        world.run(20_000)
        const old = runningOf(world, id).filter(({ container }) => container.image === 'web:1').length
        const bad = old < 4 || watch.lowest() < 4 ? [`${old} of 6 kept, ${watch.lowest()} up at least`] : []
        // And a good one mends it.
        deploy('web:2')
        return [...before, ...bad, ...settle(world, 60_000)]
      })
      expect(failures).toEqual([])
    }
  })
})

describe('draining a node', () => {
  test('never takes a service below its replicas where the others have room', () => {
    const failures = failuresOf(fewSeeds, (seed) => {
      const world = createWorld(seed, 4)
      world.run(500)
      const { id } = world.putService(
        world.nodes[0]!,
        'web',
        specFor({ replicas: 6, checked: seed % 2 === 0 }),
      )
      const before = settle(world, 30_000)
      const watch = watchLowest(world, id as ServiceId)
      const drained = world.nodes[seed % 4]!
      world.setAvailability(world.nodes[0]!, drained.id, 'drain')
      world.run(15_000)
      const left = runningOf(world, id as ServiceId).filter(({ node }) => node === drained).length
      return [
        ...before,
        ...wantedSetRuns(world),
        ...(watch.lowest() < 6 ? [`only ${watch.lowest()} were up`] : []),
        ...(left > 0 ? [`${left} are left on it`] : []),
      ]
    })
    expect(failures).toEqual([])
  })
})
