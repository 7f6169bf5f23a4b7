import type { ContainerId, NodeId, ResourceId, ServiceId, TaskId } from '@moot/crdt-state'
import type { SlotKey } from '../core/lease/messages.ts'
import type { ContainerObservation, GuestObservation, Overlay, TaskSetup } from '../core/reconcile/actions.ts'
import { defaults } from '../defaults.ts'
import type { Clock } from './clock.ts'
import { BridgeInUseError, EngineCallError, TaskRejectedError } from './engine.errors.ts'
import { MemoryEngineCalls, type MemoryCall } from './engine.memory.calls.ts'
import type { Engine, EngineEvent, EngineFacts } from './engine.ts'
import { MemoryLog } from './engine.memory.log.ts'
import { EngineEventQueue } from './engine.queue.ts'
import { FreshVolumes } from './fresh-volumes.ts'

/** How the process in a container behaves; asked once per task, when its container is created. */
export interface MemoryBehaviour {
  /** With a health check: healthy this long after the start; `never` stays `starting` until `setHealth`. Default 0. */
  readonly healthyAfterMs?: number | 'never'
  /** With a health check: its retries are used up this long after the start. Default: they never are. */
  readonly unhealthyAfterMs?: number
  /** Ends by itself this long after its start. Default: it does not. */
  readonly exitAfterMs?: number
  /** Exit code of that, default 0. */
  readonly exitCode?: number
  /** How long it takes to obey the stop signal (default 0: at once); longer than the grace = killed, exit code 137. */
  readonly stopMs?: number
}

export interface MemoryEngineOptions {
  readonly clock: Clock
  readonly node: NodeId
  readonly facts?: Partial<EngineFacts>
  /** How long each call takes, ms. Default 0: done in the next microtask. */
  readonly latencyMs?: Partial<Readonly<Record<MemoryCall, number>>>
  readonly behaviour?: (setup: TaskSetup) => MemoryBehaviour
  /** Told of every change of a container, also while the engine is down: for checkers. */
  readonly observed?: (setup: TaskSetup, observation: ContainerObservation) => void
  /** Told of every container that a person puts on a network: for checkers. */
  readonly guestPut?: (guest: GuestObservation) => void
  /** Is this image here, or to be had from a registry? Default: all but names with `missing` in them. */
  readonly imageExists?: (image: string) => boolean
  /** The kernel lets no process start below this container's cgroup. Default: it does. */
  readonly isBlocked?: (setup: TaskSetup) => boolean
  /** Default: all but paths under `/nonexistent`. */
  readonly pathExists?: (path: string) => boolean
}

interface Box {
  /** Of all that were made here. */
  readonly number: number
  readonly setup: TaskSetup
  readonly behaviour: MemoryBehaviour
  observation: ContainerObservation
  /** Cancels of the timers of its running process. */
  timers: (() => void)[]
  readonly log: MemoryLog
}

/**
 * The Engine port in memory: deterministic, all time from `clock`. Like the real one it is a world apart from its
 * client: a call that the client gives up (its signal aborts, its agent dies) is carried out all the same, and
 * `down()` and `reboot()` do to containers what a dead engine and a dead host do.
 */
export class MemoryEngine implements Engine {
  readonly #options: MemoryEngineOptions
  readonly #boxes = new Map<ContainerId, Box>()
  readonly #byTask = new Map<TaskId, ContainerId>()
  readonly #volumes = new Set<string>()
  readonly #fresh = new FreshVolumes()
  readonly #networks = new Set<string>()
  readonly #guests = new Map<string, GuestObservation>()
  readonly #queues = new Set<EngineEventQueue>()
  #downBecause: string | undefined
  #boots = 1
  #containersMade = 0
  #nextPid = 100
  #nextPort = 32768
  readonly #calls: MemoryEngineCalls

  constructor(options: MemoryEngineOptions) {
    this.#options = options
    this.#calls = new MemoryEngineCalls(options.clock, options.latencyMs ?? {})
  }

  // ---- the port ----

  facts(signal: AbortSignal): Promise<EngineFacts> {
    return this.#calls.call('facts', undefined, signal, () => ({
      version: '20.10.24',
      apiVersion: '1.41',
      hostname: `host-${this.#options.node.slice(0, 5)}`,
      os: 'linux',
      architecture: 'x86_64',
      nanoCpus: 4e9,
      memoryBytes: 8 * 1024 ** 3,
      generic: [],
      labels: {},
      plugins: [],
      cgroups: { driver: 'cgroupfs', isRootless: false },
      ...this.#options.facts,
      bootId: `${this.#options.facts?.bootId ?? `boot-${this.#options.node.slice(0, 5)}`}-${this.#boots}`,
    }))
  }

  list(signal: AbortSignal): Promise<readonly ContainerObservation[]> {
    return this.#calls.call('list', undefined, signal, () =>
      [...this.#boxes.values()].map((box) => box.observation),
    )
  }

  get isDown(): boolean {
    return this.#downBecause !== undefined
  }

  /** As the kernel knows: of one that was never seen to run it knows nothing. */
  hasEnded({ container, state }: ContainerObservation): boolean {
    if (state === 'exited' || state === 'dead') return true
    return state === 'running' && this.#boxes.get(container)?.observation.state !== 'running'
  }

  volumes(signal: AbortSignal): Promise<readonly string[]> {
    return this.#calls.call('volumes', undefined, signal, () =>
      [...this.#volumes].filter((volume) => !this.#fresh.has(volume)).toSorted(),
    )
  }

  async *events(signal: AbortSignal): AsyncGenerator<EngineEvent> {
    const queue = new EngineEventQueue(defaults.engineEventQueueLimit)
    const end = (): void => queue.end()
    this.#queues.add(queue)
    signal.addEventListener('abort', end, { once: true })
    queue.push(
      this.#downBecause === undefined
        ? { kind: 'connected' }
        : { kind: 'disconnected', error: this.#downBecause },
    )
    if (signal.aborted) queue.end()
    try {
      yield* queue
    } finally {
      this.#queues.delete(queue)
      signal.removeEventListener('abort', end)
    }
  }

  prepare(setup: TaskSetup, signal: AbortSignal): Promise<void> {
    return this.#calls.call('prepare', setup.task.id, signal, () => {
      const image = setup.spec.TaskTemplate.ContainerSpec.Image
      if (!this.#imageExists(image)) throw new TaskRejectedError(`No such image: ${image}`)
    })
  }

  create(setup: TaskSetup, signal: AbortSignal): Promise<ContainerObservation> {
    return this.#calls.call('create', setup.task.id, signal, () => this.#create(setup))
  }

  start(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation> {
    return this.#calls.call('start', this.#boxes.get(container)?.setup.task.id, signal, () => {
      const box = this.#box(container)
      if (box.observation.state !== 'running') this.#run(box)
      return box.observation
    })
  }

  stop(
    container: ContainerId,
    graceMs: number,
    signal: AbortSignal,
  ): Promise<ContainerObservation | undefined> {
    const box = this.#boxes.get(container)
    const obeysAfterMs = box?.observation.state === 'running' ? (box.behaviour.stopMs ?? 0) : 0
    const killed = obeysAfterMs > graceMs
    return this.#calls.call(
      'stop',
      box?.setup.task.id,
      signal,
      () => {
        const box = this.#boxes.get(container)
        if (box?.observation.state === 'running') this.#exit(box, killed ? 137 : 0)
        return box?.observation
      },
      Math.min(obeysAfterMs, graceMs),
    )
  }

  remove(container: ContainerId, signal: AbortSignal): Promise<void> {
    return this.#calls.call('remove', this.#boxes.get(container)?.setup.task.id, signal, () => {
      const box = this.#boxes.get(container)
      if (box === undefined) return
      if (box.observation.state === 'running') this.#exit(box, 137)
      this.#boxes.delete(container)
      this.#byTask.delete(box.setup.task.id)
      this.#fresh.removed(container)
      box.log.wake()
      this.#emit({ kind: 'removed', task: box.setup.task.id, container })
    })
  }

  network({ network }: Overlay, signal: AbortSignal): Promise<string> {
    return this.#calls.call('network', undefined, signal, () => {
      this.#networks.add(network.id)
      return network.name
    })
  }

  guests(signal: AbortSignal): Promise<readonly GuestObservation[]> {
    return this.#calls.call('guests', undefined, signal, () => [...this.#guests.values()])
  }

  detach({ container, network }: GuestObservation, signal: AbortSignal): Promise<void> {
    return this.#calls.call('detach', undefined, signal, () => this.dropGuest(container, network))
  }

  sweep(
    wanted: { readonly services: ReadonlySet<ServiceId>; readonly networks: ReadonlySet<string> },
    signal: AbortSignal,
  ): Promise<void> {
    return this.#calls.call('sweep', undefined, signal, () => {
      const used = new Set([...this.#boxes.values()].flatMap((box) => box.setup.networks.map((n) => n.id)))
      for (const { network } of this.#guests.values()) used.add(network)
      for (const network of this.#networks) {
        if (!wanted.networks.has(network) && ![...used].some((id) => id === network)) {
          this.#networks.delete(network)
        }
      }
    })
  }

  async logs(
    container: ContainerId,
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const box = await this.#calls.call('logs', this.#boxes.get(container)?.setup.task.id, signal, () =>
      this.#box(container),
    )
    const grows = (): boolean => box.observation.state === 'running' && this.#boxes.has(container)
    return box.log.frames(query, grows, signal)
  }

  // ---- what a test or a simulator does to it ----

  /** Calls received, in order (the latest 10,000): for tests that state what was asked of Docker. */
  get calls(): readonly { readonly call: MemoryCall; readonly task?: TaskId }[] {
    return this.#calls.received
  }

  /** As `docker volume create`. */
  makeVolume(name: string): void {
    if (this.#volumes.has(name)) return
    this.#volumes.add(name)
    this.#emit({ kind: 'volumes' })
  }

  /** The process of this task ends by itself. */
  crash(task: TaskId, exitCode = 1, options: { readonly oomKilled?: boolean } = {}): void {
    const box = this.#boxOf(task)
    if (box.observation.state !== 'running') throw new Error(`task ${task} does not run here`)
    this.#exit(box, exitCode, options.oomKilled)
  }

  /** What a watchdog does at a deadline: all processes of the slot's containers are gone, whether the engine answers or not. */
  killSlot(slot: SlotKey): void {
    for (const box of this.#boxesOf(slot)) this.#exit(box, 137)
  }

  /** Does anything run of what was made under a lease of this slot? */
  isOccupied(slot: SlotKey): boolean {
    return this.#boxesOf(slot).length > 0
  }

  /** The health check of this task begins to say this. */
  setHealth(task: TaskId, health: ContainerObservation['health']): void {
    const box = this.#boxOf(task)
    this.#change(box, { ...box.observation, health })
  }

  /** Somebody removes this task's container behind our back (`docker rm -f`). */
  removeBehindBack(task: TaskId): void {
    const box = this.#boxOf(task)
    const { container } = box.observation
    for (const cancel of box.timers.splice(0)) cancel()
    this.#boxes.delete(container)
    this.#byTask.delete(task)
    this.#options.observed?.(box.setup, { ...box.observation, state: 'exited', exitCode: 137 })
    this.#emit({ kind: 'removed', task, container })
  }

  /** Somebody removes a network of ours on which nothing runs (`docker network prune`). */
  removeNetworkBehindBack(network: ResourceId): void {
    const isUsed = [...this.#boxes.values()].some(
      ({ setup, observation }) =>
        observation.state === 'running' && setup.networks.some(({ id }) => id === network),
    )
    if (isUsed) throw new Error(`network ${network} has active endpoints`)
    this.#networks.delete(network)
    this.#emit({ kind: 'guests' })
  }

  /** Somebody puts a container on a network of ours, or changes one that is there. */
  putGuest(guest: GuestObservation): void {
    this.#guests.set(`${guest.container} ${guest.network}`, guest)
    this.#options.guestPut?.(guest)
    this.#emit({ kind: 'guests' })
  }

  /** It leaves the network, or is gone. */
  dropGuest(container: ContainerId, network: ResourceId): void {
    this.#guests.delete(`${container} ${network}`)
    this.#emit({ kind: 'guests' })
  }

  /** The process of this task prints a line. */
  print(task: TaskId, text: string, stream: 1 | 2 = 1): void {
    const box = this.#boxOf(task)
    box.log.print(stream, text)
  }

  /** The next call of this kind is answered with this error; nothing is done. */
  failNext(call: MemoryCall, error: Error = new EngineCallError(500, `injected failure of ${call}`)): void {
    this.#calls.failNext(call, error)
  }

  /** What was to fail and was not asked for yet succeeds. */
  failNoMore(call: MemoryCall): void {
    this.#calls.failNoMore(call)
  }

  /** Calls of these kinds (default: all) do not answer until `release()`, their signal or their time bound. */
  hang(...calls: readonly MemoryCall[]): void {
    this.#calls.hang(calls)
  }

  /** What hung of these kinds (default: all) is carried out now, in order. */
  release(...calls: readonly MemoryCall[]): void {
    this.#calls.release(calls)
  }

  /** The engine stops answering; containers run on, and what happens to them meanwhile is seen only by listing again. */
  down(because = 'connect ECONNREFUSED'): void {
    if (this.#downBecause !== undefined) return
    this.#downBecause = because
    this.#calls.down(because)
    this.#emit({ kind: 'disconnected', error: because }, true)
  }

  up(): void {
    if (this.#downBecause === undefined) return
    this.#downBecause = undefined
    this.#calls.up()
    this.#emit({ kind: 'connected' })
  }

  /** The host loses power and boots: every process is gone, containers and volumes stand, the boot id is another. */
  reboot(): void {
    this.powerOff()
    this.powerOn()
  }

  powerOff(): void {
    this.down('host is off')
    for (const box of this.#boxes.values()) if (box.observation.state === 'running') this.#exit(box, 255)
    this.#calls.reset()
  }

  powerOn(): void {
    this.#boots++
    this.up()
  }

  /** What runs, straight from the world: for checkers, works also while the engine is down. */
  containers(): readonly { readonly setup: TaskSetup; readonly observation: ContainerObservation }[] {
    return [...this.#boxes.values()].map(({ setup, observation }) => ({ setup, observation }))
  }

  /** Who is on networks of ours beside tasks, straight from the world. */
  guestsNow(): readonly GuestObservation[] {
    return [...this.#guests.values()]
  }

  /** Whose container this is; undefined once it is removed. */
  taskOf(container: ContainerId): TaskId | undefined {
    return this.#boxes.get(container)?.setup.task.id
  }

  /** Ids of the networks that exist. */
  networks(): ReadonlySet<string> {
    return this.#networks
  }

  // ---- inside ----

  #create(setup: TaskSetup): ContainerObservation {
    const existing = this.#byTask.get(setup.task.id)
    if (existing !== undefined) return this.#box(existing).observation
    const spec = setup.spec.TaskTemplate.ContainerSpec
    if (!this.#imageExists(spec.Image)) throw new TaskRejectedError(`No such image: ${spec.Image}`)
    const volumes: string[] = []
    for (const mount of spec.Mounts ?? []) {
      const source = mount.Source ?? ''
      if (mount.Type === 'bind' && !(this.#options.pathExists ?? pathExistsByDefault)(source)) {
        throw new TaskRejectedError(
          `invalid mount config for type "bind": bind source path does not exist: ${source}`,
        )
      }
      if (mount.Type === 'volume' && source !== '') volumes.push(source)
    }
    for (const overlay of setup.overlays) this.#refuseOtherBridge(overlay)
    for (const network of setup.networks) this.#networks.add(network.id)
    this.#containersMade++
    const container =
      `${this.#options.node.slice(0, 12)}${String(this.#containersMade).padStart(52, '0')}` as ContainerId
    this.#fresh.noted(container, volumes, [...new Set(volumes).difference(this.#volumes)])
    for (const volume of volumes) this.makeVolume(volume)
    const observation: ContainerObservation = {
      container,
      task: setup.task.id,
      service: setup.task.service,
      state: 'created',
      health: 'none',
      ...leaseOf(setup),
    }
    const behaviour = this.#options.behaviour?.(setup) ?? {}
    const number = this.#containersMade
    const box: Box = { number, setup, behaviour, observation, timers: [], log: new MemoryLog() }
    this.#boxes.set(container, box)
    this.#byTask.set(setup.task.id, container)
    this.#change(box, observation)
    return observation
  }

  #run(box: Box): void {
    if (this.#options.isBlocked?.(box.setup) === true)
      throw new EngineCallError(
        500,
        'OCI runtime create failed: unable to start container process: fork: EAGAIN',
      )
    const missing = box.setup.networks.find(({ id }) => !this.#networks.has(id))
    if (missing !== undefined) throw new EngineCallError(404, `network ${missing.name} not found`)
    const ports = (box.setup.spec.EndpointSpec?.Ports ?? [])
      .filter((port) => port.PublishMode === 'host')
      .map((port) => ({
        protocol: port.Protocol,
        target: port.TargetPort,
        published: port.PublishedPort ? port.PublishedPort : this.#nextPort++,
      }))
    this.#refuseTakenPorts(box, ports)
    this.#fresh.started(box.observation.container)
    const test = box.setup.spec.TaskTemplate.ContainerSpec.Healthcheck?.Test ?? []
    const checked = test.length > 0 && test[0] !== 'NONE'
    const { container, task, service } = box.observation
    const { overlays } = box.setup
    this.#change(box, {
      container,
      task,
      service,
      state: 'running',
      ...leaseOf(box.setup),
      pid: this.#nextPid++,
      health: checked ? 'starting' : 'none',
      addresses: [{ network: 'bridge', address: `172.17.${(box.number >> 8) & 255}.${box.number & 255}/16` }],
      ...(ports.length > 0 && { ports }),
      ...(overlays.length > 0 && { gateways: overlays.map(({ gateway }) => gateway) }),
    })
    const { healthyAfterMs = 0, unhealthyAfterMs, exitAfterMs, exitCode = 0 } = box.behaviour
    const { clock } = this.#options
    if (checked && healthyAfterMs !== 'never') {
      const healthy = (): void => this.#change(box, { ...box.observation, health: 'healthy' })
      // A probe never answers before the start has: 1 ms keeps the order that Docker's clients see.
      box.timers.push(clock.after(Math.max(healthyAfterMs, 1), healthy))
    }
    if (checked && unhealthyAfterMs !== undefined) {
      const unhealthy = (): void => this.#change(box, { ...box.observation, health: 'unhealthy' })
      box.timers.push(clock.after(unhealthyAfterMs, unhealthy))
    }
    if (exitAfterMs !== undefined) {
      box.timers.push(clock.after(exitAfterMs, () => this.#exit(box, exitCode)))
    }
  }

  /** A bridge has one address, and is made anew for another once nothing runs on it. */
  #refuseOtherBridge({ network: { id, name }, gateway }: Overlay): void {
    const isInTheWay = [...this.#boxes.values()].some(
      ({ setup, observation }) =>
        observation.state === 'running' &&
        setup.overlays.some((other) => other.network.id === id && other.gateway !== gateway),
    )
    if (isInTheWay) throw new BridgeInUseError(name)
  }

  #refuseTakenPorts(box: Box, ports: NonNullable<ContainerObservation['ports']>): void {
    for (const other of this.#boxes.values()) {
      if (other === box || other.observation.state !== 'running') continue
      for (const { protocol, published } of other.observation.ports ?? []) {
        if (ports.some((port) => port.published === published && port.protocol === protocol)) {
          throw new TaskRejectedError(`Bind for 0.0.0.0:${published} failed: port is already allocated`)
        }
      }
    }
  }

  #exit(box: Box, exitCode: number, oomKilled = false): void {
    for (const cancel of box.timers.splice(0)) cancel()
    const { container, task, service } = box.observation
    this.#change(box, {
      container,
      task,
      service,
      state: 'exited',
      exitCode,
      health: 'none',
      ...leaseOf(box.setup),
      ...(oomKilled && { oomKilled }),
    })
    box.log.wake()
  }

  #change(box: Box, observation: ContainerObservation): void {
    box.observation = observation
    this.#options.observed?.(box.setup, observation)
    this.#emit({ kind: 'container', observation })
  }

  /** A dead engine tells nothing but that it died. */
  #emit(event: EngineEvent, evenDown = false): void {
    if (this.#downBecause !== undefined && !evenDown) return
    for (const queue of this.#queues) queue.push(event)
  }

  #imageExists(image: string): boolean {
    return (this.#options.imageExists ?? ((name) => !name.includes('missing')))(image)
  }

  #box(container: ContainerId): Box {
    const box = this.#boxes.get(container)
    if (box === undefined) throw new EngineCallError(404, `No such container: ${container}`)
    return box
  }

  #boxesOf(slot: SlotKey): readonly Box[] {
    return [...this.#boxes.values()].filter(
      ({ setup, observation }) => setup.lease?.slot === slot && observation.state === 'running',
    )
  }

  #boxOf(task: TaskId): Box {
    const container = this.#byTask.get(task)
    if (container === undefined) throw new Error(`no container for task ${task} here`)
    return this.#box(container)
  }
}

function leaseOf({ lease }: TaskSetup): Pick<ContainerObservation, 'lease'> {
  if (lease?.fence === undefined) return {}
  return { lease: { slot: lease.slot, fence: lease.fence } }
}

const pathExistsByDefault = (path: string): boolean => !path.startsWith('/nonexistent')
