import type { MemoryStorage } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import { firstRules, type Rules } from './core/rules.ts'
import { defaults } from './defaults.ts'
import {
  AlreadyInClusterError,
  CutOffError,
  LastNodeError,
  LeavingError,
  NotInClusterError,
} from './errors.ts'

const secondRules: Rules = { ...firstRules, version: 2 }

describe('agents', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)

  it('one alone begins a cluster and runs what it is asked for', async () => {
    world = await World.of(1)
    const { warnings } = await nth(0).agent.create('service', 'web', webSpec(2), author)
    expect(warnings).toEqual([])
    await world.runs(2)
  })

  it('three share what any of them was told, and spread it', async () => {
    world = await World.of(3)
    const { confirmedBy } = await world.during(nth(1).agent.create('service', 'web', webSpec(3), author))
    expect(confirmedBy).toBeDefined()
    await world.runs(3)
    for (const { agent, engine } of world.machines) {
      expect(agent.view().services.size).toBe(1)
      expect(await engine.list(AbortSignal.timeout(1_000))).toHaveLength(1)
    }
  })

  it('what a dead one ran, the others run; its return restarts nothing and leaves nothing twice', async () => {
    world = await World.of(3)
    await world.during(nth(0).agent.create('service', 'web', webSpec(6), author))
    await world.runs(6)
    const dead = nth(2)
    await world.during(dead.agent.stop())
    world.network.cut(dead.node)
    dead.engine.reboot()
    await world.until('the two run all six', async () => {
      const lists = await Promise.all(
        [0, 1].map((index) => nth(index).engine.list(AbortSignal.timeout(1_000))),
      )
      return lists.flat().filter(({ state }) => state === 'running').length === 6
    })
    const before = (
      await Promise.all([0, 1].map((index) => nth(index).engine.list(AbortSignal.timeout(1_000))))
    ).flat()
    world.network.heal(dead.node)
    await world.start(dead)
    await world.pass(20_000)
    const after = (
      await Promise.all([0, 1].map((index) => nth(index).engine.list(AbortSignal.timeout(1_000))))
    ).flat()
    expect(
      after
        .filter(({ state }) => state === 'running')
        .map(({ container }) => container)
        .toSorted(),
    ).toEqual(
      before
        .filter(({ state }) => state === 'running')
        .map(({ container }) => container)
        .toSorted(),
    )
    await world.runs(6)
  })

  it('an agent that restarts adopts its containers and forgets nothing', async () => {
    world = await World.of(2)
    await world.during(nth(0).agent.create('service', 'web', webSpec(4), author))
    await world.runs(4)
    const before = (await world.running()).toSorted()
    await world.restart(nth(0))
    await world.restart(nth(1))
    await world.pass(20_000)
    expect((await world.running()).toSorted()).toEqual(before)
    expect(nth(0).agent.view().services.size).toBe(1)
  })

  it('after all agents died at once, those that start first take nothing from one that starts later', async () => {
    world = await World.of(3)
    await world.during(nth(0).agent.create('service', 'web', webSpec(6), author))
    await world.runs(6)
    const before = (await world.running()).toSorted()
    const late = nth(2)
    for (const machine of world.machines) await world.during(machine.agent.stop())
    // Its last words reached nobody's disk.
    for (const index of [0, 1])
      (nth(index).home.openStorage() as MemoryStorage).corrupt('peer-record', late.node)
    await world.start(nth(0))
    await world.start(nth(1))
    await world.pass(8_000)
    await world.start(late)
    await world.pass(20_000)
    expect((await world.running()).toSorted()).toEqual(before)
  })

  it('a member that leaves hands its tasks over and forgets the cluster', async () => {
    world = await World.of(3)
    await world.during(nth(0).agent.create('service', 'web', webSpec(3), author))
    await world.runs(3)
    await world.during(nth(2).agent.leave({ force: false, author }))
    expect(nth(2).agent.state()).toEqual({ kind: 'inactive' })
    expect(
      (await nth(2).engine.list(AbortSignal.timeout(1_000))).filter(({ state }) => state === 'running'),
    ).toEqual([])
    await world.until('two members are left', () => nth(0).agent.view().nodes.size === 2)
    await world.runs(3)
  })

  it('a write that was asked of a leaving member and reached no other is refused, not acknowledged', async () => {
    world = await World.of(3)
    const leaving = world.during(nth(2).agent.leave({ force: false, author }))
    const writing = nth(2).agent.create('service', 'web', webSpec(3), author)
    const told = writing.then(
      ({ confirmedBy }) => confirmedBy !== undefined,
      (error: unknown) => error instanceof LeavingError,
    )
    await leaving
    expect(await told).toBe(true)
    await world.pass(10_000)
    const isStored = [...nth(0).agent.view().services.values()].some(({ name }) => name === 'web')
    expect(isStored).toBe(await writing.then(() => true).catch(() => false))
  })

  it('a host whose engine does not start with it is told so, and given nothing', async () => {
    world = await World.of(3)
    const late = nth(2)
    late.engine.down('docker.service failed')
    await world.restart(late)
    await world.pass(5_000)
    const engine = nth(0).agent.view().records.get(late.agent.self)?.status?.engine
    expect(engine).toEqual({ state: 'down', error: expect.stringContaining('docker.service failed') })
    await world.during(nth(0).agent.create('service', 'web', webSpec(6), author))
    await world.runs(6)
  })

  it('what a host without its engine cannot run goes nowhere while there is nowhere, and to a host that joins later', async () => {
    world = await World.of(1)
    await nth(0).agent.create('service', 'web', webSpec(2), author)
    await world.runs(2)
    const claims = (): readonly string[] =>
      [...(nth(0).agent.view().records.get(nth(0).node)?.tasks.values() ?? [])]
        .filter((task) => task.desired === 'running')
        .map(({ id }) => id)
    const before = claims()
    nth(0).engine.down()
    await world.pass(2 * defaults.agentDownGraceMs)
    expect(claims()).toEqual(before)
    const joiner = await world.add()
    const { token } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    await world.during(joiner.agent.join(token, { author }))
    await world.until('the joiner runs both', async () => {
      const list = await joiner.engine.list(AbortSignal.timeout(1_000))
      return list.filter(({ state }) => state === 'running').length === 2
    })
    expect(claims()).toEqual([])
  })

  it('what outlives its engine on the only host goes on when the engine is back', async () => {
    world = await World.of(1)
    await nth(0).agent.create('service', 'web', webSpec(2), author)
    await world.runs(2)
    const ids = async (): Promise<readonly string[]> =>
      (await nth(0).engine.list(AbortSignal.timeout(1_000))).map(({ container }) => container).sort()
    const before = await ids()
    nth(0).engine.down()
    await world.pass(2 * defaults.agentDownGraceMs)
    nth(0).engine.up()
    await world.pass(10_000)
    expect(await ids()).toEqual(before)
    await world.runs(2)
  })

  it('a member that nobody would hear leave stays, unless it is forced', async () => {
    world = await World.of(3)
    world.network.partition([[nth(0).agent.self, nth(1).agent.self], [nth(2).agent.self]])
    await world.pass(1_000)
    await expect(nth(2).agent.leave({ force: false, author })).rejects.toThrow(CutOffError)
    expect(nth(2).agent.state()).toMatchObject({ kind: 'active' })
    expect(nth(2).agent.view().nodes.size).toBe(3)
    await world.during(nth(2).agent.leave({ force: true, author }))
    expect(nth(2).agent.state()).toEqual({ kind: 'inactive' })
  })

  it('a member that is removed stops its tasks and says by whom it was removed', async () => {
    world = await World.of(3)
    await world.during(nth(0).agent.create('service', 'web', webSpec(3), author))
    await world.runs(3)
    const own = [...nth(0).agent.view().nodes.values()].find((node) => node.name === nth(2).node)
    if (own === undefined) throw new Error('not a member')
    await world.during(nth(0).agent.remove('node', own.id, author))
    await world.until('it is out', () => nth(2).agent.state().kind === 'removed')
    expect(nth(2).agent.state()).toMatchObject({ by: 'test' })
    await world.runs(3)
  })

  it('a join that is not answered in time says so, and the same token can be tried again', async () => {
    world = await World.of(1)
    const { token } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    const joiner = await world.add()
    world.network.delay(() => 20_000)
    await expect(world.during(joiner.agent.join(token, { author }))).rejects.toThrow(
      /did not answer in time: .* try the same token again/,
    )
    expect(joiner.agent.state()).toEqual({ kind: 'inactive' })
    world.network.delay(() => 1)
    await world.during(joiner.agent.join(token, { author }))
    expect(nth(0).agent.view().nodes.size).toBe(2)
  })

  it('a token works once, and not after its time', async () => {
    world = await World.of(1)
    const { token } = await nth(0).agent.createToken({ ttlMs: 1_000 })
    const late = await world.add()
    await world.pass(1_500)
    await expect(world.during(late.agent.join(token, { author }))).rejects.toThrow(
      /expired|refused|no token/i,
    )
    expect(late.agent.state()).toEqual({ kind: 'inactive' })
    const { token: second } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    await world.during(late.agent.join(second, { author }))
    const third = await world.add()
    await expect(world.during(third.agent.join(second, { author }))).rejects.toThrow(/used|refused|no token/i)
    expect(nth(0).agent.view().nodes.size).toBe(2)
  })

  it('agents without a common rules version decide nothing new, and go on once they have one', async () => {
    world = await World.of(2)
    await world.during(nth(0).agent.create('service', 'web', webSpec(2), author))
    await world.runs(2)
    const before = (await world.running()).toSorted()
    nth(1).rules = [secondRules]
    await world.restart(nth(1))
    await world.pass(10_000)
    const [web] = nth(0).agent.view().services.values()
    if (web === undefined) throw new Error('not deployed')
    await world.during(nth(0).agent.update('service', web.id, web.versionIndex, webSpec(4), author))
    await world.pass(20_000)
    expect((await world.running()).toSorted()).toEqual(before)
    nth(1).rules = [firstRules, secondRules]
    await world.restart(nth(1))
    await world.runs(4)
    expect(await world.running()).toEqual(expect.arrayContaining(before))
  })

  it('goes by the address that init or join were given, also after restarts; by a guess only until the next one', async () => {
    world = await World.of(2)
    const { token } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    const joiner = await world.add()
    await world.during(joiner.agent.join(token, { author, advertise: '192.168.1.10' }))
    const addresses = (machine: Machine): readonly string[] | undefined =>
      machine.agent.view().records.get(machine.node)?.status?.addresses
    const restarted = async (machine: Machine): Promise<readonly string[] | undefined> => {
      await world.restart(machine)
      await world.pass(2_000)
      return addresses(machine)
    }
    await world.pass(2_000)
    expect(addresses(joiner)).toEqual(['192.168.1.10'])
    expect(await restarted(joiner)).toEqual(['192.168.1.10'])
    expect(await restarted(joiner)).toEqual(['192.168.1.10'])
    joiner.advertise = '192.168.1.11'
    expect(await restarted(joiner)).toEqual(['192.168.1.11'])
    nth(1).address = '10.99.0.200'
    expect(await restarted(nth(1))).toEqual(['10.99.0.200'])
  })

  it('says what is wrong when it is asked for what its state forbids', async () => {
    world = await World.of(1)
    await expect(nth(0).agent.init({ author })).rejects.toThrow(AlreadyInClusterError)
    await expect(nth(0).agent.leave({ force: false, author })).rejects.toThrow(LastNodeError)
    const stranger = await world.add()
    expect(() => stranger.agent.view()).toThrow(NotInClusterError)
    await expect(stranger.agent.join('nonsense', { author })).rejects.toThrow(/token/i)
  })
})
