import type { ContainerId, ServiceId, Slot, SpecDigest, TaskId } from '@moot/crdt-state'
import type {
  Action,
  ActionResult,
  ContainerObservation,
} from '../../packages/agent/src/core/reconcile/actions.ts'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/** A container of the model, with what checkers want to know about it. */
export interface ModelContainer {
  readonly id: ContainerId
  readonly task: TaskId
  readonly service: ServiceId
  readonly slot: Slot
  readonly digest: SpecDigest
  readonly image: string
  state: 'created' | 'running' | 'exited'
  health: ContainerObservation['health']
  exitCode: number | undefined
}

export type EngineFate =
  | { readonly kind: 'started'; readonly container: ModelContainer }
  | { readonly kind: 'stopped-by-agent'; readonly container: ModelContainer }
  | { readonly kind: 'ended'; readonly container: ModelContainer }

/** One host's Docker engine: it survives its agent, and loses its processes (not its containers) with its host. */
export interface ModelEngine {
  readonly containers: ReadonlyMap<ContainerId, ModelContainer>
  perform(action: Action, answer: (result: ActionResult) => void): void
  /** By hand, or by itself. */
  kill(container: ModelContainer, exitCode: number): void
  removeByHand(container: ModelContainer): void
  powerOff(): void
  onChange(listener: (container: ModelContainer, fate: EngineFate['kind'] | 'other') => void): void
}

export function observationOf(container: ModelContainer): ContainerObservation {
  const { id, task, service, state, health, exitCode } = container
  return { container: id, task, service, state, health, ...(exitCode === undefined ? {} : { exitCode }) }
}

/** `x:missing` cannot be pulled, `x:bad` exits soon, `x:sick` never gets healthy; with a health check, others do. */
export function createModelEngine(name: string, timeline: Timeline, random: Random): ModelEngine {
  const containers = new Map<ContainerId, ModelContainer>()
  const listeners: ((container: ModelContainer, fate: EngineFate['kind'] | 'other') => void)[] = []
  let power = 0
  let made = 0

  function changed(container: ModelContainer, fate: EngineFate['kind'] | 'other' = 'other'): void {
    for (const listener of listeners) listener(container, fate)
  }

  function end(container: ModelContainer, exitCode: number, fate: 'stopped-by-agent' | 'ended'): void {
    if (container.state !== 'running') return
    container.state = 'exited'
    container.exitCode = exitCode
    changed(container, fate)
  }

  function live(container: ModelContainer): void {
    const checked = container.health !== 'none'
    if (checked) container.health = 'starting'
    const era = power
    const later = (delayMs: number, run: () => void): void =>
      timeline.after(delayMs, () => {
        if (era === power && container.state === 'running') run()
      })
    if (container.image.endsWith(':bad')) later(random.between(20, 300), () => end(container, 1, 'ended'))
    if (!checked) return
    later(random.between(100, 800), () => {
      container.health = container.image.endsWith(':sick') ? 'unhealthy' : 'healthy'
      changed(container)
    })
  }

  function create(action: Action & { kind: 'create' }): ActionResult {
    const { task, spec } = action.setup
    for (const known of containers.values()) {
      if (known.task === task.id) return { kind: 'done', container: observationOf(known) }
    }
    made += 1
    const container: ModelContainer = {
      id: `${name}-${made}` as ContainerId,
      task: task.id,
      service: task.service,
      slot: task.slot,
      digest: task.digest,
      image: spec.TaskTemplate.ContainerSpec.Image,
      state: 'created',
      health: spec.TaskTemplate.ContainerSpec.Healthcheck === undefined ? 'none' : 'starting',
      exitCode: undefined,
    }
    containers.set(container.id, container)
    changed(container)
    return { kind: 'done', container: observationOf(container) }
  }

  function carryOut(action: Action): ActionResult {
    if (action.kind === 'prepare') {
      const image = action.setup.spec.TaskTemplate.ContainerSpec.Image
      if (!image.endsWith(':missing')) return { kind: 'done' }
      return { kind: 'failed', error: `No such image: ${image}`, cause: 'rejected' }
    }
    if (action.kind === 'create') return create(action)
    const container = containers.get(action.container)
    if (container === undefined) {
      if (action.kind !== 'start') return { kind: 'done' }
      return { kind: 'failed', error: 'No such container', cause: 'failed' }
    }
    if (action.kind === 'start' && container.state === 'created') {
      container.state = 'running'
      live(container)
      changed(container, 'started')
    }
    if (action.kind === 'stop') end(container, 137, 'stopped-by-agent')
    if (action.kind === 'remove') {
      containers.delete(container.id)
      changed(container)
      return { kind: 'done' }
    }
    return { kind: 'done', container: observationOf(container) }
  }

  const tookMs = {
    prepare: [5, 60],
    create: [3, 15],
    start: [80, 300],
    stop: [20, 400],
    remove: [3, 20],
  } as const

  return {
    containers,
    perform(action, answer) {
      const era = power
      const [low, high] = tookMs[action.kind]
      timeline.after(random.between(low, high), () => {
        if (era !== power) return
        const result = carryOut(action)
        timeline.after(random.between(1, 10), () => era === power && answer(result))
      })
    },
    kill: (container, exitCode) => end(container, exitCode, 'ended'),
    removeByHand(container) {
      end(container, 137, 'ended')
      containers.delete(container.id)
      changed(container)
    },
    powerOff() {
      power += 1
      for (const container of containers.values()) end(container, 255, 'ended')
    },
    onChange: (listener) => listeners.push(listener),
  }
}
