import { setTimeout as sleep } from 'node:timers/promises'
import type { ContainerId } from '@moot/crdt-state'
import type { ContainerObservation } from '../../core/reconcile/actions.ts'
import { defaults } from '../../defaults.ts'
import type { EngineEvent } from '../../ports/engine.ts'
import { EngineEventQueue } from '../../ports/engine.queue.ts'
import type { FreshVolumes } from '../../ports/fresh-volumes.ts'
import type { DockerConnection } from './connection.ts'
import { jsonLines } from './json-lines.ts'
import { readOwner, type Ownership } from './labels.ts'

/** A line of `GET /events`; the labels of a container are among its attributes, those of a network are not. */
interface DockerEvent {
  readonly Type: string
  readonly Action: string
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> }
}

export interface EventSource {
  readonly connection: DockerConnection
  readonly own: () => Ownership
  /** What was last known of a container; the events keep it up to date. */
  readonly known: Map<ContainerId, ContainerObservation>
  inspect(container: ContainerId, signal: AbortSignal): Promise<ContainerObservation | undefined>
  readonly fresh: FreshVolumes
  /** Some network of this engine is gone, ours or not. */
  onNetworkRemoved(): void
  /** The stream ended: whatever is remembered of this engine may be wrong. */
  onDisconnect(): void
}

/** exec_create and its kin, three for each health probe, would be most of the traffic: they are left out at the source. */
const actions = [
  'create',
  'start',
  'die',
  'oom',
  'pause',
  'unpause',
  'restart',
  'rename',
  'health_status',
  'destroy',
  // Of a volume: a container is about to run with it.
  'mount',
]

/** After these somebody may be on a network, or not any more, or have another name. */
const guestActions: ReadonlySet<string> = new Set(['create', 'start', 'die', 'rename', 'destroy'])

/** The engine's events for one reader, reconnecting with back-off until the signal. */
export async function* containerEvents(
  source: EventSource,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent> {
  const queue = new EngineEventQueue(defaults.engineEventQueueLimit)
  const reading = new AbortController()
  const stopped = AbortSignal.any([signal, reading.signal])
  const reader = readForEver(source, queue, stopped).finally(() => queue.end())
  try {
    yield* queue
  } finally {
    reading.abort()
    await reader
  }
}

async function readForEver(source: EventSource, queue: EngineEventQueue, signal: AbortSignal): Promise<void> {
  let delayMs: number = defaults.engineReconnectFirstMs
  let told = false
  while (!signal.aborted) {
    let error = 'the engine closed its event stream'
    try {
      await readOnce(source, queue, signal, () => {
        delayMs = defaults.engineReconnectFirstMs
        told = false
      })
    } catch (caught) {
      error = caught instanceof Error ? caught.message : String(caught)
    }
    if (signal.aborted) return
    source.onDisconnect()
    if (!told) queue.push({ kind: 'disconnected', error })
    told = true
    await sleep(delayMs, undefined, { signal }).catch(() => {})
    delayMs = Math.min(delayMs * 2, defaults.engineReconnectMaxMs)
  }
}

async function readOnce(
  source: EventSource,
  queue: EngineEventQueue,
  signal: AbortSignal,
  onConnected: () => void,
): Promise<void> {
  const connection = new AbortController()
  const either = AbortSignal.any([signal, connection.signal])
  // Not by label: a person's container on a network of ours has none.
  const filters = JSON.stringify({ type: ['container', 'network', 'volume'], event: actions })
  const stream = await source.connection.stream({
    method: 'GET',
    path: '/events',
    query: { filters },
    signal: either,
  })
  onConnected()
  queue.push({ kind: 'connected' })
  const translator = new EventTranslator(source, queue, either, (error) => connection.abort(error))
  try {
    for await (const event of jsonLines(stream)) translator.take(event as DockerEvent)
  } catch (error) {
    throw connection.signal.aborted ? connection.signal.reason : error
  } finally {
    connection.abort()
    await translator.settled()
  }
}

/**
 * Docker's events as observations. A death is told at once, from the event itself; whatever needs an inspect is told
 * after it, unless a newer event of that container came meanwhile.
 */
class EventTranslator {
  readonly #source: EventSource
  readonly #queue: EngineEventQueue
  readonly #signal: AbortSignal
  readonly #fail: (error: unknown) => void
  readonly #newest = new Map<ContainerId, symbol>()
  readonly #outOfMemory = new Set<ContainerId>()
  readonly #inspections = new Set<Promise<void>>()

  constructor(
    source: EventSource,
    queue: EngineEventQueue,
    signal: AbortSignal,
    fail: (error: unknown) => void,
  ) {
    this.#source = source
    this.#queue = queue
    this.#signal = signal
    this.#fail = fail
  }

  take(event: DockerEvent): void {
    if (event.Type === 'volume') {
      const { ID: volume, Attributes } = event.Actor
      if (event.Action === 'mount') this.#source.fresh.mounted(volume, Attributes['container'] ?? '')
      if (event.Action === 'destroy') this.#source.fresh.destroyed(volume)
      this.#queue.push({ kind: 'volumes' })
      return
    }
    if (event.Type === 'network') {
      if (event.Action !== 'destroy') return
      this.#source.onNetworkRemoved()
      this.#queue.push({ kind: 'guests' })
      return
    }
    const owner = readOwner(event.Actor.Attributes, this.#source.own())
    if (owner === undefined) {
      if (guestActions.has(event.Action)) this.#queue.push({ kind: 'guests' })
      return
    }
    const container = event.Actor.ID as ContainerId
    const turn = Symbol()
    this.#newest.set(container, turn)
    switch (event.Action) {
      case 'oom':
        this.#outOfMemory.add(container)
        return
      case 'destroy':
        this.#newest.delete(container)
        this.#outOfMemory.delete(container)
        this.#source.known.delete(container)
        this.#queue.push({ kind: 'removed', task: owner.task, container })
        return
      case 'die':
        return this.#tell({
          container,
          ...owner,
          state: 'exited',
          health: 'none',
          exitCode: Number(event.Actor.Attributes['exitCode'] ?? 0),
          ...(this.#outOfMemory.delete(container) && { oomKilled: true }),
        })
      default: {
        const inspection = this.#inspect(container, turn).finally(() => this.#inspections.delete(inspection))
        this.#inspections.add(inspection)
      }
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#inspections)
  }

  async #inspect(container: ContainerId, turn: symbol): Promise<void> {
    try {
      const observation = await this.#source.inspect(container, this.#signal)
      if (observation !== undefined && this.#newest.get(container) === turn) this.#tell(observation)
    } catch (error) {
      // An event that cannot be told is an event lost: the reader must list again.
      if (!this.#signal.aborted) this.#fail(error)
    }
  }

  #tell(observation: ContainerObservation): void {
    this.#source.known.set(observation.container, observation)
    this.#queue.push({ kind: 'container', observation })
  }
}
