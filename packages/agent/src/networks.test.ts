import { networkSpecSchema, type ResourceId } from '@moot/crdt-state'
import { afterEach, describe, expect, it } from 'vitest'
import { author, kernelWith, type Machine, webSpec, World } from './agent.testing.ts'
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
    expect(ability).toMatchObject({ kind: 'kernel', version: 'in memory' })
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

  it('what ends by itself is made anew within a second or two', async () => {
    world = await World.of(2)
    await onBack(2)
    nth(1).kernel.lose()
    expect(backends(nth(1))).toEqual([])
    await world.pass(1_100)
    expect(backends(nth(1))[0]).toHaveLength(2)
  })

  it('a node that leaves takes back what it made in its kernel', async () => {
    world = await World.of(2)
    await onBack(2)
    expect(nth(1).kernel.plane).toBeDefined()
    await world.during(nth(1).agent.leave({ force: false, author }))
    expect(nth(1).kernel.plane).toBeUndefined()
  })

  const rounds = ({ kernel }: Machine): readonly number[] =>
    kernel.plane?.self.keys?.map(({ round }) => round) ?? []
  const isAllSealed = ({ kernel }: Machine, round: number): boolean =>
    kernel.plane?.peers.every(
      ({ seal }) => seal?.isStrict === true && seal.sends.kind === 'sealed' && seal.sends.round === round,
    ) ?? false

  /** Ways other than sealed that kernels are told from now on. */
  const unsealedAt = (machines: readonly Machine[]): ReadonlySet<string> => {
    const open = new Set<string>()
    for (const { kernel } of machines) {
      const apply = kernel.apply.bind(kernel)
      kernel.apply = (plane, signal) => {
        for (const { seal } of plane.peers) open.add(seal?.sends.kind ?? 'none')
        open.delete('sealed')
        return apply(plane, signal)
      }
    }
    return open
  }

  it('what nodes send to each other is encrypted as soon as they know each other’s keys', async () => {
    world = await World.of(3)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    const keys = world.machines.map(({ kernel }) => kernel.plane?.self.keys?.[0]?.key)
    expect(new Set(keys).size).toBe(3)
  })

  it('all nodes’ keys change together, and never is anything sent in the open meanwhile', async () => {
    world = await World.of(3)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    const open = unsealedAt(world.machines)
    nth(1).agent.changeKeys()
    await world.until('the next round is over', () =>
      world.machines.every((machine) => isAllSealed(machine, 1) && rounds(machine).join() === '1'),
    )
    for (const { home } of world.machines) expect(home.wireGuardKeys.list()).toHaveLength(1)
    expect([...open]).toEqual([])
  })

  it('a node that has lost its key makes another, and sends nothing in the open meanwhile', async () => {
    world = await World.of(2)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    const key = (): unknown => nth(1).kernel.plane?.self.keys?.[0]?.key
    const before = key()
    await world.during(nth(1).agent.stop())
    nth(1).home.wireGuardKeys.remove(0)
    const open = unsealedAt([nth(1)])
    await world.start(nth(1))
    await world.until('it has another', () => key() !== before)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    expect(rounds(nth(1))).toEqual([0])
    expect([...open]).toEqual([])
  })

  it('a key that a node’s own kernel has not taken is told to nobody', async () => {
    world = await World.of(1)
    const machine = await world.add()
    machine.kernel.broken = true
    const { token } = await nth(0).agent.createToken({ ttlMs: 60_000 })
    await world.during(machine.agent.join(token, { author }))
    await world.pass(5_000)
    expect(machine.home.wireGuardKeys.list()).toHaveLength(1)
    expect(nth(0).kernel.plane?.peers[0]?.seal).toBeUndefined()
    machine.kernel.broken = false
    await world.until('all is sealed', () => world.machines.every((each) => isAllSealed(each, 0)))
  })

  it('a node that starts again has the keys that it had', async () => {
    world = await World.of(2)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    const before = nth(1).kernel.plane?.self
    await world.restart(nth(1))
    await world.pass(5_000)
    expect(nth(1).kernel.plane?.self).toEqual(before)
    expect(isAllSealed(nth(0), 0)).toBe(true)
  })

  it('a node without WireGuard is sent to in the open, and the others are not', async () => {
    world = new World()
    const first = await world.add()
    await first.agent.init({ author })
    for (const kernel of [undefined, kernelWith({ kind: 'none', why: 'it is not there' })]) {
      const machine = await world.add(kernel)
      const { token } = await first.agent.createToken({ ttlMs: 60_000 })
      await world.during(machine.agent.join(token, { author }))
    }
    const seals = ({ kernel }: Machine) =>
      kernel.plane?.peers.map(({ node, seal }) => [node, seal?.sends.kind])
    await world.until('the two that have it use it', () => seals(nth(0))?.flat().includes('sealed') === true)
    expect(new Map(seals(nth(0)) as never)).toEqual(
      new Map([
        [nth(1).node, 'sealed'],
        [nth(2).node, undefined],
      ]),
    )
    expect(seals(nth(2))?.map(([, kind]) => kind)).toEqual([undefined, undefined])
  })

  it('a node that leaves forgets its keys', async () => {
    world = await World.of(2)
    await world.until('all is sealed', () => world.machines.every((machine) => isAllSealed(machine, 0)))
    await world.during(nth(1).agent.leave({ force: false, author }))
    expect(nth(1).home.wireGuardKeys.list()).toEqual([])
  })
})
