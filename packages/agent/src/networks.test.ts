import { networkSpecSchema, type ResourceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'

const overlay = (Name: string) => networkSpecSchema.parse({ Name })

describe('networks over hosts', () => {
  let world: World
  afterEach(async () => world.stop())

  const nth = (index: number): Machine => world.nth(index)
  const backends = ({ kernel }: Machine): readonly (readonly string[])[] =>
    kernel.plane?.frontends.map((frontend) => frontend.backends) ?? []

  async function onBack(replicas: number, ports: readonly object[] = []): Promise<ResourceId> {
    const { resource } = await world.during(nth(0).agent.create('network', 'back', overlay('back'), author))
    const spec = webSpec(replicas)
    const { TaskTemplate: template } = spec
    await world.during(
      nth(1).agent.create(
        'service',
        'web',
        {
          ...spec,
          TaskTemplate: { ...template, Networks: [{ Target: resource.id }] },
          EndpointSpec: { Ports: ports as never },
        },
        author,
      ),
    )
    await world.runs(replicas)
    return resource.id
  }

  it('every node’s kernel leads to all tasks of a service, by addresses that are theirs alone', async () => {
    world = await World.of(3)
    await onBack(3)
    await world.until('all kernels know three backends', () =>
      Promise.resolve(world.machines.every((machine) => backends(machine)[0]?.length === 3)),
    )
    const [first] = world.machines.map((machine) => backends(machine)[0])
    for (const machine of world.machines) expect(backends(machine)).toEqual([first])
    expect(new Set(first).size).toBe(3)
    for (const { kernel } of world.machines) {
      expect(kernel.plane?.peers).toHaveLength(2)
      expect(kernel.plane?.networks[0]?.routes).toHaveLength(2)
    }
  })

  it('a service that publishes ports and is on no network gets one that is made for it, once', async () => {
    world = await World.of(3)
    const spec = webSpec(2)
    const Ports = [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }] as const
    await world.during(
      nth(2).agent.create('service', 'web', { ...spec, EndpointSpec: { Ports: [...Ports] } }, author),
    )
    await world.runs(2)
    await world.until('each node answers on the port', () =>
      Promise.resolve(world.machines.every((machine) => backends(machine)[0]?.length === 2)),
    )
    for (const { agent } of world.machines)
      expect([...agent.view().networks.values()].map(({ name }) => name)).toEqual(['ingress'])
  })

  it('what leaves a network is led to by nobody any more before it is told to stop', async () => {
    world = await World.of(2)
    await onBack(2)
    await world.until('both know two', () =>
      Promise.resolve(world.machines.every((machine) => backends(machine)[0]?.length === 2)),
    )
    const seen: number[] = []
    for (const machine of world.machines) {
      const { engine } = machine
      const stop = engine.stop.bind(engine)
      engine.stop = (container, ...rest) => {
        seen.push(...world.machines.map((each) => backends(each)[0]?.length ?? 0))
        return stop(container, ...rest)
      }
    }
    const service = [...nth(0).agent.view().services.values()][0]!
    const scaled = { ...service.spec, Mode: { Replicated: { Replicas: 1 } } }
    await world.during(nth(0).agent.update('service', service.id, service.versionIndex, scaled, author))
    await world.runs(1)
    expect(seen).toEqual([1, 1])
  })

  it('a kernel that refuses is asked again, and one that somebody else changed is put right', async () => {
    world = await World.of(2)
    nth(1).kernel.broken = true
    await onBack(2)
    await world.pass(5_000)
    expect(nth(1).kernel.plane?.frontends ?? []).toEqual([])
    nth(1).kernel.broken = false
    await world.until('it is as it should be', () => Promise.resolve(backends(nth(1))[0]?.length === 2))
    await nth(1).kernel.clear(AbortSignal.timeout(1_000))
    await world.pass(31_000)
    expect(backends(nth(1))[0]).toHaveLength(2)
  })

  it('what people are told of the network is what the kernel and the other agents say', async () => {
    world = await World.of(3)
    const found = () => world.during(nth(0).agent.networkFindings(AbortSignal.timeout(5_000)))
    const others = [nth(1).node, nth(2).node]
    expect(await found()).toMatchObject({ failure: undefined, nameServer: { kind: 'absent' } })
    await onBack(3)
    await world.until('all kernels know three backends', () =>
      Promise.resolve(world.machines.every((machine) => backends(machine)[0]?.length === 3)),
    )
    await world.pass(1_000)
    const { ability, tunnel, nameServer, probes } = await found()
    expect(ability).toEqual({ kind: 'kernel', version: 'in memory' })
    expect(tunnel).toMatchObject({ kind: 'found', value: { device: 'moot0', port: 7422 } })
    expect(tunnel.kind === 'found' && tunnel.value.peers.map(({ underlay }) => underlay).toSorted()).toEqual([
      '10.99.0.2',
      '10.99.0.3',
    ])
    expect(nameServer).toMatchObject({ kind: 'found', value: { answered: 0 } })
    expect([...probes.keys()].toSorted()).toEqual(others.toSorted())
    for (const probe of probes.values()) expect(probe.kind).toBe('answered')
    // Whoever is down is not asked: its silence would be waited for.
    world.network.cut(nth(2).node)
    await world.until('it is down', () => nth(0).agent.liveness().get(nth(2).node)?.kind === 'down')
    expect([...(await found()).probes.keys()]).toEqual([nth(1).node])
  })

  it('a kernel that refuses is told of, as long as it does', async () => {
    world = await World.of(2)
    const { kernel, agent } = nth(1)
    const failure = async () =>
      (await world.during(agent.networkFindings(AbortSignal.timeout(5_000)))).failure
    kernel.broken = true
    await onBack(2)
    await world.until('it is told', async () => (await failure()) !== undefined)
    expect(await failure()).toMatch(/set to refuse/)
    kernel.broken = false
    await world.until('it is over', async () => (await failure()) === undefined)
  })

  it('a node that leaves takes back what it made in its kernel', async () => {
    world = await World.of(2)
    await onBack(2)
    expect(nth(1).kernel.plane).toBeDefined()
    await world.during(nth(1).agent.leave({ force: false, author }))
    expect(nth(1).kernel.plane).toBeUndefined()
  })
})
