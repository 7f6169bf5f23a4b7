import { afterEach, describe, expect, it } from 'vitest'
import { defaults } from '../defaults.ts'
import { type TestCluster, testCluster } from './testing.ts'

let cluster: TestCluster
afterEach(() => cluster.stop())

const indexes = [0, 1, 2, 3, 4]
const alive = indexes.map(() => 'alive')
/** All alive, but these. */
const but = (kind: string, ...which: readonly number[]): string[] =>
  indexes.map((index) => (which.includes(index) ? kind : 'alive'))
const allSee = (observers: readonly number[], kinds: readonly string[]): (() => boolean) => {
  return () => observers.every((observer) => cluster.kinds(observer).join() === kinds.join())
}

async function five(): Promise<void> {
  cluster = await testCluster({ count: 5 })
  await cluster.until(allSee(indexes, alive), 5_000)
  await cluster.advance(3_000)
}

describe('membership of five nodes', () => {
  it('one of five is powered off: down for all others in less than five seconds', async () => {
    await five()
    cluster.network.cut(cluster.node(4).id)
    await cluster.node(4).crash()
    const tookMs = await cluster.until(allSee([0, 1, 2, 3], but('down', 4)), 5_000)
    expect(tookMs).toBeGreaterThan(defaults.silentAfterMs)
  })

  it('four of five die at once: the last one sees four down', async () => {
    await five()
    for (const index of [1, 2, 3, 4]) {
      cluster.network.cut(cluster.node(index).id)
      await cluster.node(index).crash()
    }
    const tookMs = await cluster.until(() => cluster.kinds(0)[4] === 'down', 5_000)
    expect(tookMs).toBeGreaterThan(0)
    expect(cluster.kinds(0)).toEqual(but('down', 1, 2, 3, 4))
  })

  it.each([
    { network: 'a quick network', delayMs: 1, loss: 0, seed: 1 },
    { network: 'a slow and lossy one', delayMs: 80, loss: 0.05, seed: 2 },
    { network: 'another slow and lossy one', delayMs: 80, loss: 0.05, seed: 3 },
  ])(
    'a partition on $network: each side sees the other down; healed: all are alive, and what is old never counts',
    async ({ delayMs, loss, seed }) => {
      cluster = await testCluster({ count: 5, seed })
      const slow = (): void => cluster.network.delay(() => 1 + Math.floor(cluster.random() * delayMs))
      slow()
      await cluster.advance(9_000)
      const [a, b, c, d, e] = cluster.ids as [never, never, never, never, never]
      cluster.network.partition([
        [a, b],
        [c, d, e],
      ])
      const apart = [allSee([0, 1], but('down', 2, 3, 4)), allSee([2, 3, 4], but('down', 0, 1))]
      await cluster.until(() => apart.every((side) => side()), 6_000)
      await cluster.advance(5_000)
      const old = indexes.map((index) => new Map(cluster.node(index).records.all()))
      cluster.network.heal()
      slow()
      cluster.network.drop(loss, cluster.random)
      const sides = [0, 0, 1, 1, 1]
      const wrong = new Set<string>()
      // At each instant: whoever has only the record from before counts it as void, and condemns nobody of its own side.
      const look = (from: number, to: number): void => {
        const kind = cluster.kinds(from)[to]
        const { id } = cluster.node(to)
        const hasOld = cluster.node(from).records.all().get(id) === old[from]?.get(id)
        if (sides[from] !== sides[to] && hasOld && kind !== 'down') wrong.add(`${from} counts the old ${to}`)
        if (sides[from] === sides[to] && kind === 'down') wrong.add(`${from} condemns ${to}`)
      }
      const tookMs = await cluster.until(
        () => {
          for (const from of indexes) for (const to of indexes) look(from, to)
          return allSee(indexes, alive)()
        },
        6_000,
        10,
      )
      expect(tookMs).toBeGreaterThan(0)
      expect([...wrong]).toEqual([])
    },
  )

  it('an agent that is killed on a living host is agent-down, not down, until the grace is over', async () => {
    await five()
    cluster.network.refuse(cluster.node(4).id)
    await cluster.until(allSee([0, 1, 2, 3], but('agent-down', 4)), 6_000)
    await cluster.advance(60_000)
    expect(cluster.kinds(0)).toEqual(but('agent-down', 4))
    await cluster.until(allSee([0, 1, 2, 3], but('down', 4)), defaults.agentDownGraceMs, 1_000)
  })

  it('one way between two nodes is broken: a suspect at most, and never down', async () => {
    await five()
    cluster.network.block(cluster.node(0).id, cluster.node(4).id)
    const seen = new Set<string>()
    for (let passedMs = 0; passedMs < 60_000; passedMs += 100) {
      await cluster.advance(100)
      for (const from of indexes) for (const kind of cluster.kinds(from)) seen.add(kind)
    }
    expect([...seen].sort()).toEqual(['alive', 'suspect'])
  })

  it('all agents are killed at once and start again: no alert', async () => {
    await five()
    for (const index of indexes) await cluster.node(index).crash()
    for (const index of indexes) {
      // Each in its own time.
      await cluster.advance(700)
      await cluster.boot(index)
    }
    for (let passedMs = 0; passedMs < 15_000; passedMs += 100) {
      await cluster.advance(100)
      for (const index of indexes) expect([...cluster.node(index).records.own.alerts.values()]).toEqual([])
    }
    expect(cluster.kinds(0)).toEqual(alive)
  })

  it('a last survivor that restarts still knows that the others are down', async () => {
    await five()
    for (const index of [1, 2, 3, 4]) {
      cluster.network.cut(cluster.node(index).id)
      await cluster.node(index).crash()
    }
    await cluster.until(allSee([0], but('down', 1, 2, 3, 4)), 5_000)
    await cluster.advance(1_000)
    await cluster.node(0).crash()
    await cluster.boot(0)
    expect(cluster.kinds(0)).toEqual(but('down', 1, 2, 3, 4))
    // One comes back: to both of them the other three stay down, and it is alive.
    cluster.network.heal(cluster.node(1).id)
    await cluster.boot(1)
    await cluster.until(allSee([0, 1], but('down', 2, 3, 4)), 8_000)
    for (let passedMs = 0; passedMs < 20_000; passedMs += 50) {
      await cluster.advance(50)
      expect(cluster.kinds(0)).toEqual(but('down', 2, 3, 4))
      expect(cluster.kinds(1)).toEqual(but('down', 2, 3, 4))
    }
  })

  it('an agent that stood still for a while accuses nobody', async () => {
    cluster = await testCluster({ count: 2 })
    await cluster.advance(5_000)
    cluster.clock.freeze(30_000)
    await cluster.advance(5_000)
    for (const index of [0, 1]) expect([...cluster.node(index).records.own.alerts.values()]).toEqual([])
  })
})

describe('membership of two nodes', () => {
  it('the one observer decides, and the return of the other is seen', async () => {
    cluster = await testCluster({ count: 2 })
    await cluster.advance(3_000)
    cluster.network.cut(cluster.node(1).id)
    await cluster.node(1).crash()
    await cluster.until(() => cluster.kinds(0)[1] === 'down', 5_000)
    cluster.network.heal(cluster.node(1).id)
    await cluster.boot(1)
    await cluster.until(() => cluster.kinds(0)[1] === 'alive', 5_000)
    expect(cluster.kinds(1)[0]).toBe('alive')
  })
})
