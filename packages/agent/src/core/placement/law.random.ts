import {
  specDigest,
  updateKey,
  type NodeId,
  type Rejection,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import {
  cpu,
  execute,
  gibibyte,
  input,
  node,
  nodeId,
  replicas,
  service,
  task,
  withTasks,
  type NodeOptions,
} from './fixtures.ts'
import { mix } from '../hash.ts'
import { place } from './place.ts'
import type { PlacementInput, PlacementNode } from './placement.ts'

/** Numbers from a seed: a failing case is named by its seed and sizes alone. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** 0 … sides - 1 */
  roll(sides: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    return mix(this.#state) % sides
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.roll(times) === 0
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.roll(from.length)]
    if (picked === undefined) throw new Error('nothing to pick from')
    return picked
  }

  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items]
    for (let i = left.length - 1; i > 0; i -= 1) {
      const j = this.roll(i + 1)
      const [a, b] = [left[i] as T, left[j] as T]
      left[i] = b
      left[j] = a
    }
    return left
  }
}

const zones = ['a', 'b', 'c']

/** A small cluster with every feature of placement, some of its slots claimed: by right, twice, or on leaving nodes. */
export function randomCluster(dice: Dice, nodeCount: number, serviceCount: number): PlacementInput {
  const services = Array.from({ length: serviceCount }, (_, index) => randomService(dice, `s${index}`))
  const isHealthy = dice.once(2)
  const nodes = Array.from({ length: nodeCount }, (_, index) => randomNode(dice, `n${index}`, services))
  let state = input(services, isHealthy ? nodes.map(healthy) : nodes)
  // A past: some of it executed, then some of the nodes and services become others.
  if (dice.once(2)) {
    state = executeSome(dice, state, 2)
    state = ageClaims(state)
    for (const id of state.nodes.keys())
      if (dice.once(4)) state = withNode(state, changedNode(dice, state, id))
    for (const { name, id } of services) {
      if (dice.once(6)) {
        const changed = { ...randomService(dice, name), id }
        state = { ...state, services: new Map(state.services).set(id as ServiceId, changed) }
      }
    }
  }
  return state
}

/** Healthy nodes, and services of which each spreads over zones: here everything looks at everything (rule 4). */
export function spreadingCluster(dice: Dice, nodeCount: number, serviceCount: number): PlacementInput {
  const spread = { Preferences: randomSpread(dice) }
  const services = Array.from({ length: serviceCount }, (_, index) =>
    service(`s${index}`, replicas(1 + dice.roll(7)), {
      Resources: { Reservations: { NanoCPUs: (1 + dice.roll(4)) * (cpu / 4) } },
      Placement: spread,
    }),
  )
  const nodes = Array.from({ length: nodeCount }, (_, index) => healthy(randomNode(dice, `n${index}`, [])))
  return input(services, nodes)
}

/** In such clusters most slots find a node, and the score decides more than the filters. */
function healthy(made: PlacementNode): PlacementNode {
  const spec = { ...made.settings.spec, Availability: 'active' as const }
  return { ...made, settings: { ...made.settings, spec }, liveness: { kind: 'alive' } }
}

export function executeSome(dice: Dice, before: PlacementInput, rounds: number): PlacementInput {
  let state = before
  for (let round = 0; round < rounds; round += 1) {
    const placement = place(state)
    for (const id of dice.shuffled([...before.nodes.keys()])) {
      state = execute(state, placement, id, dice.roll(6))
    }
  }
  return state
}

function withNode(state: PlacementInput, changed: PlacementNode): PlacementInput {
  return { ...state, nodes: new Map(state.nodes).set(changed.id, changed) }
}

/** What was claimed long ago runs, and its neighbours have been seen by all. */
function ageClaims(state: PlacementInput): PlacementInput {
  const nodes = [...state.nodes.values()].map((before) => {
    const aged = [...(before.record?.tasks.values() ?? [])].map((entry) => ({
      ...entry,
      state: 'running' as const,
    }))
    return before.record === undefined ? before : withTasks(before, aged)
  })
  return { ...state, nodes: new Map(nodes.map((item) => [item.id, item])) }
}

export function randomNode(
  dice: Dice,
  name: string,
  services: readonly Resource<ServiceSpec>[],
): PlacementNode {
  const options: NodeOptions = {
    labels: { zone: dice.pick(zones), rack: dice.pick(zones), disk: dice.pick(['ssd', 'hdd']) },
    availability: dice.pick(['active', 'active', 'active', 'active', 'pause', 'drain']),
    liveness: dice.pick([
      'alive',
      'alive',
      'alive',
      'alive',
      'alive',
      'suspect',
      'agent-down',
      'down',
      'unknown',
    ]),
    isOnProbation: dice.once(5),
    nanoCpus: (1 + dice.roll(8)) * cpu,
    memoryBytes: (1 + dice.roll(8)) * gibibyte,
    generic: dice.once(2) ? [{ kind: 'gpu', value: dice.once(2) ? dice.roll(4) : ['g0', 'g1'] }] : [],
    maxTasks: 2 + dice.roll(12),
    volumes: volumeNames(services).filter(() => dice.once(5)),
    tasks: services.flatMap((of) => randomTasks(dice, of, name)),
    rejections: services.flatMap((of) => (dice.once(12) ? [rejection(of)] : [])),
    ...(dice.once(15) ? { engineError: 'no socket' } : {}),
  }
  const made = node(name, options)
  return options.liveness === 'unknown' && dice.once(2) ? { ...made, record: undefined } : made
}

function rejection(of: Resource<ServiceSpec>): Rejection {
  return { service: of.id as ServiceId, digest: specDigest(of.spec), reason: 'no such image', atMs: 0 }
}

/** Claims that no fold has given: of a healed partition, of a start-first update, ended, done, leaving, or of nonsense. */
function randomTasks(dice: Dice, of: Resource<ServiceSpec>, name: string): readonly TaskEntry[] {
  if (!dice.once(4)) return []
  const slot = of.spec.Mode.Global === undefined ? 1 + dice.roll(5) : nodeId(name)
  const attempt = 1 + dice.roll(3)
  const first = task(of, slot, { attempt })
  switch (dice.roll(8)) {
    case 0:
      return [first, task(of, slot, { attempt: attempt + 1 })]
    case 1:
      return [{ ...first, state: 'failed', desired: 'shutdown' }]
    case 2:
      return [{ ...first, state: 'complete', done: true }]
    case 3:
      return [{ ...first, state: 'starting', assumed: [`${of.id}.1-2@1` as never] }]
    case 4:
      return [{ ...first, leaves: { update: updateKey(of.spec), reason: 'asks for more than is left' } }]
    case 5:
      return [
        { ...first, balance: { kind: 'leaving', asked: 1, sinceMs: 0, shares: randomShares(dice, of) } },
      ]
    default:
      return [first]
  }
}

/** Of each branch of the spread preferences, and of the node. */
function randomShares(dice: Dice, { spec }: Resource<ServiceSpec>): readonly number[] {
  const levels = 1 + (spec.TaskTemplate.Placement?.Preferences?.length ?? 0)
  return Array.from({ length: levels }, () => 1 + dice.roll(4))
}

function changedNode(dice: Dice, state: PlacementInput, id: NodeId): PlacementNode {
  const before = state.nodes.get(id)
  if (before === undefined) throw new Error(`no node ${id}`)
  const fresh = randomNode(dice, id.slice(0, 2), [])
  if (fresh.record === undefined || before.record === undefined) return before
  return { ...fresh, record: { ...fresh.record, tasks: before.record.tasks } }
}

export function randomService(dice: Dice, name: string): Resource<ServiceSpec> {
  const isGlobal = dice.once(5)
  const reservations = {
    ...(dice.once(2) ? { NanoCPUs: dice.roll(5) * (cpu / 2) } : {}),
    ...(dice.once(2) ? { MemoryBytes: dice.roll(5) * (gibibyte / 2) } : {}),
    ...(dice.once(5) ? { GenericResources: [randomGeneric(dice)] } : {}),
  }
  const placement = {
    ...(dice.once(4) ? { Constraints: [`node.labels.disk ${dice.pick(['==', '!='])} ssd`] } : {}),
    ...(dice.once(4) ? { MaxReplicas: 1 + dice.roll(2) } : {}),
    ...(dice.once(2) ? { Preferences: randomSpread(dice) } : {}),
  }
  const ports = [{ TargetPort: 80, PublishedPort: 8080 + dice.roll(2), PublishMode: 'host' }]
  return service(
    name,
    {
      Mode: isGlobal ? { Global: {} } : { Replicated: { Replicas: dice.roll(7) } },
      ...(dice.once(5) ? { EndpointSpec: { Ports: ports } } : {}),
      Labels: dice.once(6) ? { 'moot.volume.move': 'true' } : {},
    },
    { Resources: { Reservations: reservations }, Placement: placement },
    dice.once(4) ? { Mounts: randomVolumes(dice, name) } : {},
  )
}

const sharedVolume = 'certs'

function randomVolumes(dice: Dice, name: string): readonly object[] {
  const own = `${name}-${dice.once(3) ? '{{.Task.Slot}}' : 'data'}`
  const sources = dice.once(2) ? [own, sharedVolume] : [own]
  return sources.map((Source) => ({ Type: 'volume', Source, Target: `/${Source}` }))
}

/** All that nodes may have of them. */
function volumeNames(services: readonly Resource<ServiceSpec>[]): readonly string[] {
  return [
    sharedVolume,
    ...services.flatMap(({ name }) => ['data', '1', '2', '3'].map((end) => `${name}-${end}`)),
  ]
}

function randomGeneric(dice: Dice): object {
  return dice.once(3)
    ? { NamedResourceSpec: { Kind: 'gpu', Value: dice.pick(['g0', 'g1']) } }
    : { DiscreteResourceSpec: { Kind: 'gpu', Value: 1 + dice.roll(2) } }
}

function randomSpread(dice: Dice): readonly object[] {
  const zone = { Spread: { SpreadDescriptor: 'node.labels.zone' } }
  const rack = { Spread: { SpreadDescriptor: 'node.labels.rack' } }
  return dice.pick([[zone], [zone, rack]])
}
