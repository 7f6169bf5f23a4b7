import type { MemoryStorage, NodeId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import type { Agent } from './agent.ts'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import { defaults } from './defaults.ts'
import { EngineAwayError, LeavingError, StillStoppingError } from './errors.ts'
import type { Home } from './home.ts'
import { PeerUnreachableError } from './ports/mesh.errors.ts'

describe('a membership that begins or ends half-way', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  const runningOn = async ({ engine }: Machine): Promise<number> =>
    (await engine.list(AbortSignal.timeout(1_000))).filter(({ state }) => state === 'running').length
  /** Three hosts with a task each. */
  const threeRun = async (): Promise<void> => {
    world = await World.of(3)
    await world.during(nth(0).agent.create('service', 'web', webSpec(3), author))
    await world.runs(3)
  }
  const removal = (by: Machine, node: NodeId): ReturnType<Agent['remove']> => {
    const found = by.agent.view().nodes.get(node)
    if (found === undefined) throw new Error('not a member')
    return world.during(by.agent.remove('node', found.id, author))
  }
  const remove = async (by: Machine, node: NodeId): Promise<void> => {
    await removal(by, node)
  }

  it('a beginning that failed can be tried again', async () => {
    world = new World()
    const machine = await world.add()
    machine.portTaken = true
    await expect(machine.agent.init({ author })).rejects.toThrow(/in use/)
    expect(machine.agent.state()).toEqual({ kind: 'inactive' })
    machine.portTaken = false
    await machine.agent.init({ author })
    expect(machine.agent.view().nodes.size).toBe(1)
  })

  it('a joiner whose answer was lost is shown as a member that has not spoken, and its token works again', async () => {
    world = await World.of(1)
    const { token } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
    const joiner = await world.add()
    joiner.answerLost = true
    await expect(world.during(joiner.agent.join(token, { author }))).rejects.toThrow(PeerUnreachableError)
    expect(joiner.agent.state()).toEqual({ kind: 'inactive' })
    expect(nth(0).agent.liveness().get(joiner.node)).toEqual({ kind: 'unknown' })
    joiner.answerLost = false
    await world.during(joiner.agent.join(token, { author }))
    expect(nth(0).agent.view().nodes.size).toBe(2)
    await world.until('it speaks', () => nth(0).agent.liveness().get(joiner.node)?.kind === 'alive')
  })

  it('a joiner that was removed before it came back leaves like any other, though its name has a tombstone', async () => {
    world = await World.of(2)
    const joiner = await world.add()
    joiner.answerLost = true
    const join = async (): Promise<void> => {
      const { token } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
      await world.during(joiner.agent.join(token, { author }))
    }
    await expect(join()).rejects.toThrow(PeerUnreachableError)
    await remove(nth(0), joiner.node)
    joiner.answerLost = false
    await join()
    await world.during(nth(0).agent.create('service', 'web', webSpec(3), author))
    await world.runs(3)
    await world.during(joiner.agent.leave({ force: false, author }))
    expect(joiner.agent.state().kind).toBe('inactive')
    await world.pass(5_000)
    expect(nth(0).agent.view().nodes.size).toBe(2)
    expect(await runningOn(joiner)).toBe(0)
  })

  it('a joiner that never came back can be removed, and its used token lets it in no more', async () => {
    world = await World.of(1)
    const { token } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
    const joiner = await world.add()
    joiner.answerLost = true
    await expect(world.during(joiner.agent.join(token, { author }))).rejects.toThrow(PeerUnreachableError)
    joiner.answerLost = false
    await remove(nth(0), joiner.node)
    expect(nth(0).agent.view().nodes.size).toBe(1)
    const { token: other } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
    await expect(world.during(joiner.agent.join(token, { author }))).rejects.toThrow(/used/)
    await world.during(joiner.agent.join(other, { author }))
    expect(joiner.agent.state().kind).toBe('active')
    await world.pass(5_000)
    expect(joiner.agent.state().kind).toBe('active')
    expect(nth(0).agent.view().nodes.size).toBe(2)
  })

  it('strangers are heard only while a token can be used', async () => {
    world = await World.of(1)
    const { token } = await nth(0).agent.createToken({ ttlMs: 5_000 })
    // The first member's own token of the beginning lasts an hour.
    await world.pass(3_600_000)
    const stranger = await world.add()
    await expect(world.during(stranger.agent.join(token, { author }))).rejects.toThrow(
      /no join token is outstanding/,
    )
  })

  it('the issuer of a token is a stranger to its joiner once it was removed', async () => {
    world = await World.of(3)
    const issuer = nth(0).node
    expect(nth(2).gate.member(issuer)).toBe(true)
    await remove(nth(1), issuer)
    await world.until('all know', () => nth(2).agent.view().nodes.size === 2)
    expect(nth(2).gate.member(issuer)).toBe(false)
  })

  it.each([2, 3])(
    'one of %i hosts that removes itself is told so once another has stored it',
    async (hosts) => {
      world = await World.of(hosts)
      await world.during(nth(0).agent.create('service', 'web', webSpec(hosts), author))
      await world.runs(hosts)
      const self = nth(hosts - 1)
      await expect(removal(self, self.node)).resolves.toEqual({
        confirmedBy: expect.any(String),
        warnings: [],
      })
      await world.until('it is out', () => self.agent.state().kind === 'removed')
      expect(nth(0).agent.view().nodes.size).toBe(hosts - 1)
      expect(await runningOn(self)).toBe(0)
      await world.runs(hosts)
    },
  )

  it.each([
    ['is cut off', (machine: Machine) => world.network.cut(machine.node)],
    ['reaches nobody', () => world.network.drop(1, () => 0)],
  ])('a host that removes itself while it %s is told that nobody has stored it', async (_what, begins) => {
    await threeRun()
    begins(nth(2))
    await expect(removal(nth(2), nth(2).node)).rejects.toThrow(LeavingError)
    expect(nth(0).agent.view().nodes.size).toBe(3)
  })

  it('a host that was removed while it was away, by one that joined meanwhile, believes it of those that it knows', async () => {
    world = await World.of(3)
    const away = nth(2)
    await world.during(nth(0).agent.create('service', 'web', webSpec(3), author))
    await world.runs(3)
    world.network.cut(away.node)
    await world.pass(5_000)
    const { token } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    const remover = await world.add()
    await world.during(remover.agent.join(token, { author }))
    await world.pass(2_000)
    await remove(remover, away.node)
    await world.pass(5_000)
    world.network.heal(away.node)
    await world.until('it is out', () => away.agent.state().kind === 'removed')
    expect(await runningOn(away)).toBe(0)
    await world.runs(3)
  })

  it.each([
    ['stops', (machine: Machine) => world.restart(machine)],
    ['dies', (machine: Machine) => die(machine)],
  ])('an agent that %s while it winds up its removal goes on with it', async (_what, restart) => {
    await threeRun()
    nth(2).engine.down()
    await remove(nth(0), nth(2).node)
    await world.pass(3_000)
    await restart(nth(2))
    await world.pass(1_000)
    nth(2).engine.up()
    expect(await runningOn(nth(2))).toBe(1)
    await world.until('it is out', () => nth(2).agent.state().kind === 'removed')
    expect(await runningOn(nth(2))).toBe(0)
    await world.runs(3)
  })

  it('an agent that stops while it leaves goes on leaving', async () => {
    await threeRun()
    const { leaving } = await leaveWhileEngineGoes(nth(2))
    await world.restart(nth(2))
    await expect(leaving).rejects.toThrow(/stops/)
    nth(2).engine.up()
    expect(await runningOn(nth(2))).toBe(1)
    await world.until('it is out', () => nth(2).agent.state().kind === 'removed')
    expect(await runningOn(nth(2))).toBe(0)
  })

  it('a host whose engine is away while it is removed stops its containers when that is back, however late', async () => {
    await threeRun()
    nth(2).engine.down()
    await remove(nth(0), nth(2).node)
    await world.pass(5 * defaults.leaveTimeoutMs)
    expect(nth(2).agent.status()).toMatchObject({ windingDown: true })
    nth(2).engine.failNext('sweep')
    nth(2).engine.up()
    await world.until('it is out', () => nth(2).agent.state().kind === 'removed')
    expect(await nth(2).engine.list(AbortSignal.timeout(1_000))).toEqual([])
    await world.runs(3)
  })

  it('a removed host that still stops what it ran says so, and can be forced to leave it behind', async () => {
    await threeRun()
    const removed = nth(2)
    removed.engine.down()
    await remove(nth(0), removed.node)
    await world.pass(3_000)
    const { token } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
    for (const asked of [
      () => removed.agent.init({ author }),
      () => removed.agent.join(token, { author }),
      () => removed.agent.leave({ force: false, author }),
    ]) {
      const answer = await settled(asked(), defaults.leaveTimeoutMs + 1_000)
      expect(answer).toBeInstanceOf(StillStoppingError)
      expect(removed.agent.state().kind).toBe('active')
    }
    await settled(removed.agent.leave({ force: true, author }), defaults.leaveTimeoutMs + 1_000)
    expect(removed.agent.state()).toEqual({ kind: 'inactive' })
    await world.during(removed.agent.join(token, { author }))
    expect(nth(0).agent.view().nodes.size).toBe(3)
  })

  it('a removed host joins as soon as it has stopped what it ran', async () => {
    await threeRun()
    nth(2).engine.down()
    await remove(nth(0), nth(2).node)
    await world.pass(2 * defaults.leaveTimeoutMs)
    const { token } = await nth(0).agent.createToken({ ttlMs: 3_600_000 })
    const joining = nth(2).agent.join(token, { author })
    await world.pass(10_000)
    nth(2).engine.up()
    await world.during(joining)
    expect(nth(2).agent.state().kind).toBe('active')
    expect(await runningOn(nth(2))).toBe(0)
    expect(nth(0).agent.view().nodes.size).toBe(3)
  })

  it.each([
    ['is down', (machine: Machine) => machine.engine.down(), (machine: Machine) => machine.engine.up()],
    ['hangs', (machine: Machine) => machine.engine.hang(), (machine: Machine) => machine.engine.release()],
  ])('a host whose engine %s stays a member when it is asked to leave', async (_what, goes, comes) => {
    await threeRun()
    const voters = nth(0).agent.voters().epoch
    goes(nth(2))
    await world.pass(1_000)
    const answer = await settled(nth(2).agent.leave({ force: false, author }), 15_000)
    expect(answer).toBeInstanceOf(EngineAwayError)
    expect(nth(2).agent.state().kind).toBe('active')
    for (const { agent } of world.machines) expect(agent.view().nodes.size).toBe(3)
    expect(nth(0).agent.voters().epoch).toEqual(voters)
    comes(nth(2))
    await world.pass(2_000)
    await world.during(nth(2).agent.leave({ force: false, author }))
    expect(nth(2).agent.state()).toEqual({ kind: 'inactive' })
    expect(await runningOn(nth(2))).toBe(0)
    await world.runs(3)
  })

  it('a host whose engine goes away while it leaves says so, and stops its containers when that is back', async () => {
    await threeRun()
    const { leaving } = await leaveWhileEngineGoes(nth(2))
    const answer = await settled(leaving, defaults.leaveTimeoutMs + 1_000)
    expect(answer).toBeInstanceOf(StillStoppingError)
    expect(nth(0).agent.view().nodes.size).toBe(2)
    nth(2).engine.up()
    await world.until('it is out', () => nth(2).agent.state().kind === 'removed')
    expect(await runningOn(nth(2))).toBe(0)
    await world.runs(3)
    await world.during(nth(2).agent.leave({ force: false, author }))
    expect(nth(2).agent.state()).toEqual({ kind: 'inactive' })
  })

  /** What it came to within that time. */
  async function settled(work: Promise<unknown>, withinMs: number): Promise<unknown> {
    let answer: unknown = 'no answer'
    work.then(
      (value) => (answer = value),
      (error: unknown) => (answer = error),
    )
    await world.pass(withinMs)
    return answer
  }

  /** The others know that it leaves, and nothing that it ran has stopped. */
  async function leaveWhileEngineGoes({ agent, engine }: Machine): Promise<{ leaving: Promise<void> }> {
    engine.hang('stop')
    const leaving = agent.leave({ force: false, author })
    leaving.catch(() => undefined)
    await world.until('the others know', () => nth(0).agent.view().nodes.size === 2)
    engine.down()
    engine.release('stop')
    return { leaving }
  }

  /** SIGKILL: another agent begins on what the disk has. */
  async function die(machine: Machine): Promise<void> {
    const disk = machine.home.openStorage() as MemoryStorage
    disk.crash()
    const storage = disk.reopen()
    const home: Home = { ...machine.home, openStorage: () => storage }
    Object.assign(machine, { home })
    world.network.refuse(machine.node)
    await world.start(machine)
    world.network.heal(machine.node)
  }
})
