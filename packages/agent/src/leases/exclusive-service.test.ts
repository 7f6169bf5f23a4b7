import type { ServiceSpec } from '@moot/crdt-state'
import { afterEach, expect, test } from 'vitest'
import { author, type Machine, webSpec, World } from '../agent.testing.ts'
import { defaults } from '../defaults.ts'

// Whole agents over the ports' twins: votes, the watchdog, tasks and adoption come together.

let world: World

afterEach(() => world.stop())

const exclusive: ServiceSpec = { ...webSpec(1), Labels: { 'moot.partition': 'exclusive' } }

function containersOf({
  engine,
}: Machine): readonly { readonly task: string; readonly fence: number | undefined }[] {
  return engine
    .containers()
    .filter(({ observation }) => observation.state === 'running')
    .map(({ observation }) => ({ task: observation.task, fence: observation.lease?.fence }))
}

function holder(): Machine {
  const found = world.machines.find((machine) => containersOf(machine).length > 0)
  if (found === undefined) throw new Error('it runs nowhere')
  return found
}

async function running(): Promise<void> {
  world = await World.of(3)
  await world.during(world.nth(0).agent.create('service', 'web', exclusive, author))
  await world.runs(1)
}

test('an exclusive task runs with a fence and under the watchdog, and goes on for as long as its lease is renewed', async () => {
  await running()
  const machine = holder()
  const before = containersOf(machine)
  expect(before).toEqual([{ task: expect.any(String), fence: 1 }])
  const [watched] = await machine.exclusive.process.list()
  expect(watched).toMatchObject({ kind: 'armed', slot: 'web.1', fence: 1 })
  await world.pass(60_000)
  expect(containersOf(machine)).toEqual(before)
})

test('an agent that restarts adopts its exclusive task: no container restarts', async () => {
  await running()
  const machine = holder()
  const before = containersOf(machine)
  await world.restart(machine)
  await world.pass(30_000)
  expect(containersOf(machine)).toEqual(before)
})

test('a cut-off holder loses its task in time, and a majority of the voters gives the slot to another, with a higher fence', async () => {
  await running()
  // Three vote once they have been there for a while.
  await world.until('three vote', () => world.nth(0).agent.voters().epoch.voters.length === 3, 120_000)
  const before = holder()
  world.network.cut(before.node)
  await world.pass(defaults.leaseMs + 100)
  expect(containersOf(before)).toEqual([])
  await world.until('it runs elsewhere', async () => (await world.running()).length === 1)
  expect(containersOf(holder())[0]?.fence).toBeGreaterThan(1)
})

test('a removed exclusive service leaves nothing that is watched', async () => {
  await running()
  const machine = holder()
  const [service] = [...machine.agent.view().services.values()]
  await world.during(machine.agent.remove('service', service!.id, author))
  await world.runs(0)
  await world.pass(2_000)
  expect(await machine.exclusive.process.list()).toEqual([])
})

test('the founder of a cluster of two that leaves gives its vote to the other', async () => {
  world = await World.of(2)
  const [founder, other] = [world.nth(0), world.nth(1)]
  const voters = (): readonly string[] => other.agent.voters().epoch.voters.map(({ node }) => node)
  await world.until('the founder votes', () => voters().includes(founder.node))
  await world.during(founder.agent.leave({ force: false, author }))
  await world.until('the other votes', () => voters().includes(other.node))
  expect(voters()).toEqual([other.node])
})

test('the only voter does not leave while nobody can take over its vote, unless that is forced', async () => {
  world = await World.of(2)
  const founder = world.nth(0)
  await world.during(founder.agent.create('service', 'web', exclusive, author))
  await world.runs(1)
  // After a power failure it is silent for longer than a lease, and so has no vote to give.
  founder.exclusive.memory.powerOff()
  await world.restart(founder)
  const leave = (force: boolean): Promise<void> => world.during(founder.agent.leave({ force, author }))
  await expect(leave(false)).rejects.toMatchObject({ code: 'ERR_LAST_VOTER' })
  expect(world.nth(1).agent.view().nodes.size).toBe(2)
  await leave(true)
  await world.until('it has left', () => world.nth(1).agent.view().nodes.size === 1)
})

test('while nothing is exclusive no watchdog watches, and nobody asks for leases', async () => {
  world = await World.of(3)
  await world.during(world.nth(0).agent.create('service', 'web', webSpec(3), author))
  await world.runs(3)
  for (const { exclusive } of world.machines) expect(await exclusive.process.list()).toEqual([])
})
