import { type Storage, StorageFailedError } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import type { Home } from './home.ts'

describe('a full disk', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)

  it('fails what is asked of its node, harms no container, and is forgotten once there is room', async () => {
    world = await World.of(3)
    const disk = await withDisk(nth(2))
    await world.during(nth(0).agent.create('service', 'web', webSpec(6), author))
    await world.runs(6)
    const before = (await world.running()).toSorted()

    disk.isFull = true
    await expect(nth(2).agent.create('service', 'other', webSpec(1), author)).rejects.toThrow(
      StorageFailedError,
    )
    await world.during(nth(0).agent.create('network', 'net', networkSpec, author))
    await world.pass(60_000)
    expect((await world.running()).toSorted()).toEqual(before)
    const [crashed] = await nth(2).engine.list(AbortSignal.timeout(1_000))
    if (crashed === undefined) throw new Error('nothing runs there')
    nth(2).engine.crash(crashed.task)
    await world.pass(10_000)

    disk.isFull = false
    await world.runs(6)
    await world.until('it learns what it missed', () => nth(2).agent.view().networks.size === 1)
    await world.during(nth(2).agent.create('service', 'other', { ...webSpec(1), Name: 'other' }, author))
    await world.runs(7)
  })

  /** Restarts this machine on its disk, which can be full from now on. */
  async function withDisk(machine: Machine): Promise<{ isFull: boolean }> {
    const disk = { isFull: false }
    await world.during(machine.agent.stop())
    const storage = machine.home.openStorage()
    const failing: Storage = {
      commit: (writes) =>
        disk.isFull
          ? Promise.reject(new StorageFailedError('anything', new Error('no space left on device')))
          : storage.commit(writes),
      cache: (writes) => disk.isFull || storage.cache(writes),
      get: (table, key) => storage.get(table, key),
      list: (table) => storage.list(table),
      damaged: () => storage.damaged(),
      close: () => storage.close(),
    }
    const home: Home = { ...machine.home, openStorage: () => failing }
    Object.assign(machine, { home })
    await world.start(machine)
    await world.pass(10_000)
    return disk
  }
})

const networkSpec = {
  Name: 'net',
  Labels: {},
  Driver: 'bridge',
  Internal: false,
  Attachable: false,
  EnableIPv6: false,
  Ingress: false,
  Options: {},
} as never
