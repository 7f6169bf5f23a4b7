import {
  type MemoryStorage,
  memoryStorage,
  type ResourceId,
  type Storage,
  type Table,
  wholeDatabase,
} from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import type { Home } from './home.ts'

describe('a damaged store', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)

  async function runningCluster(nodes: number): Promise<string[]> {
    world = await World.of(nodes)
    await world.during(nth(0).agent.create('service', 'web', webSpec(6), author))
    await world.until('six run', async () => (await world.running()).length === 6)
    await world.pass(5_000)
    return (await world.running()).toSorted()
  }

  async function untilHealed(machine: Machine): Promise<void> {
    await world.until(
      'the damage is told and healed',
      () => machine.agent.damage().length > 0 && machine.agent.damage().every(({ healed }) => healed),
    )
    await world.pass(20_000)
  }

  const ofOwn = (machine: Machine): Record<'node' | 'peer', string> => ({
    node: [...machine.agent.view().nodes.values()].find(({ name }) => name === machine.node)?.id ?? '',
    peer: [...machine.agent.view().nodes.values()].find(({ name }) => name !== machine.node)?.id ?? '',
  })

  it.each<[string, Table, (machine: Machine) => string]>([
    ['the membership', 'meta', () => 'membership'],
    ['the own node document', 'document', (machine) => ofOwn(machine).node],
    ["the only peer's node document", 'document', (machine) => ofOwn(machine).peer],
    ['the service', 'document', (machine) => [...machine.agent.view().services.keys()][0] ?? ''],
    [
      'a claim',
      'own-record',
      (machine) =>
        `entry/task/${[...(machine.agent.view().records.get(machine.node)?.tasks.keys() ?? [])][0] ?? ''}`,
    ],
  ])('that lost %s is healed by the one peer, and no container notices', async (_what, table, keyOf) => {
    const before = await runningCluster(2)
    const machine = nth(1)
    const key = keyOf(machine)
    await world.during(machine.agent.stop())
    ;(machine.home.openStorage() as MemoryStorage).corrupt(table, key)
    await world.start(machine)
    await untilHealed(machine)
    expect(machine.agent.state()).toMatchObject({ kind: 'active' })
    expect((await world.running()).toSorted()).toEqual(before)
    expect(machine.agent.view().nodes.size).toBe(2)
  })

  it.each<[string, Table, (machine: Machine) => string]>([
    ['the own node document', 'document', (machine) => ofOwn(machine).node],
    ['the service', 'document', (machine) => [...machine.agent.view().services.keys()][0] ?? ''],
    ['the own status', 'own-record', () => 'entry/status'],
  ])(
    'that lost %s while no peer answers stops nothing, at the next start neither',
    async (_what, table, keyOf) => {
      await runningCluster(2)
      await world.during(
        nth(0).agent.create('service', 'each', { ...webSpec(0), Mode: { Global: {} } }, author),
      )
      await world.runs(8)
      const machine = nth(1)
      world.machines[1] = { ...machine, home: withNewProcesses(machine.home) }
      const running = async (): Promise<readonly string[]> => {
        const all = await machine.engine.list(AbortSignal.timeout(1_000))
        return all.filter(({ state }) => state === 'running').map(({ container }) => container)
      }
      const before = await running()
      const key = keyOf(machine)
      await world.during(machine.agent.stop())
      world.network.cut(machine.node)
      ;(machine.home.openStorage() as MemoryStorage).corrupt(table, key)
      for (let starts = 0; starts < 2; starts += 1) {
        await world.start(nth(1))
        await world.pass(20_000)
        expect(await running()).toEqual(expect.arrayContaining([...before]))
        await world.during(nth(1).agent.stop())
      }
      world.network.heal(machine.node)
      await world.start(nth(1))
      await world.runs(8)
      expect(nth(1).agent.view().nodes.size).toBe(2)
    },
  )

  it.each<[string, (machine: Machine) => string | undefined]>([
    ['the own node document', (machine) => ofOwn(machine).node],
    ['the service', (machine) => [...machine.agent.view().services.keys()][0]],
    ['everything', () => undefined],
  ])('that lost %s of one that was removed meanwhile keeps nothing running there', async (_what, keyOf) => {
    await runningCluster(2)
    const [peer, machine] = [nth(0), nth(1)]
    const key = keyOf(machine)
    await world.during(machine.agent.stop())
    if (key !== undefined) (machine.home.openStorage() as MemoryStorage).corrupt('document', key)
    await world.during(peer.agent.remove('node', ofOwn(peer).peer as ResourceId, author))
    const home = key === undefined ? withEmptyStore(machine.home) : machine.home
    const damaged = { ...machine, home }
    world.machines[1] = damaged
    await world.start(damaged)
    await world.until('it knows', () => damaged.agent.state().kind === 'removed')
    expect(await damaged.engine.list(AbortSignal.timeout(1_000))).toEqual([])
    await world.runs(6)
  })

  it('that lost the only other member is let in by one that has met a third since', async () => {
    await runningCluster(2)
    // The first of all was admitted by nobody, and has no introduction to show.
    const [peer, machine] = [nth(0), nth(1)]
    const key = ofOwn(machine).peer
    await world.during(peer.agent.stop())
    await world.during(machine.agent.stop())
    ;(machine.home.openStorage() as MemoryStorage).corrupt('document', key)
    await world.start(machine)
    const third = await world.add()
    const { token } = await machine.agent.createToken({ ttlMs: 60_000 })
    await world.during(third.agent.join(token, { author }))
    await world.pass(20_000)
    expect([machine, third].map(({ agent }) => agent.view().nodes.size)).toEqual([2, 2])
    await world.start(peer)
    await world.until('all know all', () =>
      [machine, peer, third].every(({ agent }) => agent.view().nodes.size === 3),
    )
  })

  it('that lost everything is healed by peers that the note beside it remembers', async () => {
    const before = await runningCluster(2)
    const machine = nth(1)
    await world.during(machine.agent.stop())
    const healing = { ...machine, home: withEmptyStore(machine.home) }
    world.machines[1] = healing
    await world.start(healing)
    await untilHealed(healing)
    expect(healing.agent.state()).toMatchObject({ kind: 'active' })
    expect((await world.running()).toSorted()).toEqual(before)
  })

  it('that lost everything while no peer answers stops nothing', async () => {
    const before = await runningCluster(2)
    const machine = nth(1)
    await world.during(machine.agent.stop())
    world.network.cut(machine.node)
    const alone = { ...machine, home: withEmptyStore(machine.home) }
    world.machines[1] = alone
    await world.start(alone)
    await world.pass(60_000)
    const running = await alone.engine.list(AbortSignal.timeout(1_000))
    const kept = running.filter(({ state }) => state === 'running').map(({ task }) => task)
    expect(kept.length).toBeGreaterThan(0)
    expect(before).toEqual(expect.arrayContaining(kept))
    world.network.heal(machine.node)
    await untilHealed(alone)
    await world.until('six run', async () => (await world.running()).length === 6)
  })
})

/** Another process does not know what an earlier one has found damaged, and set aside. */
function withNewProcesses(home: Home): Home {
  let storage = home.openStorage() as MemoryStorage
  return { ...home, openStorage: () => (storage = storage.reopen()) }
}

/** The disk of this home after its database could not be read at all. */
function withEmptyStore(home: Home): Home {
  const empty: Storage = memoryStorage()
  const lost: Storage = {
    commit: (writes) => empty.commit(writes),
    cache: (writes) => empty.cache(writes),
    get: (table, key) => empty.get(table, key),
    list: (table) => empty.list(table),
    damaged: () => [{ table: 'meta', key: wholeDatabase, setAsideAs: 'state.db.damaged-1' }],
    close: () => empty.close(),
  }
  return { ...home, openStorage: () => lost }
}
