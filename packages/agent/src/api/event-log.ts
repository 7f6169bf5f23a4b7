import type {
  NetworkSpec,
  NodeId,
  NodeSpec,
  Resource,
  ServiceId,
  ServiceSpec,
  SpecChange,
} from '@moot/crdt-state'
import type { Cluster, ClusterEvent } from '../cluster.ts'
import type { Clock } from '../ports/clock.ts'
import { nodeDisplayName } from '../core/view.ts'
import type { Filters } from './filters.ts'

/** Docker's event message (Engine API `#/definitions/EventMessage`). */
export interface DockerEvent {
  readonly Type: string
  readonly Action: string
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> }
  readonly scope: 'swarm'
  readonly time: number
  readonly timeNano: number
}

/** What the cluster did, in Docker's words: the last few for `--since`, and whatever comes. */
export interface EventLog {
  since(atMs: number): readonly DockerEvent[]
  subscribe(listener: (event: DockerEvent) => void): () => void
  stop(): void
}

const eventTypes = new Set(['service', 'node', 'network', 'secret', 'config'])

export function createEventLog(
  cluster: Cluster,
  options: {
    readonly backlog: number
    readonly clock: Pick<Clock, 'wallMs' | 'after'>
    /** What changes within this time is looked at together, ms. */
    readonly batchMs: number
    /** The state of a service's update, or undefined: an event tells when it changes. */
    readonly updateState: (service: ServiceId) => string | undefined
  },
): EventLog {
  const { clock } = options
  const past: DockerEvent[] = []
  const listeners = new Set<(event: DockerEvent) => void>()
  const updateStates = new Map<ServiceId, string>()

  const tell = (event: DockerEvent): void => {
    past.push(event)
    if (past.length > options.backlog) past.shift()
    for (const listener of listeners) listener(event)
  }

  /** `updatestate.*` attributes, if the state is another than when this was last asked. */
  const updateStateChange = (service: ServiceId): Record<string, string> => {
    const before = updateStates.get(service)
    const after = options.updateState(service)
    if (before === after) return {}
    if (after === undefined) updateStates.delete(service)
    else updateStates.set(service, after)
    return {
      ...(before === undefined ? {} : { 'updatestate.old': before }),
      ...(after === undefined ? {} : { 'updatestate.new': after }),
    }
  }

  const onSpec = (change: SpecChange, atMs: number): void => {
    const subject = change.after ?? change.before
    if (subject === undefined || !eventTypes.has(change.kind)) return
    const action = change.before === undefined ? 'create' : change.after === undefined ? 'remove' : 'update'
    const isService = change.kind === 'service'
    if (isService && action === 'remove') updateStates.delete(change.id as ServiceId)
    const progress = isService && action === 'update' ? updateStateChange(change.id as ServiceId) : {}
    // A fact that was added beside the spec is told only by what it does to the update's state.
    if (
      action === 'update' &&
      change.before?.spec === change.after?.spec &&
      Object.keys(progress).length === 0
    ) {
      return
    }
    const attributes = { name: displayName(cluster, subject), ...differences(change), ...progress }
    tell(message(change.kind, action, change.kind === 'node' ? subject.name : change.id, attributes, atMs))
  }

  const onService = (id: ServiceId, atMs: number): void => {
    const progress = updateStateChange(id)
    if (Object.keys(progress).length === 0) return
    const name = cluster.view().services.get(id)?.name
    if (name !== undefined) tell(message('service', 'update', id, { name, ...progress }, atMs))
  }

  /**
   * A record's change tells of many tasks at once, and the state of an update is read from all records: looked at once
   * for all that is told together.
   */
  const touched = new Set<ServiceId>()
  let stopLooking: (() => void) | undefined
  const lookSoon = (id: ServiceId): void => {
    touched.add(id)
    stopLooking ??= clock.after(options.batchMs, () => {
      stopLooking = undefined
      const ids = [...touched]
      touched.clear()
      if (cluster.state().kind !== 'active') return
      for (const service of ids) onService(service, clock.wallMs())
    })
  }

  const receive = (event: ClusterEvent): void => {
    switch (event.kind) {
      case 'spec':
        return onSpec(event.change, event.atMs)
      case 'task': {
        const service = event.after?.service ?? event.before?.service
        if (service !== undefined) lookSoon(service)
        return undefined
      }
      case 'node': {
        const before = dockerNodeState(event.before)
        const after = dockerNodeState(event.after)
        if (before === after) return undefined
        const attributes = { name: nodeName(cluster, event.node), 'state.old': before, 'state.new': after }
        return tell(message('node', 'update', event.node, attributes, event.atMs))
      }
      case 'warning':
        // Docker has no event for it; `/moot/v1/events` tells it.
        return undefined
    }
  }
  const stop = cluster.subscribe(receive)

  return {
    since: (atMs) => past.filter((event) => event.timeNano >= atMs * 1e6),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop() {
      stop()
      stopLooking?.()
      listeners.clear()
    },
  }
}

/** moby `daemon/events/filter.go`, for cluster events. */
export function eventMatches(event: DockerEvent, filters: Filters): boolean {
  const named = (filter: string): boolean =>
    !filters.has(filter) ||
    (event.Type === filter &&
      (filters.prefix(filter, event.Actor.ID) ||
        filters.prefix(filter, event.Actor.Attributes['name'] ?? '')))
  return (
    filters.exact('type', event.Type) &&
    filters.exact('event', event.Action) &&
    filters.exact('scope', event.scope) &&
    filters.labels('label', event.Actor.Attributes) &&
    [...eventTypes, 'container', 'image', 'volume', 'plugin', 'daemon'].every(named)
  )
}

function message(
  type: string,
  action: string,
  id: string,
  attributes: Readonly<Record<string, string>>,
  atMs: number,
): DockerEvent {
  return {
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'swarm',
    time: Math.floor(atMs / 1000),
    timeNano: atMs * 1e6,
  }
}

function displayName(cluster: Cluster, resource: Resource<SpecChangeSpec>): string {
  return resource.kind === 'node' ? nodeName(cluster, resource.name as NodeId) : resource.name
}

/** A node that was just removed is known by its id only. */
function nodeName(cluster: Cluster, node: NodeId): string {
  return cluster.state().kind === 'active' ? nodeDisplayName(cluster.view(), node) : node
}

type SpecChangeSpec = NonNullable<SpecChange['after']>['spec']

/** moby `daemon/events.go` logServiceEvent, logNodeEvent. */
function differences(change: SpecChange): Record<string, string> {
  if (change.before === undefined || change.after === undefined) return {}
  const pairs: [string, string | number | undefined, string | number | undefined][] = []
  if (change.kind === 'service') {
    const before = change.before.spec as ServiceSpec
    const after = change.after.spec as ServiceSpec
    pairs.push(['image', before.TaskTemplate.ContainerSpec.Image, after.TaskTemplate.ContainerSpec.Image])
    pairs.push(['replicas', before.Mode.Replicated?.Replicas, after.Mode.Replicated?.Replicas])
  } else if (change.kind === 'node') {
    const before = change.before.spec as NodeSpec
    const after = change.after.spec as NodeSpec
    pairs.push(['availability', before.Availability, after.Availability], ['role', before.Role, after.Role])
  } else if (change.kind === 'network') {
    const before = change.before.spec as NetworkSpec
    const after = change.after.spec as NetworkSpec
    pairs.push(['driver', before.Driver, after.Driver])
  }
  const attributes: Record<string, string> = {}
  for (const [name, before, after] of pairs) {
    if (before === after) continue
    if (before !== undefined) attributes[`${name}.old`] = String(before)
    if (after !== undefined) attributes[`${name}.new`] = String(after)
  }
  return attributes
}

function dockerNodeState(liveness: string): string {
  if (liveness === 'alive' || liveness === 'suspect') return 'ready'
  return liveness === 'agent-down' ? 'disconnected' : liveness
}
