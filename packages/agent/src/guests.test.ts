import { type ContainerId, type GuestEntry, networkSpecSchema, type ResourceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import type { GuestPlace, GuestWanted } from './cluster.ts'
import { answerName } from './core/network/answering.ts'
import { AddressRefusedError, NoAddressError } from './errors.ts'
import { EngineUnavailableError } from './ports/engine.errors.ts'

const container = 'ab'.repeat(32) as ContainerId

describe('containers that people put on networks', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  const signal = AbortSignal.timeout(60_000)
  const entries = ({ agent, node }: Machine, of = node): readonly GuestEntry[] => [
    ...(agent.view().records.get(of)?.guests.values() ?? []),
  ]
  const wanted = (network: ResourceId, patch: Partial<GuestWanted> = {}): GuestWanted => ({
    network,
    aliases: ['db'],
    nameservers: [],
    ...patch,
  })

  async function back(): Promise<ResourceId> {
    const spec = networkSpecSchema.parse({ Name: 'back', Attachable: true })
    const { resource } = await world.during(nth(0).agent.create('network', 'back', spec, author))
    return resource.id
  }

  /** As the API does: the container is there when `use` is over. */
  async function put(
    machine: Machine,
    network: ResourceId,
    patch: Partial<GuestWanted> = {},
  ): Promise<GuestPlace> {
    return world.during(
      machine.agent.attach(wanted(network, patch), signal, async (place) => {
        const { address } = place
        machine.engine.putGuest({ container, name: 'toolbox', isUp: true, network, address })
        return place
      }),
    )
  }

  function ask({ names }: Machine, from: string, name: string): readonly string[] {
    const { index } = names
    const asker = index?.askerAt(from)
    if (index === undefined || asker === undefined) return []
    const answer = answerName(index, asker, { name, type: 'A' }, () => 0)
    return answer.kind === 'addresses' ? answer.addresses : []
  }

  it('each has an address of its node’s own, in the record and the kernel’s bridge there before it is', async () => {
    world = await World.of(3)
    const network = await back()
    const known: unknown[] = []
    for (const machine of world.machines) {
      await world.during(
        machine.agent.attach(wanted(network), signal, async ({ address, gateway }) => {
          known.push([
            entries(machine).map((entry) => entry.address),
            machine.kernel.plane?.networks[0]?.bridge?.address,
          ])
          expect(known.at(-1)).toEqual([[address], gateway])
          machine.engine.putGuest({ container, name: 'toolbox', isUp: true, network, address })
        }),
      )
    }
    await world.pass(1_000)
    const addresses = world.machines
      .flatMap((machine) => entries(nth(0), machine.node))
      .map(({ address }) => address)
    expect(new Set(addresses).size).toBe(3)
    for (const machine of world.machines) expect(machine.kernel.plane?.networks[0]?.routes).toHaveLength(2)
  })

  it('is found by its name and aliases on all nodes while it runs, and finds services', async () => {
    world = await World.of(2)
    const network = await back()
    const spec = webSpec(2)
    const template = { ...spec.TaskTemplate, Networks: [{ Target: network }] }
    await world.during(nth(0).agent.create('service', 'web', { ...spec, TaskTemplate: template }, author))
    await world.runs(2)
    const { address, gateway } = await put(nth(1), network)
    await world.until('the other node knows it', () => ask(nth(0), gateway, 'db').includes(address))
    for (const name of ['toolbox', 'DB', 'db.moot.internal', container.slice(0, 12)])
      expect(ask(nth(0), gateway, name)).toEqual([address])
    expect(ask(nth(1), address, 'tasks.web')).toHaveLength(2)
    nth(1).engine.putGuest({ container, name: 'toolbox', isUp: false, network, address })
    await world.until('a stopped one has no name', () => ask(nth(0), gateway, 'db').length === 0)
    expect(entries(nth(1))).toMatchObject([{ address, container: { isUp: false } }])
    nth(1).engine.dropGuest(container, network)
    await world.until('its address is free', () => entries(nth(1)).length === 0)
  })

  it('what could not be made leaves no address behind', async () => {
    world = await World.of(2)
    const network = await back()
    const refusal = new Error('no such image')
    const failed = nth(1).agent.attach(wanted(network), signal, () => Promise.reject(refusal))
    await expect(world.during(failed)).rejects.toBe(refusal)
    await world.pass(200)
    expect(entries(nth(1))).toEqual([])
    nth(1).engine.failNext('network', new EngineUnavailableError('hung'))
    const unmade = nth(1).agent.attach(wanted(network), signal, () => Promise.resolve())
    await expect(world.during(unmade)).rejects.toBeInstanceOf(EngineUnavailableError)
    await world.pass(200)
    expect(entries(nth(1))).toEqual([])
  })

  it('an agent that is started again finds it as it was', async () => {
    world = await World.of(2)
    const network = await back()
    await put(nth(1), network)
    await world.pass(200)
    const before = entries(nth(1))
    await world.restart(nth(1))
    await world.pass(20_000)
    expect(entries(nth(1))).toEqual(before)
    expect(before).toMatchObject([{ aliases: ['db'], container: { id: container } }])
  })

  it('a node that leaves takes it off the network', async () => {
    world = await World.of(2)
    await put(nth(1), await back())
    await world.during(nth(1).agent.leave({ force: false, author }))
    expect(nth(1).engine.guestsNow()).toEqual([])
    expect(nth(1).engine.networks()).toEqual(new Set())
  })

  it('an address of another node’s is refused, and who waits too long is told for what', async () => {
    world = await World.of(2)
    const network = await back()
    const { address } = await put(nth(0), network)
    const foreign = nth(1).agent.attach(wanted(network, { address }), signal, () => Promise.resolve())
    await expect(world.during(foreign)).rejects.toThrow(AddressRefusedError)
    await expect(foreign).rejects.toThrow(
      /own blocks of the network only \(it has claimed none of this network yet\)/,
    )
    nth(1).engine.down()
    await world.pass(100)
    const late = nth(1).agent.attach(wanted(network), signal, () => Promise.resolve())
    await expect(world.during(late)).rejects.toThrow(NoAddressError)
  })
})
