import { type NodeId, type ServiceSpec, slotId, type ServiceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import type { SlotPlacement } from './core/placement/placement.ts'

const gibibyte = 1024 ** 3
const db: ServiceSpec = {
  ...webSpec(1),
  TaskTemplate: {
    ContainerSpec: { Image: 'web:1', Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }] },
  },
}

/** Where whole agents put what they run, by what they have heard of each other. */
describe('a slot with a volume', () => {
  let world: World
  afterEach(async () => world.stop())

  const where = (by: Machine): SlotPlacement | undefined => {
    const [id] = by.agent.view().services.keys()
    return by.agent.placement().slots.get(slotId(id as ServiceId, 1))
  }
  const holder = (): NodeId | undefined => {
    const [placement] = world.machines.map(where)
    return placement?.kind === 'held' ? placement.holder.node : undefined
  }

  it('waits for its node from the moment in which the volume is made', async () => {
    world = await World.of(3)
    await world.during(world.nth(0).agent.create('service', 'web', db, author))
    await world.runs(1)
    await world.pass(500)
    const home = holder()
    const { id, versionIndex, spec } = world.nth(0).agent.view().nodes.get(home!)!
    const drained = { ...spec, Availability: 'drain' as const }
    await world.during(world.nth(0).agent.update('node', id, versionIndex, drained, author))
    await world.runs(0)
    await world.pass(20_000)
    expect(await world.running()).toEqual([])
    expect(world.machines.map((machine) => where(machine)?.kind)).toEqual(['pending', 'pending', 'pending'])
  })

  it('goes to the node where a person has made the volume', async () => {
    for (const at of [1, 2]) {
      world = await World.of(3)
      world.nth(at).engine.makeVolume('data')
      await world.pass(1_000)
      await world.during(world.nth(0).agent.create('service', 'web', db, author))
      await world.runs(1)
      expect(holder()).toBe(world.nth(at).node)
      if (at === 1) await world.stop()
    }
  })
})

describe('tasks whose room is taken by what does not stop', () => {
  let world: World
  afterEach(async () => world.stop())

  it('run elsewhere after a while', async () => {
    const reserving = (name: string, MemoryBytes: number): ServiceSpec => ({
      ...webSpec(1),
      Name: name,
      TaskTemplate: {
        ContainerSpec: { Image: 'web:1' },
        Resources: { Reservations: { MemoryBytes } },
      },
    })
    world = await World.of(2)
    const { resource: big } = await world.during(
      world.nth(0).agent.create('service', 'big', reserving('big', 6 * gibibyte), author),
    )
    await world.runs(1)
    const [full, empty] = [true, false].map((isFull) =>
      world.machines.find(({ engine }) => engine.containers().length === (isFull ? 1 : 0)),
    )
    full!.engine.hang('stop')
    await world.during(world.nth(0).agent.remove('service', big.id, author))
    await world.pass(1_000)
    const names = ['a', 'b', 'c']
    for (const name of names) {
      const spec = reserving(name, 2.5 * gibibyte)
      await world.during(world.nth(0).agent.create('service', name, spec, author))
    }
    await world.pass(3_000)
    // What placement cannot know: some of them were given to the node where there is no room yet.
    expect(empty!.engine.containers().length).toBeLessThan(3)
    await world.until('they run', () => empty!.engine.containers().length === 3, 10_000)
    full!.engine.release()
  })
})
