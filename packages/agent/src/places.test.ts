import { type NodeId, type ServiceSpec, slotId, type ServiceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import { TaskRejectedError } from './ports/engine.errors.ts'
import type { SlotPlacement } from './core/placement/placement.ts'

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

  it('waits for its node from soon after it has run', async () => {
    world = await World.of(3)
    await world.during(world.nth(0).agent.create('service', 'web', db, author))
    await world.runs(1)
    await world.pass(1_500)
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
      await world.pass(2_000)
      await world.during(world.nth(0).agent.create('service', 'web', db, author))
      await world.runs(1)
      expect(holder()).toBe(world.nth(at).node)
      if (at === 1) await world.stop()
    }
  })

  it('runs elsewhere when its start is refused, though its volume was made there, and returns to its data', async () => {
    for (const at of [0, 1, 2]) {
      world = await World.of(3)
      for (const { engine } of world.machines.filter((_, index) => index !== at))
        engine.failNext('start', new TaskRejectedError('address already in use'))
      await world.during(world.nth(0).agent.create('service', 'web', db, author))
      await world.runs(1)
      expect(holder()).toBe(world.nth(at).node)
      for (const Replicas of [0, 1]) {
        const [service] = world.nth(0).agent.view().services.values()
        const { id, versionIndex, spec } = service!
        const scaled = { ...spec, Mode: { Replicated: { Replicas } } }
        await world.during(world.nth(0).agent.update('service', id, versionIndex, scaled, author))
        await world.runs(Replicas)
        await world.pass(10_000)
      }
      expect(holder()).toBe(world.nth(at).node)
      if (at < 2) await world.stop()
    }
  })
})
