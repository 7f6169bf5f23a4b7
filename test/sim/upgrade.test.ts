import { describe, expect, test } from 'vitest'
import { firstRules, type Rules } from '../../packages/agent/src/core/rules.ts'
import type { Deed } from './acts.ts'
import { People } from './people.ts'
import { Promises } from './promises.ts'
import { Watchers } from './watchers.ts'
import { World } from './world.ts'

/** The next version of the rules: every node wants what it wanted least. */
const nextRules: Rules = { version: 2, score: (...given) => 2 ** 32 - firstRules.score(...given) }
const shape = {
  image: 'web:1',
  global: false,
  replicas: 12,
  checked: true,
  parallelism: 2,
  order: 'start-first',
  onFailure: 'pause',
} as const

/** A cluster whose agents are replaced one after the other, by agents that know other rules. */
async function upgraded(
  hosts: number,
  seed: number,
  each: (say: (deed: Deed) => Promise<unknown>, at: number) => Promise<void>,
) {
  const world = await World.of({ seed, hosts })
  const people = new People(world)
  const watchers = new Watchers(world, { wholeNetwork: false })
  const promises = new Promises(world, people)
  await world.during(people.say({ kind: 'deploy', atMs: 0, via: 0, service: 'web', shape }))
  await world.pass(10_000)
  const before = containersOf(world)
  for (const [at, host] of world.hosts.entries()) {
    host.killAgent()
    await world.pass(500)
    host.rules = [firstRules, nextRules]
    await world.during(host.startAgent())
    await world.pass(2_000)
    await each((deed) => world.during(people.say(deed)), at)
    await world.pass(10_000)
    // By each agent's own rules: whatever version they share, they have worked out the same.
    expect(placementsOf(world)).toHaveLength(1)
  }
  await world.pass(20_000)
  return {
    world,
    before,
    wrong: [...(await promises.broken()), ...watchers.violations, ...people.violations],
  }
}

function containersOf(world: World): readonly string[] {
  return world.hosts
    .flatMap(({ engine }) => engine.containers())
    .filter(({ observation }) => observation.state === 'running')
    .map(({ observation }) => observation.container)
}

function placementsOf(world: World): readonly string[] {
  const told = world.hosts.map(({ agent }) =>
    JSON.stringify([...(agent?.placement().slots ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  )
  return [...new Set(told)]
}

describe('an upgrade to agents that know newer rules, one host after the other', () => {
  test('moves nothing that runs, not even when the last host makes the newer rules count', async () => {
    const { world, before, wrong } = await upgraded(5, 1, () => Promise.resolve())
    expect(wrong).toEqual([])
    expect(containersOf(world)).toEqual(before)
    expect(world.hosts.map(({ agent }) => agent?.view().records.size)).toEqual([5, 5, 5, 5, 5])
  })

  test('goes on while people scale and update, and nobody fights', async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { wrong } = await upgraded(5, seed, async (say, at) => {
        await say({ kind: 'scale', atMs: 0, via: at, service: 'web', replicas: 12 - at })
        await say({ kind: 'image', atMs: 0, via: at + 1, service: 'web', image: `web:${at + 2}` })
      })
      expect(wrong).toEqual([])
    }
  })

  test('places by the older rules until the last agent knows the newer ones, then by those', async () => {
    const wanted = async (rules: readonly Rules[], all: readonly Rules[]): Promise<string> => {
      const world = await World.of({ seed: 7, hosts: 4 })
      for (const [index, host] of world.hosts.entries()) {
        host.killAgent()
        await world.pass(100)
        host.rules = index === 0 ? rules : all
        await world.during(host.startAgent())
        await world.pass(3_000)
      }
      await world.pass(5_000)
      const people = new People(world)
      await world.during(
        people.say({ kind: 'deploy', atMs: 0, via: 0, service: 'web', shape: { ...shape, replicas: 7 } }),
      )
      await world.pass(10_000)
      return world.hosts
        .map(({ engine }) =>
          engine
            .containers()
            .map(({ setup }) => setup.task.slot)
            .join(),
        )
        .join(' ')
    }
    const both = [firstRules, nextRules]
    const old = await wanted([firstRules], [firstRules])
    expect(await wanted([firstRules], both)).toBe(old)
    expect(await wanted(both, both)).not.toBe(old)
  })
})
