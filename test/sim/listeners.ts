import type { ContainerId, TaskId } from '@moot/crdt-state'
import type { ContainerObservation, TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import type { HealthCheck } from '../../packages/agent/src/core/health/probe.ts'
import type { Listener } from '../../packages/agent/src/ports/prober.memory.ts'
import type { Host } from './host.ts'

/** What a container's server is asked for, and can be ill at. */
export type Part = 'start' | 'ready' | 'live'

/** A process listens this long after its start, ms. */
const listensAfterMs = 800

/** Told of every question that gets to a container, with what it is answered. */
export type OnProbe = (host: Host, setup: TaskSetup, part: Part, isWell: boolean) => void

/** The servers in the containers of all hosts, as far as probes see them. */
export class Listeners {
  readonly #nowMs: () => number
  readonly #startedMs = new Map<ContainerId, number>()
  /** Parts that fail, of a task or of all of a service: as often as they were made to. */
  readonly #broken = new Map<string, number>()
  readonly #watchers: OnProbe[] = []

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  onProbe(watcher: OnProbe): void {
    this.#watchers.push(watcher)
  }

  observed({ container, state }: ContainerObservation): void {
    if (state !== 'running') this.#startedMs.delete(container)
    else if (!this.#startedMs.has(container)) this.#startedMs.set(container, this.#nowMs())
  }

  /** These fail until what this returns is called. `of`: a task's id, or a service's name. */
  break(of: TaskId | string, parts: readonly Part[]): () => void {
    const keys = parts.map((part) => `${of}/${part}`)
    for (const key of keys) this.#broken.set(key, (this.#broken.get(key) ?? 0) + 1)
    return () => {
      for (const key of keys) this.#broken.set(key, (this.#broken.get(key) ?? 1) - 1)
    }
  }

  at(host: Host, address: string, check: HealthCheck): Listener {
    const found = host.engine
      .containers()
      .find(({ observation }) =>
        observation.addresses?.some((each) => each.address.startsWith(`${address}/`)),
      )
    if (found === undefined || check.kind === 'tcp') return { kind: 'refuses' }
    const { setup, observation } = found
    const part = check.path.slice(1) as Part
    const listener = this.#of(setup, observation, part)
    const isWell = listener.kind === 'answers' && listener.status === 200
    for (const watcher of this.#watchers) watcher(host, setup, part, isWell)
    return listener
  }

  #of({ task, spec, service }: TaskSetup, { container }: ContainerObservation, part: Part): Listener {
    const startedMs = this.#startedMs.get(container)
    if (startedMs === undefined || this.#nowMs() - startedMs < listensAfterMs) return { kind: 'refuses' }
    const [, tag = ''] = spec.TaskTemplate.ContainerSpec.Image.split(':')
    if (tag.startsWith('stuck')) return { kind: 'silent' }
    const isBroken = [task.id, service.name].some((of) => (this.#broken.get(`${of}/${part}`) ?? 0) > 0)
    return { kind: 'answers', status: isBroken || tag.startsWith('sick') ? 503 : 200 }
  }
}
