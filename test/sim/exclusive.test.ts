import { describe, expect, test } from 'vitest'
import { leaseTimes } from '../../packages/agent/src/core/lease/times.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { exclusiveStage, type ExclusiveStage, holderOf, part, runsOn, withHolder } from './exclusive-stage.ts'
import { fault } from './faults.ts'
import type { Host } from './host.ts'
import type { World } from './world.ts'

/** What is promised of exclusive services, each by itself: no other fault, and exact figures. */

const times = leaseTimes(defaults)
/** From the last ask that was granted, on the slowest clock. */
const goneWithinMs = times.leaseMs / 0.95 + defaults.leaseWatchdogMs + defaults.leaseKillMs
/** A claim, an image that is there, a container that starts; a slow engine is another matter. */
const startsWithinMs = 1_500

async function running(seed: number): Promise<ExclusiveStage> {
  const stage = await exclusiveStage(seed)
  expect(await stage.wrong()).toEqual([])
  return stage
}

/** After how long from now this holds, in steps of 10 ms. */
async function until(world: World, holds: () => boolean, withinMs: number): Promise<number> {
  const sinceMs = world.nowMs
  while (!holds() && world.nowMs - sinceMs <= withinMs) await world.pass(10)
  return world.nowMs - sinceMs
}

describe.each([1])('with seed %i', (seed) => {
  test.each([
    { what: 'and nothing else', worse: () => undefined },
    { what: 'and its agent is dead', worse: (holder: Host) => holder.killAgent() },
    {
      what: 'its agent stands still and its engine hangs',
      worse(holder: Host) {
        holder.life?.pause()
        holder.engine.hang()
      },
    },
  ])(
    'a task whose side has lost the majority of voters, $what, is gone in time, and then runs on the other',
    async ({ worse }) => {
      const { world, wrong } = await running(seed)
      const holder = holderOf(world)
      part(world, withHolder(world), 60_000)
      worse(holder)
      const sinceMs = world.nowMs
      const goneMs = await until(world, () => !runsOn(world).includes(holder), 20_000)
      expect(goneMs).toBeLessThanOrEqual(goneWithinMs)
      await until(world, () => runsOn(world).length > 0, 20_000)
      expect(world.nowMs - sinceMs).toBeLessThanOrEqual(times.movesWithinMs + startsWithinMs)
      await world.pass(70_000)
      holder.engine.release()
      holder.life?.resume()
      holder.startAgentSoon()
      await world.pass(20_000)
      expect(await wrong()).toEqual([])
    },
  )

  test('where no side has a majority it runs nowhere, and again when there is one', async () => {
    const { world, wrong } = await running(seed)
    part(world, (_host, index) => index % 3, 30_000)
    await world.pass(goneWithinMs)
    for (let lookedMs = 0; lookedMs < 15_000; lookedMs += 100) {
      expect(runsOn(world)).toEqual([])
      await world.pass(100)
    }
    await world.pass(20_000)
    expect(await wrong()).toEqual([])
  })

  test('a task is where the majority is, also where a host sees both sides', async () => {
    const { world, wrong } = await running(seed)
    const side = withHolder(world)
    const bridge = world.hosts.findIndex((host) => side(host) === 0)
    const sides = [...world.hosts.map(side), 0]
    fault(world, { kind: 'bridge', atMs: 0, forMs: 40_000, host: bridge, sides })
    await world.pass(60_000)
    expect(await wrong()).toEqual([])
  })

  test('all agents restarted at once: the task goes on', async () => {
    const { world, wrong } = await running(seed)
    const holder = holderOf(world)
    const [before] = holder.engine.containers()
    for (const host of world.hosts) host.killAgent()
    await world.pass(1_000 + seed * 500)
    for (const host of world.hosts) host.startAgentSoon()
    await world.pass(30_000)
    expect(holder.engine.containers()).toMatchObject([{ observation: before!.observation }])
    expect(await wrong()).toEqual([])
  })

  test('the power of all hosts fails: it runs again when they are back', async () => {
    const { world, wrong } = await running(seed)
    for (const host of world.hosts) host.powerOff()
    await world.pass(3_000)
    for (const host of world.hosts) host.powerOn()
    await world.pass(times.movesWithinMs + 10_000)
    expect(await wrong()).toEqual([])
  })

  test('a drain and an update move it without a wait for the lease', async () => {
    const { world, say, wrong } = await running(seed)
    const holder = holderOf(world)
    await say({ kind: 'availability', via: 0, host: world.hosts.indexOf(holder), state: 'drain' })
    await until(world, () => !runsOn(world).includes(holder), 10_000)
    expect(await until(world, () => runsOn(world).length > 0, 20_000)).toBeLessThan(3_000)
    await say({ kind: 'image', via: 1, service: 'db', image: 'db:good2' })
    await until(world, () => runsOn(world).length === 0, 10_000)
    expect(await until(world, () => runsOn(world).length > 0, 20_000)).toBeLessThan(3_000)
    await world.pass(5_000)
    expect(await wrong()).toEqual([])
  })

  test('made available, it runs on both sides of the next partition', async () => {
    const { world, say, wrong } = await running(seed)
    await say({ kind: 'contract', via: 0, service: 'db', exclusive: false })
    await world.pass(10_000)
    part(world, withHolder(world), 30_000)
    await world.pass(20_000)
    expect(runsOn(world)).toHaveLength(2)
    await world.pass(40_000)
    expect(await wrong()).toEqual([])
  })
})
