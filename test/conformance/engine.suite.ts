import type { ContainerId, ResourceId, ServiceId } from '@moot/crdt-state'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type {
  ContainerObservation,
  Overlay,
  TaskSetup,
} from '../../packages/agent/src/core/reconcile/actions.ts'
import {
  BridgeInUseError,
  type EngineCallError,
  EngineUnavailableError,
  TaskRejectedError,
} from '../../packages/agent/src/ports/engine.errors.ts'
import type { Engine, EngineEvent } from '../../packages/agent/src/ports/engine.ts'
import { EventRecorder } from './engine.events.ts'
import { freshId, taskSetup, testNetwork, type SetupParts } from './engine.setup.ts'

/** An engine and the hands to do to it what the world does. */
export interface EngineBed {
  readonly engine: Engine
  /** What a `moot/test:1` container prints first. */
  readonly greeting: string
  /** SIGKILL to the container's process, from outside. */
  kill(setup: TaskSetup, container: ContainerId): Promise<void>
  /** Lets time pass where it does not by itself. */
  advance(ms: number): void
  engineDown(): Promise<void>
  engineUp(): Promise<void>
  networks(): Promise<readonly string[]>
  /** A person removes a network on which nothing runs. */
  removeNetwork(id: ResourceId): Promise<void>
  /** A person puts a container on a network, by the engine's name of it, and does not start it. */
  putGuest(on: string, overlay: Overlay): Promise<{ readonly container: ContainerId; readonly name: string }>
  dropGuest(container: ContainerId, overlay: Overlay): Promise<void>
  /** A person makes a volume. */
  makeVolume(name: string): Promise<void>
  close(): Promise<void>
}

const noServices: ReadonlySet<ServiceId> = new Set()

/** What every Engine does; the in-memory twin and the real adapter both pass. */
export function engineSuite(name: string, makeBed: () => Promise<EngineBed>): void {
  describe(`${name} as an Engine`, () => {
    let bed: EngineBed
    const made = new Set<ContainerId>()
    let recorder: EventRecorder | undefined
    const signal = AbortSignal.timeout(600_000)

    beforeAll(async () => {
      bed = await makeBed()
    })
    afterEach(async () => {
      await recorder?.stop()
      recorder = undefined
      for (const container of made) await bed.engine.remove(container, signal)
      made.clear()
    })
    afterAll(async () => {
      await bed?.close()
    })

    const create = async (parts: SetupParts = {}) => {
      const setup = taskSetup(parts)
      await bed.engine.prepare(setup, signal)
      const observation = await bed.engine.create(setup, signal)
      made.add(observation.container)
      return { setup, observation, container: observation.container }
    }
    const running = async (parts: SetupParts = {}) => {
      const { setup, container } = await create(parts)
      return { setup, container, observation: await bed.engine.start(container, signal) }
    }
    const record = async (): Promise<EventRecorder> => {
      recorder = new EventRecorder(bed.engine)
      await recorder.until('connected', ({ kind }) => kind === 'connected')
      return recorder
    }
    const observed =
      (container: ContainerId, state: ContainerObservation['state']) =>
      (event: EngineEvent): boolean =>
        event.kind === 'container' &&
        event.observation.container === container &&
        event.observation.state === state
    const listed = async (container: ContainerId): Promise<ContainerObservation | undefined> =>
      (await bed.engine.list(signal)).find((observation) => observation.container === container)

    test('facts: the engine tells its size, its platform and a boot id that stays', async () => {
      const facts = await bed.engine.facts(signal)
      expect(facts.nanoCpus).toBeGreaterThan(0)
      expect(facts.memoryBytes).toBeGreaterThan(0)
      expect(facts.os).toBe('linux')
      expect(facts.apiVersion).toMatch(/^\d+\.\d+$/)
      expect(facts.hostname).not.toBe('')
      expect((await bed.engine.facts(signal)).bootId).toBe(facts.bootId)
    })

    test('a created container is known by its task and does not run', async () => {
      const { setup, observation } = await create()
      expect(observation).toMatchObject({
        task: setup.task.id,
        service: setup.task.service,
        state: 'created',
        health: 'none',
      })
      expect(observation.pid).toBeUndefined()
      expect(await listed(observation.container)).toMatchObject({ task: setup.task.id, state: 'created' })
    })

    test('creating a task twice gives the one container', async () => {
      const { setup, container } = await create()
      expect((await bed.engine.create(setup, signal)).container).toBe(container)
      const ours = (await bed.engine.list(signal)).filter(({ task }) => task === setup.task.id)
      expect(ours).toHaveLength(1)
    })

    test('a started container runs with a pid, and starting it again changes nothing', async () => {
      const { container, observation } = await running()
      expect(observation.state).toBe('running')
      expect(observation.pid).toBeGreaterThan(0)
      expect((await bed.engine.start(container, signal)).pid).toBe(observation.pid)
      expect(await listed(container)).toMatchObject({ state: 'running', pid: observation.pid })
    })

    test('a stopped container has an exit code and no pid; stopping it again says the same', async () => {
      const { container } = await running()
      const stopped = await bed.engine.stop(container, 10_000, signal)
      expect(stopped).toMatchObject({ container, state: 'exited', exitCode: 0 })
      expect(stopped?.pid).toBeUndefined()
      expect(await bed.engine.stop(container, 10_000, signal)).toMatchObject({ state: 'exited' })
      expect(await listed(container)).toMatchObject({ state: 'exited', exitCode: 0 })
    })

    test('a removed container is gone: stop says so, remove does not mind, start fails with 404', async () => {
      const { container } = await running()
      await bed.engine.remove(container, signal)
      await bed.engine.remove(container, signal)
      expect(await listed(container)).toBeUndefined()
      expect(await bed.engine.stop(container, 1_000, signal)).toBeUndefined()
      await expect(bed.engine.start(container, signal)).rejects.toMatchObject({
        name: 'EngineCallError',
        status: 404,
      } satisfies Partial<EngineCallError>)
    })

    test('events tell a life in its order: created, running, exited, removed', async () => {
      const told = await record()
      const { setup, container } = await running()
      await told.until('running', observed(container, 'running'))
      await bed.engine.stop(container, 10_000, signal)
      await told.until('exited', observed(container, 'exited'))
      await bed.engine.remove(container, signal)
      await told.until('removed', (event) => event.kind === 'removed' && event.container === container)
      // What changed in between may be left out, never reordered.
      const states = told.seen.flatMap((event) => {
        if (event.kind === 'removed' && event.task === setup.task.id) return ['removed']
        return event.kind === 'container' && event.observation.container === container
          ? [event.observation.state]
          : []
      })
      expect(['created', 'running', 'exited', 'removed'].filter((state) => states.includes(state))).toEqual([
        ...new Set(states),
      ])
    })

    test('a killed process is told with its exit code', async () => {
      const told = await record()
      const { setup, container } = await running()
      await told.until('running', observed(container, 'running'))
      await bed.kill(setup, container)
      const event = await told.until('exited', observed(container, 'exited'))
      expect(event).toMatchObject({ observation: { exitCode: 137, task: setup.task.id } })
      expect(await listed(container)).toMatchObject({ state: 'exited', exitCode: 137 })
    })

    test('a passed health check is told', async () => {
      const told = await record()
      const { container, observation } = await running({
        container: { Healthcheck: { Test: ['CMD', 'true'], Interval: 200_000_000, Retries: 1 } },
      })
      expect(observation.health).toBe('starting')
      bed.advance(1_000)
      await told.until(
        'healthy',
        (event) =>
          event.kind === 'container' &&
          event.observation.container === container &&
          event.observation.health === 'healthy',
      )
      expect(await listed(container)).toMatchObject({ state: 'running', health: 'healthy' })
    })

    test('an image that is nowhere rejects the task and names the image', async () => {
      const setup = taskSetup({ container: { Image: 'moot/missing:1' } })
      const refusal = bed.engine.prepare(setup, signal)
      await expect(refusal).rejects.toBeInstanceOf(TaskRejectedError)
      await expect(refusal).rejects.toThrow(/^No such image: moot\/missing:1/)
    })

    test('a bind mount whose source is not there rejects the task in words that Swarm uses', async () => {
      const setup = taskSetup({
        container: { Mounts: [{ Type: 'bind', Source: '/nonexistent/moot', Target: '/data' }] },
      })
      const refusal = bed.engine.create(setup, signal)
      await expect(refusal).rejects.toBeInstanceOf(TaskRejectedError)
      await expect(refusal).rejects.toThrow(
        'invalid mount config for type "bind": bind source path does not exist: /nonexistent/moot',
      )
    })

    test('a host port that another container has rejects the task', async () => {
      const ports = { spec: { EndpointSpec: { Ports: [hostPort(80, 28_080)] } } }
      const { observation } = await running(ports)
      expect(observation.ports).toEqual([{ protocol: 'tcp', target: 80, published: 28_080 }])
      const { container } = await create(ports)
      const refusal = bed.engine.start(container, signal)
      await expect(refusal).rejects.toBeInstanceOf(TaskRejectedError)
      await expect(refusal).rejects.toThrow('port is already allocated')
    })

    test('a host port that is left open is chosen and told', async () => {
      const { observation } = await running({ spec: { EndpointSpec: { Ports: [hostPort(80)] } } })
      expect(observation.ports).toHaveLength(1)
      expect(observation.ports?.[0]).toMatchObject({ protocol: 'tcp', target: 80 })
      expect(observation.ports?.[0]?.published).toBeGreaterThan(1_023)
    })

    test('a named volume of a task is told, and outlives its container', async () => {
      const volume = freshId('volume')
      const { container } = await running({
        container: { Mounts: [{ Type: 'volume', Source: volume, Target: '/data' }, { Target: '/other' }] },
      })
      await bed.engine.remove(container, signal)
      const volumes = await bed.engine.volumes(signal)
      expect(volumes).toContain(volume)
      // An anonymous volume ties no slot to this node.
      expect(volumes.filter((name) => /^[0-9a-f]{64}$/.test(name))).toEqual([])
    })

    test('a volume is told as soon as there is one, whoever made it', async () => {
      const events = await record()
      const volume = freshId('volume')
      await bed.makeVolume(volume)
      await events.until('a volume', ({ kind }) => kind === 'volumes')
      expect(await bed.engine.volumes(signal)).toContain(volume)
    })

    test('a volume that was made for a task is told once that has run, and one that was there at once', async () => {
      const [made, there] = [freshId('made'), freshId('there')]
      await bed.makeVolume(there)
      const Mounts = [made, there].map((Source) => ({
        Type: 'volume' as const,
        Source,
        Target: `/${Source}`,
      }))
      const first = await create({ container: { Mounts } })
      const told = async (): Promise<readonly string[]> =>
        (await bed.engine.volumes(signal)).filter((name) => name === made || name === there)
      expect(await told()).toEqual([there])
      // Whoever of those that use it runs first.
      const second = await create({ slot: 2, container: { Mounts } })
      await bed.engine.start(second.container, signal)
      expect(await told()).toEqual([made, there].toSorted())
      await bed.engine.remove(first.container, signal)
      expect(await told()).toEqual([made, there].toSorted())
    })

    test('tasks that need one network at once make it once, and it stays while it is wanted or used', async () => {
      const network = testNetwork()
      const many = await Promise.all([1, 2, 3, 4].map((slot) => create({ slot, networks: [network] })))
      const count = async (): Promise<number> =>
        (await bed.networks()).filter((id) => id === network.id).length
      expect(await count()).toBe(1)
      await bed.engine.sweep({ services: noServices, networks: new Set() }, signal)
      expect(await count()).toBe(1)
      for (const { container } of many) await bed.engine.remove(container, signal)
      await bed.engine.sweep({ services: noServices, networks: new Set([network.id]) }, signal)
      expect(await count()).toBe(1)
      await bed.engine.sweep({ services: noServices, networks: new Set() }, signal)
      expect(await count()).toBe(0)
    })

    test('a network that was removed behind our back is missed by the start, and made anew for the next task', async () => {
      const network = testNetwork()
      const { container } = await create({ networks: [network] })
      await bed.removeNetwork(network.id)
      const start = bed.engine.start(container, signal)
      await expect(start).rejects.toMatchObject({ name: 'EngineCallError', status: 404 })
      await expect(start).rejects.toThrow(`network ${network.name} not found`)
      expect((await running({ networks: [network] })).observation.state).toBe('running')
      expect(await bed.networks()).toContain(network.id)
    })

    test('the loss of a network is heard: no task is made for one that is not there', async () => {
      const told = await record()
      const network = testNetwork()
      const { container } = await create({ networks: [network] })
      await bed.engine.remove(container, signal)
      const from = told.seen.length
      await bed.removeNetwork(network.id)
      await told.until('the network is gone', ({ kind }) => kind === 'guests', { from })
      expect((await running({ networks: [network] })).observation.state).toBe('running')
    })

    test('who is put on a network of ours is seen there with the address, and the network stays meanwhile', async () => {
      const told = await record()
      const network = testNetwork()
      const [subnet, gateway, address] = ['10.77.0.0/24', '10.77.0.64', '10.77.0.65'] as const
      const overlay = { network, bridge: `moot-${network.id.slice(-10)}`, subnet, gateway, address }
      const on = await bed.engine.network(overlay, signal)
      expect(await bed.engine.network(overlay, signal)).toBe(on)
      expect(await bed.engine.guests(signal)).toEqual([])
      const { container, name } = await bed.putGuest(on, overlay)
      await told.until('somebody came', ({ kind }) => kind === 'guests')
      const guest = { container, name, isUp: false, network: network.id, address }
      expect(await bed.engine.guests(signal)).toEqual([guest])
      await bed.engine.sweep({ services: noServices, networks: new Set() }, signal)
      expect(await bed.networks()).toContain(network.id)
      await bed.engine.detach(guest, signal)
      expect(await bed.engine.guests(signal)).toEqual([])
      await bed.engine.detach(guest, signal)
      await bed.dropGuest(container, overlay)
      await bed.engine.sweep({ services: noServices, networks: new Set() }, signal)
      expect(await bed.networks()).not.toContain(network.id)
    })

    test('a bridge’s own address is told of what runs on it, and the bridge has no other meanwhile', async () => {
      const network = testNetwork()
      const subnet = '10.78.0.0/24'
      const bridge = `moot-${network.id.slice(-10)}`
      const on = (gateway: string, address: string): SetupParts => ({
        networks: [network],
        overlays: [{ network, bridge, subnet, gateway, address }],
      })
      const { container, observation } = await running(on('10.78.0.64', '10.78.0.65'))
      expect(observation.gateways).toEqual(['10.78.0.64'])
      expect(await listed(container)).toMatchObject({ gateways: ['10.78.0.64'] })
      await expect(create(on('10.78.0.128', '10.78.0.66'))).rejects.toBeInstanceOf(BridgeInUseError)
      expect((await bed.engine.stop(container, 10_000, signal))?.gateways).toBeUndefined()
      await bed.engine.remove(container, signal)
      const next = await running(on('10.78.0.128', '10.78.0.129'))
      expect(next.observation.gateways).toEqual(['10.78.0.128'])
    })

    test('a task is nobody’s guest', async () => {
      await running({ networks: [testNetwork()] })
      expect(await bed.engine.guests(signal)).toEqual([])
    })

    test('logs give what was printed; followed, they end with the container', async () => {
      const { container } = await running()
      const query = new URLSearchParams({ stdout: '1', stderr: '1', follow: '1' })
      let text = ''
      for await (const chunk of await bed.engine.logs(container, query, signal)) {
        if (text === '') await bed.engine.stop(container, 10_000, signal)
        text += Buffer.from(chunk).toString('latin1')
      }
      expect(text).toContain(bed.greeting)
      // Docker's frame: stream 1 (stdout), three zeros, then the length.
      expect(text.slice(0, 4)).toBe('\u0001\u0000\u0000\u0000')
    })

    test('followed logs end quietly when their reader gives up', async () => {
      const { container } = await running()
      const stop = new AbortController()
      const query = new URLSearchParams({ stdout: '1', stderr: '1', follow: '1' })
      let chunks = 0
      for await (const _ of await bed.engine.logs(container, query, stop.signal)) {
        chunks++
        stop.abort()
      }
      expect(chunks).toBeGreaterThan(0)
    })

    test('a call that is given up rejects with the reason of its signal', async () => {
      const reason = new Error('no longer interested')
      await expect(bed.engine.list(AbortSignal.abort(reason))).rejects.toBe(reason)
      const stop = new AbortController()
      const call = bed.engine.facts(stop.signal)
      stop.abort(reason)
      await expect(call).rejects.toBe(reason)
    })

    test('the event stream ends with its signal', async () => {
      const told = await record()
      await told.stop()
      recorder = undefined
      expect(told.seen.at(-1)).toEqual({ kind: 'connected' })
    })

    test('an engine that goes away and comes back is told, and calls meanwhile say it is unavailable', async () => {
      const told = await record()
      const { container } = await create()
      const from = told.seen.length
      await bed.engineDown()
      await told.until('disconnected', ({ kind }) => kind === 'disconnected', { from })
      await expect(bed.engine.list(signal)).rejects.toBeInstanceOf(EngineUnavailableError)
      const down = new EventRecorder(bed.engine)
      await down.until('disconnected, to a new reader', ({ kind }) => kind === 'disconnected')
      await bed.engineUp()
      await told.until('connected', ({ kind }) => kind === 'connected', { from })
      await down.until('connected, to a new reader', ({ kind }) => kind === 'connected')
      await down.stop()
      expect(await listed(container)).toMatchObject({ state: 'created' })
    })
  })
}

function hostPort(target: number, published?: number): object {
  return {
    TargetPort: target,
    PublishMode: 'host',
    ...(published !== undefined && { PublishedPort: published }),
  }
}
