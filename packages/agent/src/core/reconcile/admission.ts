import { isTerminal, type NodeRecord, type ServiceSpec, type TaskEntry } from '@moot/crdt-state'
import { slotOf, type Draft } from './draft.ts'
import { specOfTask } from './spec.ts'

export type Admission =
  | { readonly kind: 'admitted' }
  /** `wait`: what is in the way is already being stopped. */
  | { readonly kind: 'wait' | 'refused'; readonly reason: string }

/**
 * The chosen node has the last word: an exact check against what really is here, since the placement that chose it
 * may have been made from an older view. A task that replaces its slot's older one (`desired: ready`) starts after
 * that one has stopped, so the older one's share is its own.
 */
export function admit(draft: Draft, task: TaskEntry): Admission {
  const spec = specOfTask(draft, task)
  const capacity = draft.own.status?.capacity
  if (spec === undefined || capacity === undefined) return { kind: 'admitted' }
  const others = [...draft.tasks.values()].filter((other) => countsAgainst(task, other))
  const reason = shortage(spec, capacity, usedBy(draft, others))
  if (reason === undefined) return { kind: 'admitted' }
  const staying = others.filter((other) => other.desired !== 'shutdown' && other.desired !== 'remove')
  if (shortage(spec, capacity, usedBy(draft, staying)) === undefined) return { kind: 'wait', reason }
  return { kind: 'refused', reason }
}

/** Is there room for another task of a spec, beside all that is here and may yet stop? What is here is counted once for all specs. */
export function roomHere(draft: Draft): (spec: ServiceSpec) => boolean {
  const capacity = draft.own.status?.capacity
  let used: Need | undefined
  return (spec) => {
    used ??= usedBy(draft, [...draft.tasks.values()].filter(isHere))
    return capacity === undefined || shortage(spec, capacity, used) === undefined
  }
}

function countsAgainst(task: TaskEntry, other: TaskEntry): boolean {
  if (other.id === task.id || !isHere(other)) return false
  return !(task.desired === 'ready' && slotOf(other) === slotOf(task))
}

function isHere(task: TaskEntry): boolean {
  return !isTerminal(task.state) && task.state !== 'assigned'
}

type Capacity = NonNullable<NodeRecord['status']>['capacity']

function usedBy(draft: Draft, others: readonly TaskEntry[]): Need {
  const used = nothing()
  for (const tasks of Map.groupBy(others, slotOf).values()) add(used, needOfSlot(draft, tasks))
  return used
}

function shortage(spec: ServiceSpec, capacity: Capacity, used: Need): string | undefined {
  const need = needOf(spec)
  const freeCpus = Math.max(0, capacity.nanoCpus - used.nanoCpus)
  if (need.nanoCpus > freeCpus) return `needs ${need.nanoCpus / 1e9} CPUs, has ${freeCpus / 1e9} free`
  const freeBytes = Math.max(0, capacity.memoryBytes - used.memoryBytes)
  if (need.memoryBytes > freeBytes) return `needs ${need.memoryBytes} bytes of memory, has ${freeBytes} free`
  for (const [kind, count] of need.generic) {
    const free = Math.max(0, genericCapacity(capacity, kind) - (used.generic.get(kind) ?? 0))
    if (count > free) return `needs ${count} ${kind}, has ${free} free`
  }
  for (const port of need.ports.keys())
    if (used.ports.has(port)) return `host port ${port} is taken by another task`
  return undefined
}

/** What is to start after its slot's older task has stopped never has its share beside it. */
function needOfSlot(draft: Draft, tasks: readonly TaskEntry[]): Need {
  const [first, next] = [nothing(), nothing()]
  for (const task of tasks) {
    const spec = specOfTask(draft, task)
    if (spec !== undefined) add(task.desired === 'ready' ? next : first, needOf(spec))
  }
  return {
    nanoCpus: Math.max(first.nanoCpus, next.nanoCpus),
    memoryBytes: Math.max(first.memoryBytes, next.memoryBytes),
    generic: greaterOf(first.generic, next.generic),
    ports: greaterOf(first.ports, next.ports),
  }
}

function greaterOf(a: Need['generic'], b: Need['generic']): Map<string, number> {
  const all = [...a.keys(), ...b.keys()]
  return new Map(all.map((kind) => [kind, Math.max(a.get(kind) ?? 0, b.get(kind) ?? 0)]))
}

function nothing(): Need {
  return { nanoCpus: 0, memoryBytes: 0, generic: new Map(), ports: new Map() }
}

interface Need {
  nanoCpus: number
  memoryBytes: number
  readonly generic: Map<string, number>
  /** `80/tcp` → how often. */
  readonly ports: Map<string, number>
}

function needOf(spec: ServiceSpec): Need {
  const reservations = spec.TaskTemplate.Resources?.Reservations
  const generic = new Map<string, number>()
  for (const { DiscreteResourceSpec: discrete, NamedResourceSpec: named } of reservations?.GenericResources ??
    []) {
    const kind = discrete?.Kind ?? named?.Kind
    if (kind !== undefined) generic.set(kind, (generic.get(kind) ?? 0) + (discrete?.Value ?? 1))
  }
  const ports = new Map<string, number>()
  for (const { PublishMode, PublishedPort, Protocol } of spec.EndpointSpec?.Ports ?? []) {
    if (PublishMode === 'host' && PublishedPort !== undefined && PublishedPort > 0) {
      ports.set(`${PublishedPort}/${Protocol}`, 1)
    }
  }
  return {
    nanoCpus: reservations?.NanoCPUs ?? 0,
    memoryBytes: reservations?.MemoryBytes ?? 0,
    generic,
    ports,
  }
}

function add(sum: Need, need: Need): void {
  sum.nanoCpus += need.nanoCpus
  sum.memoryBytes += need.memoryBytes
  for (const [kind, count] of need.generic) sum.generic.set(kind, (sum.generic.get(kind) ?? 0) + count)
  for (const [port, count] of need.ports) sum.ports.set(port, (sum.ports.get(port) ?? 0) + count)
}

function genericCapacity(capacity: Capacity, kind: string): number {
  let total = 0
  for (const resource of capacity.generic) {
    if (resource.kind !== kind) continue
    total += typeof resource.value === 'number' ? resource.value : resource.value.length
  }
  return total
}
