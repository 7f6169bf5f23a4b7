import { networkSpecSchema, type ResourceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, type Machine, webSpec, World } from './agent.testing.ts'
import { memoryDataPlane } from './ports/data-plane.memory.ts'
import type { ByteStream } from './ports/mesh.ts'

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

  it('a task is not told to stop before its own node’s kernel has let go of it, be that slow', async () => {
    world = await World.of(1)
    const { kernel, engine, agent } = nth(0)
    const { resource } = await world.during(agent.create('network', 'back', overlay('back'), author))
    const spec = webSpec(2)
    const TaskTemplate = { ...spec.TaskTemplate, Networks: [{ Target: resource.id }] }
    await world.during(agent.create('service', 'web', { ...spec, TaskTemplate }, author))
    await world.runs(2)
    await world.until('it knows two', () => backends(nth(0))[0]?.length === 2)
    const apply = kernel.apply.bind(kernel)
    kernel.apply = async (plane, signal) => {
      await world.clock.sleep(200, signal)
      await apply(plane, signal)
    }
    const seen: number[] = []
    const stop = engine.stop.bind(engine)
    engine.stop = (container, ...rest) => {
      seen.push(backends(nth(0))[0]?.length ?? 0)
      return stop(container, ...rest)
    }
    const service = [...agent.view().services.values()][0]!
    const scaled = { ...service.spec, Mode: { Replicated: { Replicas: 1 } } }
    await world.during(agent.update('service', service.id, service.versionIndex, scaled, author))
    await world.runs(1)
    expect(seen).toEqual([1])
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

  const withoutKernel = () => memoryDataPlane({ kind: 'none', why: 'the program "nft" is missing' })
  const published = (replicas: number) => {
    const Ports = [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }] as const
    return { ...webSpec(replicas), EndpointSpec: { Ports: [...Ports] } }
  }

  /** Each container of this machine says which machine it is on. */
  function answer({ agent, forwarder }: Machine): void {
    const record = agent.view().records.get(agent.self)
    for (const { addresses = [] } of record?.tasks.values() ?? []) {
      for (const { address } of addresses)
        forwarder.answer(address.split('/')[0] ?? '', 80, (stream) => void say(agent.self, stream))
    }
  }
  async function say(text: string, stream: ByteStream): Promise<void> {
    await stream.write(Buffer.from(text))
    await stream.closeWrite()
  }
  async function dial({ forwarder }: Machine): Promise<string> {
    const stream = await forwarder.dial('tcp', 8080)
    await stream.closeWrite()
    let heard = ''
    for await (const chunk of stream.source) heard += Buffer.from(chunk).toString()
    return heard
  }

  it('where no kernel can be used each node passes on what comes to a published port, to tasks of others too', async () => {
    world = await World.of(3, withoutKernel)
    await world.during(nth(1).agent.create('service', 'web', published(1), author))
    await world.runs(1)
    await world.until('each node knows who answers', () =>
      world.machines.every(({ forwarder }) => forwarder.forwards[0]?.endpoints.length === 1),
    )
    const holder = world.machines.find(
      ({ forwarder }) => forwarder.forwards[0]?.endpoints[0]?.kind === 'local',
    )
    answer(holder!)
    for (const machine of world.machines) {
      expect(await world.during(dial(machine))).toBe(holder?.agent.self)
      expect(machine.agent.network().ability().kind).toBe('userland')
      expect(machine.kernel.plane).toBeUndefined()
      expect(machine.names).toEqual({})
    }
  })

  it('of nodes with and without a kernel each reaches the tasks of all, or at least of some', async () => {
    world = await World.of(2, (index) => (index === 0 ? memoryDataPlane() : withoutKernel()))
    await world.during(nth(0).agent.create('service', 'web', published(2), author))
    await world.runs(2)
    await world.until('both know', () => nth(1).forwarder.forwards[0]?.endpoints.length === 2)
    for (const machine of world.machines) answer(machine)
    // What the kernel reaches it balances alone.
    expect(backends(nth(0))[0]).toHaveLength(1)
    expect(nth(0).forwarder.forwards).toEqual([])
    const node = [...nth(0).agent.view().nodes.values()].find(({ name }) => name === nth(0).agent.self)!
    const drained = { ...node.spec, Availability: 'drain' as const }
    await world.during(nth(1).agent.update('node', node.id, node.versionIndex, drained, author))
    await world.until('the first passes on what it has no task for', () => {
      const [forward] = nth(0).forwarder.forwards
      return forward?.endpoints.every(({ kind }) => kind === 'remote') === true
    })
    answer(nth(1))
    expect(await world.during(dial(nth(0)))).toBe(nth(1).agent.self)
  })

  it('what is published in userland is led to by nobody any more before it is told to stop', async () => {
    world = await World.of(2, withoutKernel)
    await world.during(nth(0).agent.create('service', 'web', published(2), author))
    await world.runs(2)
    const known = (): number[] =>
      world.machines.map(({ forwarder }) => forwarder.forwards[0]?.endpoints.length ?? 0)
    await world.until('both know two', () => known().every((count) => count === 2))
    const seen: number[] = []
    for (const { engine } of world.machines) {
      const stop = engine.stop.bind(engine)
      engine.stop = (container, ...rest) => {
        seen.push(...known())
        return stop(container, ...rest)
      }
    }
    const service = [...nth(0).agent.view().services.values()][0]!
    await world.during(nth(0).agent.update('service', service.id, service.versionIndex, published(1), author))
    await world.runs(1)
    expect(seen).toEqual([1, 1])
  })

  it('a node that leaves takes back what it made in its kernel', async () => {
    world = await World.of(2)
    await onBack(2)
    expect(nth(1).kernel.plane).toBeDefined()
    await world.during(nth(1).agent.leave({ force: false, author }))
    expect(nth(1).kernel.plane).toBeUndefined()
  })
})
