import {
  nodeSpecSchema,
  recordKey,
  resourceId,
  serviceSpecSchema,
  slotId,
  specDigest,
  updateKey,
  type BlockClaims,
  type ContainerId,
  type GuestEntry,
  type NodeId,
  type NodeRecord,
  type NodeSpec,
  type NetworkSpec,
  type NodeStatus,
  type RecordChanges,
  type Rejection,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type SlotId,
  type TaskEntry,
  type TaskId,
  type UpdateFacts,
} from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import type { HealthStanding } from '../health/standing.ts'
import type { Leases } from '../lease/orders.ts'
import type { Liveness, LivenessMap } from '../membership/liveness.ts'
import { createNetwork } from '../network/network.ts'
import { place } from '../placement/place.ts'
import { placementInput, withoutClaims } from '../placement/placement-input.ts'
import type { Placement, SlotPlacement } from '../placement/placement.ts'
import { firstRules } from '../rules.ts'
import type { View } from '../view.ts'
import type { Action, ActionResult, ContainerObservation } from './actions.ts'
import type { GuestWish } from './guests.ts'
import type { ReconcileInput, ReconcileOutput } from './input.ts'

/** Builders for the tests of reconciliation: one node (`self`) of a cluster, one record, one clock. */
export const self = 'node1'.padEnd(25, '0') as NodeId
export const other = 'node2'.padEnd(25, '0') as NodeId

export function serviceOf(
  name: string,
  spec: Record<string, unknown> = {},
  template: Record<string, unknown> = {},
): Resource<ServiceSpec> {
  const parsed = serviceSpecSchema.parse({
    Name: name,
    TaskTemplate: { ContainerSpec: { Image: 'web:1' }, ...template },
    ...spec,
  })
  return resourceOf(name, parsed)
}

export function resourceOf(name: string, spec: ServiceSpec, versionIndex = 1): Resource<ServiceSpec> {
  return {
    kind: 'service',
    id: resourceId('service', name, 1),
    name,
    incarnation: 1,
    spec,
    previous: undefined,
    rolledBack: false,
    facts: new Map(),
    conflicts: [],
    versionIndex,
    heads: [],
    createdAtMs: 0,
    updatedAtMs: 0,
  }
}

/** The same service with another image: a new digest. */
export function withImage(service: Resource<ServiceSpec>, image: string): Resource<ServiceSpec> {
  const { TaskTemplate: template } = service.spec
  const spec: ServiceSpec = {
    ...service.spec,
    TaskTemplate: { ...template, ContainerSpec: { ...template.ContainerSpec, Image: image } },
  }
  return { ...service, spec, previous: service.spec, versionIndex: service.versionIndex + 1 }
}

export function taskOf(service: Resource<ServiceSpec>, patch: Partial<TaskEntry> = {}): TaskEntry {
  const slot = patch.slot ?? 1
  const attempt = patch.attempt ?? 1
  return {
    id: `${service.name}.${slot}.${attempt}` as TaskId,
    service: service.id as ServiceId,
    slot,
    attempt,
    digest: specDigest(service.spec),
    serviceVersion: service.versionIndex,
    desired: 'running',
    state: 'assigned',
    createdAtMs: 0,
    stateAtMs: 0,
    ...patch,
  }
}

export function runningTask(service: Resource<ServiceSpec>, patch: Partial<TaskEntry> = {}): TaskEntry {
  const task = taskOf(service, { state: 'running', message: 'started', seenEpoch: 1, ...patch })
  return { ...task, containerId: patch.containerId ?? containerIdOf(task.id) }
}

export function containerIdOf(task: TaskId): ContainerId {
  return `container-of-${task}` as ContainerId
}

export function containerFor(
  task: TaskEntry,
  state: ContainerObservation['state'],
  patch: Partial<ContainerObservation> = {},
): ContainerObservation {
  return {
    container: containerIdOf(task.id),
    task: task.id,
    service: task.service,
    state,
    health: 'none',
    ...patch,
  }
}

export const statusOf = (patch: Partial<NodeStatus> = {}): NodeStatus => ({
  hostname: 'host',
  addresses: ['10.0.0.1'],
  meshAddresses: [],
  agentVersion: '0.1.0',
  rules: [1],
  engine: { state: 'up', version: '20.10', apiVersion: '1.41', bootId: 'boot' },
  platform: { os: 'linux', architecture: 'x86_64' },
  capacity: { nanoCpus: 4e9, memoryBytes: 8e9, generic: [], maxTasks: 1_000 },
  engineLabels: {},
  plugins: [],
  volumes: [],
  ...patch,
})

/** Of a node whose engine is down. */
export const engineless = statusOf({ engine: { state: 'down', error: 'connect ECONNREFUSED' } })

/** One node's world, changed by the test and by what `reconcile` says. */
export interface Scene {
  readonly services: readonly Resource<ServiceSpec>[]
  readonly tasks: readonly TaskEntry[]
  readonly slots?: Readonly<Record<string, SlotPlacement>>
  readonly surplus?: Placement['surplus']
  readonly containers?: readonly ContainerObservation[]
  /** What probes say, by container. */
  readonly health?: Readonly<Record<string, HealthStanding>>
  readonly results?: Readonly<Record<string, { action: Action['kind']; result: ActionResult }>>
  readonly inFlight?: readonly TaskId[]
  readonly facts?: readonly UpdateFacts[]
  readonly rejections?: readonly Rejection[]
  readonly others?: readonly NodeRecord[]
  readonly status?: NodeStatus
  readonly nowMs?: number
  readonly leases?: Leases
  readonly synced?: boolean
  /** Services and networks whose documents were lost. */
  readonly lost?: readonly ResourceId[]
  readonly listed?: boolean
  readonly engineDownForMs?: number
  /** All containers have, as the kernel knows. */
  readonly hasEnded?: boolean
  /** Nodes that are dead. */
  readonly down?: readonly NodeId[]
  readonly suspects?: readonly NodeId[]
  /** Hosts that live without their agents. */
  readonly agentDown?: readonly NodeId[]
  readonly unsettled?: readonly NodeId[]
  readonly drained?: readonly NodeId[]
  readonly history?: readonly Resource<ServiceSpec>[]
  /** Absent: this host cannot have networks over hosts. */
  readonly networks?: readonly Resource<NetworkSpec>[]
  readonly blocks?: readonly BlockClaims[]
  readonly guests?: readonly GuestEntry[]
  readonly wishes?: readonly GuestWish[]
  /** Absent: nobody's but tasks' containers are on networks here. */
  readonly guestsSeen?: ReconcileInput['guests']['seen']
  readonly idleBlocks?: ReconcileInput['idleBlocks']
}

/** Of a node that holds none, and knows what its watchdog watches: nothing. */
export const noLeases: Leases = { isReady: true, status: () => ({ kind: 'none' }), explain: () => '' }

/** What a node has latched of the update to this spec, by slot. */
export function factsOf(
  { id, spec }: Resource<ServiceSpec>,
  slots: Record<number, 'begun' | 'ok' | 'failed'>,
): UpdateFacts {
  const service = id as ServiceId
  const latched = Object.entries(slots).map(([slot, state]) => [
    slotId(service, Number(slot)),
    { state, atMs: 1_000_000 },
  ])
  return { service, update: updateKey(spec), slots: Object.fromEntries(latched) }
}

export function recordOf(
  node: NodeId,
  parts: {
    tasks?: readonly TaskEntry[]
    facts?: readonly UpdateFacts[]
    rejections?: readonly Rejection[]
    blocks?: readonly BlockClaims[]
    guests?: readonly GuestEntry[]
  },
  status: NodeStatus = statusOf(),
): NodeRecord {
  return {
    node,
    epoch: 1,
    seq: 1,
    status,
    tasks: new Map((parts.tasks ?? []).map((task) => [task.id, task])),
    alerts: new Map(),
    updates: new Map((parts.facts ?? []).map((facts) => [facts.service, facts])),
    rejections: new Map((parts.rejections ?? []).map((rejection) => [rejection.service, rejection])),
    blocks: new Map((parts.blocks ?? []).map((claims) => [claims.network, claims])),
    guests: new Map((parts.guests ?? []).map((guest) => [guest.id, guest])),
  }
}

function memberOf(node: NodeId, isDrained: boolean): Resource<NodeSpec> {
  const spec = nodeSpecSchema.parse({ PublicKey: 'key', Availability: isDrained ? 'drain' : 'active' })
  const { spec: _, ...rest } = serviceOf(node)
  return { ...rest, kind: 'node', spec, previous: undefined }
}

export function inputOf(scene: Scene): ReconcileInput {
  const own = recordOf(
    self,
    scene,
    scene.status ?? (scene.engineDownForMs === undefined ? statusOf() : engineless),
  )
  const records = new Map([own, ...(scene.others ?? [])].map((record) => [record.node, record]))
  const view: View = {
    self,
    services: new Map(scene.services.map((service) => [service.id as ServiceId, service])),
    networks: new Map((scene.networks ?? []).map((network) => [network.id, network])),
    secrets: new Map(),
    configs: new Map(),
    nodes: new Map(
      [...records.keys()].map((node) => [node, memberOf(node, scene.drained?.includes(node) === true)]),
    ),
    cluster: undefined,
    records,
  }
  const containers = new Map<TaskId, ContainerObservation[]>()
  for (const container of scene.containers ?? []) {
    containers.set(container.task, [...(containers.get(container.task) ?? []), container])
  }
  const specs = [...scene.services, ...(scene.history ?? [])]
  const livenessOf = (node: NodeId): Liveness => {
    if (scene.down?.includes(node)) return { kind: 'down', observers: [] }
    if (scene.agentDown?.includes(node) === true) return { kind: 'agent-down', observers: [] }
    return scene.suspects?.includes(node) ? { kind: 'suspect', observers: [] } : { kind: 'alive' }
  }
  const liveness: LivenessMap = new Map([...records.keys()].map((node) => [node, livenessOf(node)]))
  return {
    view,
    liveness,
    unsettled: new Set(scene.unsettled ?? []),
    placement: {
      slots: new Map(Object.entries(scene.slots ?? heldBySelf(scene.tasks))) as unknown as Placement['slots'],
      surplus: scene.surplus ?? [],
    },
    containers,
    health: new Map(Object.entries(scene.health ?? {})) as ReadonlyMap<
      string,
      HealthStanding
    > as ReconcileInput['health'],
    engine:
      scene.engineDownForMs === undefined
        ? { kind: 'up' }
        : {
            kind: 'down',
            forMs: scene.engineDownForMs,
            hasEnded: () => scene.hasEnded === true,
            placementWithout: (ended) =>
              place(withoutClaims(placementInput(view, liveness, firstRules), self, ended)),
          },
    listed: scene.listed ?? true,
    inFlight: new Set(scene.inFlight ?? []),
    results: new Map(Object.entries(scene.results ?? {})) as unknown as ReconcileInput['results'],
    networks:
      scene.networks === undefined
        ? undefined
        : createNetwork().update({ view, liveness, marks: new Map(), reach: 'hosts' }),
    guests: { wishes: scene.wishes ?? [], seen: 'guestsSeen' in scene ? scene.guestsSeen : [] },
    idleBlocks: scene.idleBlocks ?? new Map(),
    leases: scene.leases ?? noLeases,
    synced: scene.synced ?? true,
    mayBeLost: (_, id) => scene.lost?.includes(id) === true,
    nowMs: scene.nowMs ?? 1_000_000,
    specAt: (service, digest) =>
      specs.find((known) => known.id === service && specDigest(known.spec) === digest)?.spec,
    settings: defaults,
  }
}

/** Every slot with a live task here is held here, by its oldest one. */
function heldBySelf(tasks: readonly TaskEntry[]): Record<string, SlotPlacement> {
  const slots: Record<SlotId, SlotPlacement> = {}
  for (const task of [...tasks].sort((a, b) => b.attempt - a.attempt)) {
    slots[slotId(task.service, task.slot)] = { kind: 'held', holder: { node: self, task }, losers: [] }
  }
  return slots
}

export function changedTasks(changes: RecordChanges): readonly (TaskEntry | undefined)[] {
  return [...changes]
    .filter(([key]) => key.startsWith('task/'))
    .map(([, value]) => value as TaskEntry | undefined)
}

/** The scene after the output: its changes are in the record, its actions under way, its results consumed. */
export function after(scene: Scene, output: ReconcileOutput): Scene {
  const tasks = new Map(scene.tasks.map((task) => [recordKey.task(task.id), task]))
  const facts = new Map((scene.facts ?? []).map((fact) => [recordKey.update(fact.service), fact]))
  const rejections = new Map(
    (scene.rejections ?? []).map((item) => [recordKey.rejection(item.service), item]),
  )
  for (const [key, value] of output.changes) {
    const entries = (key.startsWith('task/') ? tasks : key.startsWith('update/') ? facts : rejections) as Map<
      string,
      unknown
    >
    if (value === undefined) entries.delete(key)
    else entries.set(key, value)
  }
  return {
    ...scene,
    tasks: [...tasks.values()],
    facts: [...facts.values()],
    rejections: [...rejections.values()],
    results: {},
    inFlight: [...(scene.inFlight ?? []), ...output.actions.map((action) => action.task)],
  }
}
