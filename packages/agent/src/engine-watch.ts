import type { ContainerId, TaskId } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { ContainerObservation, GuestObservation } from './core/reconcile/actions.ts'
import { sameJson } from './core/network/remember.ts'
import type { Clock } from './ports/clock.ts'
import type { Engine, EngineEvent, EngineFacts } from './ports/engine.ts'

export type EngineState =
  | { readonly kind: 'up' }
  /** `sinceMs`: by this node's monotonic clock. `isNew`: this agent has only just started, and not asked it yet. */
  | { readonly kind: 'down'; readonly error: string; readonly sinceMs: number; readonly isNew: boolean }

/** What this agent knows of its engine: driven by events, corrected by a slow full listing. */
export interface EngineWatch {
  containers(): ReadonlyMap<TaskId, readonly ContainerObservation[]>
  state(): EngineState
  /** Has the engine been listed in full since it was last connected? */
  listed(): boolean
  facts(): EngineFacts | undefined
  volumes(): readonly string[]
  /** Containers on networks of ours that are no tasks; undefined where it is not known who is there. */
  guests(): readonly GuestObservation[] | undefined
  /** Resolves once they are known as they are from now on. */
  lookAtGuests(): Promise<void>
  /** An observation that came as the answer of a call. */
  observe(observation: ContainerObservation): void
  forget(task: TaskId): void
  start(): void
  stop(): Promise<void>
}

interface Look {
  ask(): Promise<void>
  settled(): Promise<void>
}

/**
 * A container of ours goes created → running → ended and never back (its restart policy is `no`), so an answer that
 * was overtaken by an event is recognised by its rank and dropped.
 */
const rank = { created: 0, running: 1, paused: 1, restarting: 1, removing: 2, exited: 2, dead: 2 } as const

export function createEngineWatch(options: {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly relistIntervalMs: number
  readonly retryMs: number
  readonly guestLookDelayMs: number
  readonly volumeLookDelayMs: number
  readonly changed: () => void
  readonly guestsChanged: () => void
}): EngineWatch {
  const { engine, clock, logger, changed } = options
  const abort = new AbortController()
  let containers: ReadonlyMap<TaskId, readonly ContainerObservation[]> = new Map()
  let state: EngineState = {
    kind: 'down',
    error: 'not connected yet',
    sinceMs: clock.monotonicMs(),
    isNew: true,
  }
  let listed = false
  let facts: EngineFacts | undefined
  let volumes: readonly string[] = []
  let volumesAsked = 0
  let volumesOf = 0
  let guests: readonly GuestObservation[] | undefined
  /** Containers that an event spoke of while a listing was under way: the listing's older word on them is dropped. */
  const touchedBy = new Set<Set<ContainerId>>()
  const loops: Promise<void>[] = []

  function observe(observation: ContainerObservation): void {
    for (const touched of touchedBy) touched.add(observation.container)
    const known = containers.get(observation.task) ?? []
    const before = known.find((other) => other.container === observation.container)
    // What it writes to holds data from now on.
    const isNew = before === undefined || before.state === 'created'
    if (isNew && observation.state !== 'created') void volumeLook.ask()
    if (before !== undefined && rank[observation.state] < rank[before.state]) return
    containers = new Map(containers).set(observation.task, [
      ...known.filter((other) => other.container !== observation.container),
      observation,
    ])
  }

  function removed(task: TaskId, container: ContainerId): void {
    for (const touched of touchedBy) touched.add(container)
    const rest = (containers.get(task) ?? []).filter((other) => other.container !== container)
    const next = new Map(containers)
    if (rest.length === 0) next.delete(task)
    else next.set(task, rest)
    containers = next
  }

  async function relist(): Promise<void> {
    const touched = new Set<ContainerId>()
    touchedBy.add(touched)
    void guestLook.ask()
    try {
      const [list, factsNow] = await Promise.all([
        engine.list(abort.signal),
        engine.facts(abort.signal),
        readVolumes(),
      ])
      const byTask = new Map<TaskId, ContainerObservation[]>()
      const add = (observation: ContainerObservation): void => {
        byTask.set(observation.task, [...(byTask.get(observation.task) ?? []), observation])
      }
      for (const observation of list) if (!touched.has(observation.container)) add(observation)
      for (const known of containers.values()) {
        for (const observation of known) if (touched.has(observation.container)) add(observation)
      }
      containers = byTask
      facts = factsNow
      state = { kind: 'up' }
      listed = true
    } finally {
      touchedBy.delete(touched)
    }
    changed()
  }

  /** An answer that was overtaken by one to a later question is dropped. */
  async function readVolumes(): Promise<void> {
    volumesAsked += 1
    const question = volumesAsked
    const answer = await engine.volumes(abort.signal)
    if (question < volumesOf) return
    volumesOf = question
    volumes = answer
  }

  async function seeVolumes(): Promise<void> {
    const before = volumes
    try {
      await readVolumes()
    } catch (error) {
      logger.debug({ err: error }, 'the volumes of this node could not be seen; they are listed again')
    }
    if (!sameJson(before, volumes)) changed()
  }

  async function seeGuests(): Promise<void> {
    const before = guests
    try {
      guests = await engine.guests(abort.signal)
    } catch (error) {
      if (abort.signal.aborted) return
      guests = undefined
      logger.debug(
        { err: error },
        'who is on the networks of this node could not be seen; it is listed again',
      )
    }
    if (!sameJson(before, guests)) options.guestsChanged()
  }

  /** Whoever asks before a look has begun shares it; what is seen is never older than the question. */
  function shared(see: () => Promise<void>, delayMs: number): Look {
    let last: Promise<void> = Promise.resolve()
    let next: Promise<void> | undefined
    const look = async (): Promise<void> => {
      await clock.sleep(delayMs, abort.signal).catch(() => undefined)
      next = undefined
      if (!abort.signal.aborted) await see()
    }
    return {
      ask() {
        if (next === undefined) last = next = last.then(look)
        return next
      },
      settled: () => last,
    }
  }
  const guestLook = shared(seeGuests, options.guestLookDelayMs)
  const volumeLook = shared(seeVolumes, options.volumeLookDelayMs)

  function down(error: string): void {
    if (state.kind === 'up')
      logger.error({ error }, 'the Docker engine does not answer; its containers are left alone for now')
    const sinceMs = state.kind === 'down' ? state.sinceMs : clock.monotonicMs()
    state = { kind: 'down', error, sinceMs, isNew: false }
    listed = false
    guests = undefined
    changed()
  }

  async function tryRelist(): Promise<void> {
    try {
      await relist()
    } catch (error) {
      if (!abort.signal.aborted) down(error instanceof Error ? error.message : String(error))
    }
  }

  async function handle(event: EngineEvent): Promise<void> {
    switch (event.kind) {
      case 'connected':
        return tryRelist()
      case 'disconnected':
        return down(event.error)
      case 'guests':
        void guestLook.ask()
        return undefined
      case 'volumes':
        void volumeLook.ask()
        return undefined
      case 'container':
        observe(event.observation)
        return changed()
      case 'removed':
        removed(event.task, event.container)
        return changed()
    }
  }

  async function follow(): Promise<void> {
    while (!abort.signal.aborted) {
      try {
        for await (const event of engine.events(abort.signal)) await handle(event)
      } catch (error) {
        if (abort.signal.aborted) return
        down(error instanceof Error ? error.message : String(error))
        await clock.sleep(options.retryMs, abort.signal).catch(() => undefined)
      }
    }
  }

  async function relistForever(): Promise<void> {
    while (!abort.signal.aborted) {
      const wait = listed ? options.relistIntervalMs : options.retryMs
      await clock.sleep(wait, abort.signal).catch(() => undefined)
      if (!abort.signal.aborted) await tryRelist()
    }
  }

  return {
    containers: () => containers,
    state: () => state,
    listed: () => listed,
    facts: () => facts,
    volumes: () => volumes,
    guests: () => guests,
    lookAtGuests: () => guestLook.ask(),
    observe(observation) {
      observe(observation)
    },
    forget(task) {
      const next = new Map(containers)
      next.delete(task)
      containers = next
    },
    start() {
      loops.push(follow(), relistForever())
    },
    async stop() {
      abort.abort(new Error('the agent stops'))
      await Promise.allSettled([...loops, guestLook.settled(), volumeLook.settled()])
    },
  }
}
