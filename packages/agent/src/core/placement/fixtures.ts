import {
  resourceId,
  serviceSpecSchema,
  specDigest,
  type NodeId,
  type NodeRecord,
  type NodeSpec,
  type NodeStatus,
  type Rejection,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type SlotId,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import type { Liveness } from '../membership/liveness.ts'
import { constraintsOf } from './misfit.ts'
import type { Placement, PlacementInput, PlacementNode } from './placement.ts'

/** Builders for the tests and the benchmark of placement. */
export interface NodeOptions {
  readonly availability?: NodeSpec['Availability']
  readonly labels?: Readonly<Record<string, string>>
  readonly liveness?: Liveness['kind']
  readonly isOnProbation?: boolean
  readonly nanoCpus?: number
  readonly memoryBytes?: number
  readonly generic?: NodeStatus['capacity']['generic']
  readonly maxTasks?: number
  readonly volumes?: readonly string[]
  readonly architecture?: string
  readonly plugins?: NodeStatus['plugins']
  readonly tasks?: readonly TaskEntry[]
  readonly rejections?: readonly Rejection[]
  readonly engineError?: string
}

export const gibibyte = 1024 ** 3
export const cpu = 1e9

export function nodeId(name: string): NodeId {
  // A letter: `node1` and `node10` must not become one.
  return name.padEnd(25, 'z') as NodeId
}

export function node(name: string, options: NodeOptions = {}): PlacementNode {
  const id = nodeId(name)
  return {
    id,
    settings: resource<NodeSpec>('node', id, {
      Labels: { ...options.labels },
      Role: 'manager',
      Availability: options.availability ?? 'active',
      PublicKey: '',
      Addresses: [],
    }),
    record: record(id, name, options),
    liveness: liveness(options.liveness ?? 'alive', options.isOnProbation === true),
  }
}

function liveness(kind: Liveness['kind'], isOnProbation: boolean): Liveness {
  const observers = [nodeId('observer')]
  if (kind === 'unknown') return { kind }
  if (kind === 'down') return { kind, observers }
  const probation = isOnProbation ? ({ isOnProbation } as const) : {}
  return kind === 'alive' ? { kind, ...probation } : { kind, observers, ...probation }
}

function record(id: NodeId, hostname: string, options: NodeOptions): NodeRecord {
  return {
    node: id,
    epoch: 1,
    seq: 1,
    status: {
      hostname,
      addresses: ['10.0.0.1'],
      meshAddresses: [],
      agentVersion: '0',
      rules: [1],
      engine:
        options.engineError === undefined
          ? { state: 'up', version: '28', apiVersion: '1.50', bootId: 'b' }
          : { state: 'down', error: options.engineError },
      platform: { os: 'linux', architecture: options.architecture ?? 'x86_64' },
      capacity: {
        nanoCpus: options.nanoCpus ?? 4 * cpu,
        memoryBytes: options.memoryBytes ?? 8 * gibibyte,
        generic: options.generic ?? [],
        maxTasks: options.maxTasks ?? 1000,
      },
      engineLabels: {},
      plugins: options.plugins ?? [],
      volumes: options.volumes ?? [],
    },
    tasks: new Map((options.tasks ?? []).map((task) => [task.id, task])),
    alerts: new Map(),
    updates: new Map(),
    rejections: new Map((options.rejections ?? []).map((rejection) => [rejection.service, rejection])),
    blocks: new Map(),
    guests: new Map(),
  }
}

function resource<S>(kind: Resource<S>['kind'], name: string, spec: S): Resource<S> {
  return {
    kind,
    id: resourceId(kind, name, 1),
    name,
    incarnation: 1,
    spec,
    previous: undefined,
    rolledBack: false,
    facts: new Map(),
    conflicts: [],
    versionIndex: 1,
    heads: [],
    createdAtMs: 0,
    updatedAtMs: 0,
  }
}

/** `template` is of TaskTemplate; the image is given. */
export function service(
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
  template: Readonly<Record<string, unknown>> = {},
  container: Readonly<Record<string, unknown>> = {},
): Resource<ServiceSpec> {
  return resource(
    'service',
    name,
    serviceSpecSchema.parse({
      Name: name,
      TaskTemplate: { ContainerSpec: { Image: 'web:1', ...container }, ...template },
      ...spec,
    }),
  )
}

export function replicas(count: number): { Mode: { Replicated: { Replicas: number } } } {
  return { Mode: { Replicated: { Replicas: count } } }
}

let tasksMade = 0

export function task(
  of: Resource<ServiceSpec>,
  slot: TaskEntry['slot'],
  patch: Partial<TaskEntry> = {},
): TaskEntry {
  tasksMade += 1
  return {
    id: `t${String(tasksMade).padStart(24, '0')}` as TaskId,
    service: of.id as ServiceId,
    slot,
    attempt: 1,
    digest: specDigest(of.spec),
    serviceVersion: 1,
    desired: 'running',
    state: 'running',
    createdAtMs: 0,
    stateAtMs: 0,
    constraints: constraintsOf(of.spec),
    ...patch,
  }
}

export function input(
  services: readonly Resource<ServiceSpec>[],
  nodes: readonly PlacementNode[],
): PlacementInput {
  return {
    services: new Map(services.map((item) => [item.id as ServiceId, item])),
    nodes: new Map(nodes.map((item) => [item.id, item])),
  }
}

/** The same node, with these tasks more in its record. */
export function withTasks(before: PlacementNode, added: readonly TaskEntry[]): PlacementNode {
  if (before.record === undefined) throw new Error('a node without a record has no tasks')
  const tasks = new Map(before.record.tasks)
  for (const entry of added) tasks.set(entry.id, entry)
  return { ...before, record: { ...before.record, seq: before.record.seq + 1, tasks } }
}

/** The claims that this node is to write for the first `count` slots it is given, in the placement's order. */
export function claimsOf(
  { services }: PlacementInput,
  placement: Placement,
  self: NodeId,
  count: number,
): readonly TaskEntry[] {
  const claims: TaskEntry[] = []
  for (const [id, where] of placement.slots) {
    if (claims.length >= count) break
    const isMine =
      (where.kind === 'vacant' && where.to === self) ||
      (where.kind === 'moving' && where.to === self && where.successor === undefined)
    if (!isMine) continue
    const of = services.get(id.slice(0, 25) as ServiceId)
    if (of === undefined) throw new Error(`no service has slot ${id}`)
    claims.push(
      task(of, slotOf(id), {
        attempt: where.kind === 'vacant' ? where.attempt : where.holder.task.attempt + 1,
        state: 'assigned',
        assumed: where.assumed,
      }),
    )
  }
  return claims
}

function slotOf(id: SlotId): TaskEntry['slot'] {
  const rest = id.slice(26)
  return rest.length === 25 ? (rest as NodeId) : Number(rest)
}

/** All that a node is to do now, done. */
export function execute(
  state: PlacementInput,
  placement: Placement,
  self: NodeId,
  count: number,
): PlacementInput {
  const before = state.nodes.get(self)
  if (before === undefined) throw new Error(`no node ${self}`)
  const claims = claimsOf(state, placement, self, count)
  if (claims.length === 0) return state
  return { ...state, nodes: new Map(state.nodes).set(self, withTasks(before, claims)) }
}
