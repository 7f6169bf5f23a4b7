import type { ContainerId, NodeId, ServiceId } from '@moot/crdt-state'
import pLimit from 'p-limit'
import type {
  ContainerObservation,
  GuestObservation,
  Overlay,
  TaskSetup,
} from '../../core/reconcile/actions.ts'
import { defaults } from '../../defaults.ts'
import { FreshVolumes } from '../../ports/fresh-volumes.ts'
import { EngineCallError, TaskRejectedError } from '../../ports/engine.errors.ts'
import type { Engine, EngineEvent, EngineFacts } from '../../ports/engine.ts'
import { createBody, type Attachment } from './container.ts'
import { DockerConnection } from './connection.ts'
import { containerEvents } from './events.ts'
import { readFacts } from './facts.ts'
import { isNetworkMissing, isStatus } from './failure.ts'
import { assignResources, type AssignedResources } from './generic.ts'
import { Images } from './images.ts'
import { label, ownFilter, taskName, type Ownership } from './labels.ts'
import { leaseDriver } from './lease.ts'
import { namedVolumes } from './mounts.ts'
import { LocalNetworks } from './networks.ts'
import { agrees, fromListing, observe, type Inspected, type Listed } from './observation.ts'
import { ContainerProcesses } from './processes.ts'
import { refuseWhatIsIgnored } from './requirements.ts'
import { dataHere, type ListedVolume } from './volumes.ts'

export interface DockerEngineOptions {
  /** At most about 100 characters: longer ones give EINVAL. */
  readonly socketPath: string
  /** Asked at each call: a node may join another cluster while the agent runs. */
  readonly clusterId: () => string
  readonly node: NodeId
  /** pino, or anything with its shape. */
  readonly logger: { warn(fields: object, message: string): void }
  /** Default: as in `defaults`. */
  readonly inspectAllTimeoutMs?: number
}

/**
 * The Engine port over the local Docker engine. It makes no decision: what runs is asked of the engine each time, by
 * the labels of this cluster and this node, and nothing without them is touched.
 *
 * `const engine = createDockerEngine({ socketPath: '/var/run/docker.sock', clusterId, node, logger })`
 */
export function createDockerEngine(options: DockerEngineOptions): Engine {
  return new DockerEngine(options)
}

class DockerEngine implements Engine {
  readonly #connection: DockerConnection
  readonly #options: DockerEngineOptions
  readonly #images: Images
  readonly #networks: LocalNetworks
  readonly #processes = new ContainerProcesses()
  /** What was last seen of each container, so that a listing inspects only those that changed. Never longer than a listing. */
  readonly #known = new Map<ContainerId, ContainerObservation>()
  readonly #fresh = new FreshVolumes()
  #facts: EngineFacts | undefined
  /** Named generic resources are handed out one container at a time. */
  #assigning: Promise<unknown> = Promise.resolve()

  constructor(options: DockerEngineOptions) {
    this.#options = options
    this.#connection = new DockerConnection(options.socketPath)
    this.#images = new Images(this.#connection)
    this.#networks = new LocalNetworks(this.#connection, () => this.#own())
  }

  async facts(signal: AbortSignal): Promise<EngineFacts> {
    this.#facts = await readFacts(this.#connection, signal)
    return this.#facts
  }

  async list(signal: AbortSignal): Promise<readonly ContainerObservation[]> {
    const listed = await this.#listContainers(signal)
    const here = new Set(listed.map(({ Id }) => Id as ContainerId))
    for (const container of this.#known.keys()) if (!here.has(container)) this.#known.delete(container)
    const observations = await this.#observeAll(listed, signal)
    this.#processes.look(observations.flatMap(({ pid }) => pid ?? []))
    return observations
  }

  hasEnded({ state, pid }: ContainerObservation): boolean {
    if (state === 'exited' || state === 'dead') return true
    return pid !== undefined && this.#processes.hasEnded(pid)
  }

  async volumes(signal: AbortSignal): Promise<readonly string[]> {
    const answer = await this.#connection.request<{ Volumes: readonly ListedVolume[] | null }>({
      method: 'GET',
      path: '/volumes',
      signal,
    })
    const listed = answer.Volumes ?? []
    this.#fresh.listed(new Set(listed.map(({ Name }) => Name)))
    return dataHere(listed.filter(({ Name }) => !this.#fresh.has(Name)))
  }

  events(signal: AbortSignal): AsyncIterable<EngineEvent> {
    return containerEvents(
      {
        connection: this.#connection,
        own: () => this.#own(),
        known: this.#known,
        inspect: (container, signal) => this.#inspect(container, signal),
        fresh: this.#fresh,
        onNetworkRemoved: () => this.#networks.forget(),
        onDisconnect: () => {
          this.#connection.forgetVersion()
          this.#networks.forget()
          this.#known.clear()
          this.#facts = undefined
        },
      },
      signal,
    )
  }

  async prepare(setup: TaskSetup, signal: AbortSignal): Promise<void> {
    if (setup.lease !== undefined) leaseDriver(setup, (this.#facts ?? (await this.facts(signal))).cgroups)
    await this.#images.have(setup.spec.TaskTemplate.ContainerSpec.Image, signal)
  }

  async create(setup: TaskSetup, signal: AbortSignal): Promise<ContainerObservation> {
    refuseWhatIsIgnored(setup.spec, await this.#connection.apiVersion(signal))
    try {
      return await this.#networks.attach(setup, signal, (to) => this.#createAttached(setup, to, signal))
    } catch (error) {
      if (!this.#forgetsMissing(error)) throw error
      // Removed behind our back since we last looked: made again, once.
      return this.#networks.attach(setup, signal, (to) => this.#createAttached(setup, to, signal))
    }
  }

  async start(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation> {
    try {
      await this.#connection.request({
        method: 'POST',
        path: `/containers/${container}/start`,
        signal,
        purpose: 'start',
      })
    } catch (error) {
      // A network that is not there is missed only now: Docker makes a container without looking. The task after this one has it again.
      this.#forgetsMissing(error)
      throw error
    }
    return this.#inspectOurs(container, signal)
  }

  async stop(
    container: ContainerId,
    graceMs: number,
    signal: AbortSignal,
  ): Promise<ContainerObservation | undefined> {
    try {
      await this.#connection.request({
        method: 'POST',
        path: `/containers/${container}/stop`,
        // Whole seconds to Docker; rounded up, because a grace must not be cut short.
        query: { t: Math.ceil(graceMs / 1000) },
        signal,
        timeoutMs: graceMs + defaults.engineCallTimeoutMs,
      })
    } catch (error) {
      if (isStatus(error, 404)) return undefined
      throw error
    }
    return this.#inspect(container, signal)
  }

  async remove(container: ContainerId, signal: AbortSignal): Promise<void> {
    try {
      await this.#connection.request({
        method: 'DELETE',
        path: `/containers/${container}`,
        query: { force: true, v: true },
        signal,
      })
    } catch (error) {
      // 409: its removal is under way.
      if (!isStatus(error, 404, 409)) throw error
    }
    this.#fresh.removed(container)
  }

  async network(overlay: Overlay, signal: AbortSignal): Promise<string> {
    return this.#networks.have(overlay, signal)
  }

  async guests(signal: AbortSignal): Promise<readonly GuestObservation[]> {
    return this.#networks.guests(signal)
  }

  async detach(guest: GuestObservation, signal: AbortSignal): Promise<void> {
    await this.#networks.detach(guest, signal)
  }

  async sweep(
    wanted: { readonly services: ReadonlySet<ServiceId>; readonly networks: ReadonlySet<string> },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#networks.sweep(wanted.networks, signal)
  }

  async logs(
    container: ContainerId,
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.#connection.stream({
      method: 'GET',
      path: `/containers/${container}/logs`,
      query,
      signal,
    })
    return untilAborted(stream, signal)
  }

  #own(): Ownership {
    return { cluster: this.#options.clusterId(), node: this.#options.node }
  }

  /** Where the engine misses a network, what is known of networks is not true any more. */
  #forgetsMissing(error: unknown): boolean {
    if (!(error instanceof EngineCallError) || !isNetworkMissing(error.message)) return false
    this.#networks.forget()
    return true
  }

  async #createAttached(
    setup: TaskSetup,
    attachments: readonly Attachment[],
    signal: AbortSignal,
  ): Promise<ContainerObservation> {
    const existing = await this.#findTask(setup, signal)
    const container = existing ?? (await this.#createNew(setup, attachments, signal))
    const created = await this.#inspectOurs(container, signal)
    // A create that was cut short left it half attached.
    if (created.state === 'created') await this.#connectOthers(container, attachments, signal)
    return created
  }

  async #createNew(
    setup: TaskSetup,
    attachments: readonly Attachment[],
    signal: AbortSignal,
  ): Promise<ContainerId> {
    const facts = this.#facts ?? (await this.facts(signal))
    const node = {
      own: this.#own(),
      hostname: facts.hostname,
      os: facts.os,
      architecture: facts.architecture,
      cgroups: facts.cgroups,
    }
    const create = async (assigned: AssignedResources): Promise<ContainerId> => {
      const body = createBody(setup, node, attachments, assigned)
      const volumes = namedVolumes(body)
      const missing = await this.#missing(volumes, signal)
      return this.#fresh.during(volumes, missing, async () => {
        const answer = await this.#connection.request<{ Id: string; Warnings: readonly string[] | null }>({
          method: 'POST',
          path: '/containers/create',
          query: { name: taskName(setup) },
          body,
          signal,
          purpose: 'create',
        })
        for (const warning of answer.Warnings ?? []) {
          this.#options.logger.warn({ task: setup.task.id, service: setup.spec.Name }, warning)
        }
        return answer.Id as ContainerId
      })
    }
    try {
      return await this.#withResources(setup, facts, signal, create)
    } catch (error) {
      if (!isStatus(error, 409)) throw error
      // Our own call from before (a lost answer, an agent that died meanwhile), or somebody else's container.
      const raced = await this.#findTask(setup, signal)
      if (raced !== undefined) return raced
      throw new TaskRejectedError((error as Error).message, error)
    }
  }

  async #missing(volumes: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    const missing: string[] = []
    for (const volume of volumes) {
      try {
        await this.#connection.request({
          method: 'GET',
          path: `/volumes/${encodeURIComponent(volume)}`,
          signal,
        })
      } catch (error) {
        if (!isStatus(error, 404)) throw error
        missing.push(volume)
      }
    }
    return missing
  }

  /** Which named resources are free is read from the containers that hold them, and so must not be asked twice at once. */
  async #withResources(
    setup: TaskSetup,
    facts: EngineFacts,
    signal: AbortSignal,
    create: (assigned: AssignedResources) => Promise<ContainerId>,
  ): Promise<ContainerId> {
    const reserved = setup.spec.TaskTemplate.Resources?.Reservations?.GenericResources ?? []
    if (reserved.length === 0) return create({})
    const turn = this.#assigning.then(async () => {
      const held = (await this.#listContainers(signal))
        .filter(({ State }) => State !== 'exited' && State !== 'dead')
        .map(({ Labels }) => JSON.parse(Labels[label.generic] ?? '{}') as AssignedResources)
      return create(assignResources(reserved, facts.generic, held))
    })
    this.#assigning = turn.catch(() => {})
    return turn
  }

  /** Engines before API 1.44 attach a container to one network when it is created; the others follow. */
  async #connectOthers(
    container: ContainerId,
    attachments: readonly Attachment[],
    signal: AbortSignal,
  ): Promise<void> {
    if (attachments.length < 2) return
    const { NetworkSettings } = await this.#inspectRaw(container, signal)
    for (const { name, endpoint } of attachments.slice(1)) {
      if (NetworkSettings.Networks?.[name] !== undefined) continue
      await this.#connection.request({
        method: 'POST',
        path: `/networks/${encodeURIComponent(name)}/connect`,
        body: { Container: container, EndpointConfig: endpoint },
        signal,
        purpose: 'create',
      })
    }
  }

  async #findTask(setup: TaskSetup, signal: AbortSignal): Promise<ContainerId | undefined> {
    const found = await this.#listContainers(signal, `${label.task}=${setup.task.id}`)
    return found[0]?.Id as ContainerId | undefined
  }

  #listContainers(signal: AbortSignal, ...labels: readonly string[]): Promise<readonly Listed[]> {
    const filters = ownFilter(this.#own(), { label: labels })
    return this.#connection.request({
      method: 'GET',
      path: '/containers/json',
      query: { all: true, filters },
      signal,
    })
  }

  /** One that hangs keeps one place, and the others go on in the rest. */
  async #observeAll(
    listed: readonly Listed[],
    signal: AbortSignal,
  ): Promise<readonly ContainerObservation[]> {
    const late = AbortSignal.timeout(this.#options.inspectAllTimeoutMs ?? defaults.engineInspectAllTimeoutMs)
    const limit = pLimit(defaults.engineInspectConcurrency)
    try {
      const seen = await limit.map(listed, (item) => this.#observeListed(item, signal, late))
      return seen.filter((observation) => observation !== undefined)
    } finally {
      // Of an engine that went away meanwhile nothing more is asked.
      limit.clearQueue()
    }
  }

  /** One container that cannot be inspected must not hide all the others. */
  async #observeListed(
    listed: Listed,
    signal: AbortSignal,
    late: AbortSignal,
  ): Promise<ContainerObservation | undefined> {
    const known = this.#known.get(listed.Id as ContainerId)
    if (known !== undefined && agrees(listed, known)) return known
    try {
      return await this.#inspect(listed.Id as ContainerId, AbortSignal.any([signal, late]))
    } catch (error) {
      if (signal.aborted || !(late.aborted || error instanceof EngineCallError)) throw error
      this.#options.logger.warn(
        { container: listed.Id, err: error },
        'the engine does not let this container be inspected; only its state is known',
      )
      return fromListing(listed, this.#own())
    }
  }

  #inspectRaw(container: ContainerId, signal: AbortSignal): Promise<Inspected> {
    return this.#connection.request({ method: 'GET', path: `/containers/${container}/json`, signal })
  }

  /** Undefined where it is gone, or not ours. */
  async #inspect(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation | undefined> {
    try {
      const observation = observe(await this.#inspectRaw(container, signal), this.#own())
      if (observation !== undefined) {
        this.#known.set(container, observation)
        if (observation.state !== 'created') this.#fresh.started(container)
      }
      return observation
    } catch (error) {
      if (isStatus(error, 404)) return undefined
      throw error
    }
  }

  async #inspectOurs(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation> {
    const observation = await this.#inspect(container, signal)
    if (observation === undefined) throw new EngineCallError(404, `No such container: ${container}`)
    return observation
  }
}

/** A reader that gives up is not told that the stream broke. */
async function* untilAborted(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    yield* stream
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
