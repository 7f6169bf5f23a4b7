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
    expect(tookMs).toBeGreaterThan(defaults.probesMissed * 500)
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

  it('a partition: each side sees the other down; healed: all are alive, and what is old never counts', async () => {
    await five()
    const [a, b, c, d, e] = cluster.ids as [never, never, never, never, never]
    cluster.network.partition([
      [a, b],
      [c, d, e],
    ])
    await cluster.until(
      () => allSee([0, 1], but('down', 2, 3, 4))() && allSee([2, 3, 4], but('down', 0, 1))(),
      6_000,
    )
    await cluster.advance(5_000)
    const judged = indexes.map((index) => new Map(cluster.node(index).records.all()))
    cluster.network.heal()
    cluster.network.delay(() => 1)
    const sides = [0, 0, 1, 1, 1]
    // At each instant of the healing: whoever has only the record from before counts it as void.
    const stale: string[] = []
    const wrong: string[] = []
    await cluster.until(
      () => {
        for (const from of indexes) {
          for (const to of indexes) {
            const kind = cluster.kinds(from)[to]
            const { id } = cluster.node(to)
            const unchanged = cluster.node(from).records.all().get(id) === judged[from]?.get(id)
            if (sides[from] !== sides[to] && unchanged && kind !== 'down')
              stale.push(`${from} of ${to}: ${kind}`)
            if (sides[from] === sides[to] && kind === 'down') wrong.push(`${from} of ${to}`)
          }
        }
        return indexes.every((index) => cluster.kinds(index).join() === alive.join())
      },
      6_000,
      1,
    )
    expect(stale).toEqual([])
    expect(wrong).toEqual([])
    await cluster.advance(20_000)
    for (const index of indexes) expect(cluster.kinds(index)).toEqual(alive)
  })

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
