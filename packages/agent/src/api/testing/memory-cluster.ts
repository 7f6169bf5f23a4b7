import { forcedEpoch, founderEpoch } from '../../core/lease/epoch.ts'
import { type VoterCandidate, voterHealth } from '../../core/lease/voter-set.ts'
import {
  type Author,
  type BlockClaims,
  changedFields,
  type ContainerId,
  digestId,
  type GuestEntry,
  type HistoryEntry,
  isClaim,
  NameTakenError,
  type NodeId,
  type NodeRecord,
  type NodeSpec,
  NotFoundError,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type Slot,
  slotId,
  type SlotId,
  specDigest,
  type SpecKind,
  type SpecOf,
  StaleVersionError,
  type TaskEntry,
  type TaskId,
  updateFact,
  type UpdateFailure,
} from '@moot/crdt-state'
import type {
  Cluster,
  ClusterEvent,
  ClusterFindings,
  ClusterState,
  GuestWanted,
  JoinToken,
} from '../../cluster.ts'
import type { Liveness } from '../../core/membership/liveness.ts'
import { createNetwork } from '../../core/network/network.ts'
import type { Placement, SlotPlacement } from '../../core/placement/placement.ts'
import type { GuestObservation } from '../../core/reconcile/actions.ts'
import type { View } from '../../core/view.ts'
import type { Encryption, NetworkAbility } from '../../networks.ts'
import type { PortTrouble } from '../../ports/forwarder.ts'
import { AlreadyInClusterError, JoinFailedError, LastNodeError, NotInClusterError } from '../../errors.ts'

type AnyResource = Resource<SpecOf[SpecKind]>

/** A cluster of pretended nodes for tests of the API: what is asked for runs at once, or is pending for ever. */
export interface MemoryCluster extends Cluster {
  readonly nodes: readonly NodeId[]
  setLiveness(node: NodeId, liveness: Liveness): void
  /** One says that another does not answer. */
  alert(by: NodeId, target: NodeId, sinceMs: number): void
  setCutOff(isCutOff: boolean): void
  /** What the agent of the second node knows. */
  setRules(versions: readonly number[]): void
  setNetwork(ability: NetworkAbility, troubles?: readonly PortTrouble[]): void
  setEncryption(encryption: Encryption): void
  /** How often keys were asked to be changed. */
  keyChanges(): number
  /** Changes one task in its node's record, as that node would. */
  changeTask(task: TaskId, change: Partial<TaskEntry>): void
  /** What `logs` gives for a task; by default one line on stdout. */
  setLogs(logs: Cluster['logs']): void
  /** As after a successor's start: the slot runs there, and its task here has ended. */
  moveTask(task: TaskId, to: NodeId): void
  tasks(): readonly { readonly node: NodeId; readonly task: TaskEntry }[]
  setConflicts(id: ResourceId, conflicts: AnyResource['conflicts']): void
  /** Its last update has failed, and it is what it was before: as a steward writes it. */
  goBack(id: ResourceId, key: string, failure: UpdateFailure): void
  /** The steward writes that the update of a service to its present spec has ended well. */
  complete(id: ResourceId): void
  /** Blocks of a network that this node has. */
  claim(node: NodeId, claims: BlockClaims): void
  /** What the node's kernel, name server and mesh are found to be; its ability as given to `setNetwork`. */
  setFindings(found: Partial<Omit<ClusterFindings, 'ability'>>): void
  /** Places on networks that were asked for. */
  readonly attached: readonly GuestWanted[]
  /** Nobody gets one, for this reason; undefined: everybody does. */
  refuseToAttach(error: Error | undefined): void
  /** What is on this node's networks. */
  setGuests(guests: readonly GuestObservation[]): void
  /** Another node's record says so. */
  putGuest(node: NodeId, guest: GuestEntry): void
  confirm: boolean
}

const startMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678)

export function memoryCluster(
  options: { readonly nodes?: number; readonly inactive?: true } = {},
): MemoryCluster {
  const nodes = Array.from({ length: options.nodes ?? 3 }, (_, at) => digestId('node', String(at)) as NodeId)
  const [self = '' as NodeId] = nodes
  const resources = new Map<string, AnyResource>()
  const histories = new Map<string, HistoryEntry<SpecOf[SpecKind]>[]>()
  const removed = new Map<string, AnyResource>()
  const records = new Map<NodeId, NodeRecord>()
  const liveness = new Map<NodeId, Liveness>()
  const tokens: { id: string; expiresAtMs: number; usedBy: NodeId | undefined }[] = []
  const listeners = new Set<(event: ClusterEvent) => void>()
  let state: ClusterState = { kind: 'inactive' }
  let version = 10
  let serial = 0
  let view: View | undefined
  let placement: Placement | undefined
  let cutOff = false
  const attached: GuestWanted[] = []
  let attachRefusal: Error | undefined
  let guests: readonly GuestObservation[] = []
  let ability: NetworkAbility = { kind: 'none', why: 'it is in memory' }
  let portTroubles: readonly PortTrouble[] = []
  let encryption: Encryption | undefined
  let keyChanges = 0
  let findings: Omit<ClusterFindings, 'ability'> = {
    failure: undefined,
    tunnel: { kind: 'absent' },
    nameServer: { kind: 'absent' },
    probes: new Map(),
  }
  let logs: Cluster['logs'] = async (task) => oneLine(task.id)

  const emit = (event: ClusterEvent): void => {
    for (const listener of listeners) listener(event)
  }
  const active = (): void => {
    if (state.kind !== 'active') throw new NotInClusterError()
  }
  const key = (kind: SpecKind, id: string): string => `${kind}/${id}`
  const ofKind = <K extends SpecKind>(kind: K): Resource<SpecOf[K]>[] =>
    [...resources.values()].filter((each) => each.kind === kind) as unknown as Resource<SpecOf[K]>[]
  const changed = (): void => {
    view = undefined
    placement = undefined
  }

  function recordFacts({ id, spec }: AnyResource, facts: readonly string[], author: Author): void {
    const history = histories.get(id) ?? []
    const heads = [`f${version}`]
    const number = history.length
    histories.set(id, [...history, { number, heads, author, action: 'fact', paths: [], facts, spec }])
  }

  function store<K extends SpecKind>(
    kind: K,
    before: AnyResource | undefined,
    after: AnyResource,
    author: Author,
    action: 'create' | 'update' | 'rollback',
  ): Resource<SpecOf[K]> {
    resources.set(key(kind, after.id), after)
    const history = histories.get(after.id) ?? []
    const number = history.filter((each) => each.action !== 'fact').length + 1
    const paths = before === undefined ? [] : [...changedFields(before.spec, after.spec).keys()]
    const entry = { number, heads: [...after.heads], author, action, paths, facts: [], spec: after.spec }
    histories.set(after.id, [...history, entry])
    changed()
    emit({ kind: 'spec', change: { kind, id: after.id, before, after, origin: 'local' }, atMs: author.atMs })
    if (kind === 'service') runService(after as unknown as Resource<ServiceSpec>)
    return after as unknown as Resource<SpecOf[K]>
  }

  function add<K extends SpecKind>(
    kind: K,
    name: string,
    spec: SpecOf[K],
    author: Author,
  ): Resource<SpecOf[K]> {
    version += 7
    serial += 1
    const id = digestId(kind, name, String(serial)) as ResourceId
    const fresh = {
      kind,
      id,
      name,
      incarnation: serial,
      spec,
      previous: undefined,
      rolledBack: false,
      facts: new Map(),
      conflicts: [],
      versionIndex: version,
      heads: [hashOf(version)],
      createdAtMs: startMs,
      updatedAtMs: startMs,
    } as unknown as AnyResource
    return store(kind, undefined, fresh, author, 'create')
  }

  function putTask(node: NodeId, task: TaskEntry): void {
    const record = records.get(node)
    if (record === undefined) return
    const before = record.tasks.get(task.id)
    records.set(node, { ...record, seq: record.seq + 1, tasks: new Map([...record.tasks, [task.id, task]]) })
    changed()
    emit({ kind: 'task', node, before, after: task, atMs: Date.now() })
  }

  function runService(service: Resource<ServiceSpec>): void {
    const id = service.id as ServiceId
    const digest = specDigest(service.spec)
    const wanted = new Map(slotsOf(service).map((slot) => [slot, digest]))
    for (const { node, task } of allTasks()) {
      if (task.service !== id || !isClaim(task)) continue
      if (wanted.get(task.slot) === task.digest) wanted.delete(task.slot)
      else putTask(node, { ...task, desired: 'shutdown', state: 'shutdown', exitCode: 0 })
    }
    if (isPending(service.spec)) return
    let at = 0
    for (const slot of wanted.keys()) {
      const node = typeof slot === 'string' ? slot : (nodes[at++ % nodes.length] ?? self)
      putTask(node, newTask(service, slot, digest))
    }
  }

  function newTask(service: Resource<ServiceSpec>, slot: Slot, digest: TaskEntry['digest']): TaskEntry {
    serial += 1
    return {
      id: digestId('task', String(serial)) as TaskId,
      service: service.id as ServiceId,
      slot,
      attempt: serial,
      digest,
      serviceVersion: service.versionIndex,
      desired: 'running',
      state: 'running',
      createdAtMs: startMs + serial,
      stateAtMs: startMs + serial,
      message: 'started',
      containerId: digestId('container', String(serial)).padEnd(64, '0') as ContainerId,
      pid: 4000 + serial,
      ports: (service.spec.EndpointSpec?.Ports ?? []).map((port) => ({
        protocol: port.Protocol,
        target: port.TargetPort,
        published: port.PublishedPort ?? 32768 + serial,
      })),
      addresses: ofKind('network')
        .filter(({ id }) => (service.spec.TaskTemplate.Networks ?? []).some(({ Target }) => Target === id))
        .map(({ name }) => ({ network: name, address: `10.0.1.${serial % 250}/24` })),
    }
  }

  function slotsOf(service: Resource<ServiceSpec>): Slot[] {
    if (service.spec.Mode.Global !== undefined) return [...nodes]
    return Array.from({ length: service.spec.Mode.Replicated?.Replicas ?? 1 }, (_, at) => at + 1)
  }

  const allTasks = (): { node: NodeId; task: TaskEntry }[] =>
    [...records].flatMap(([node, record]) => [...record.tasks.values()].map((task) => ({ node, task })))

  function placementOf(): Placement {
    const slots = new Map<SlotId, SlotPlacement>()
    for (const service of ofKind('service')) {
      for (const slot of slotsOf(service)) {
        const holder = allTasks().find(
          ({ task }) => task.service === service.id && task.slot === slot && isClaim(task),
        )
        slots.set(
          slotId(service.id as ServiceId, slot),
          holder === undefined
            ? {
                kind: 'pending',
                refusals: nodes.map((node) => ({
                  node,
                  filter: 'constraint',
                  reason: 'node.labels.nowhere is not x',
                })),
              }
            : { kind: 'held', holder, losers: [] },
        )
      }
    }
    return { slots, surplus: [] }
  }

  function viewOf(): View {
    const map = <K extends SpecKind, I extends string>(kind: K): ReadonlyMap<I, Resource<SpecOf[K]>> =>
      new Map(ofKind(kind).map((each) => [each.id as string as I, each]))
    return {
      self,
      services: map<'service', ServiceId>('service'),
      networks: map<'network', ResourceId>('network'),
      secrets: new Map(),
      configs: new Map(),
      nodes: new Map(ofKind('node').map((node) => [node.name as NodeId, node])),
      cluster: ofKind('cluster')[0],
      records: new Map(records),
    }
  }

  function token(ttlMs: number): JoinToken {
    serial += 1
    const id = digestId('token', String(serial)).slice(0, 8)
    const expiresAtMs = Date.now() + ttlMs
    tokens.push({ id, expiresAtMs, usedBy: undefined })
    return { id, token: `MOOT-1-${id}-secret`, expiresAtMs }
  }

  function begin(author: Author): void {
    if (state.kind === 'active') throw new AlreadyInClusterError(state.clusterId)
    state = { kind: 'active', clusterId: digestId('cluster') }
    add(
      'cluster',
      'cluster',
      { ClusterId: state.clusterId, Labels: {}, TaskHistoryRetentionLimit: 5 },
      author,
    )
    nodes.forEach((node, at) => {
      const spec: NodeSpec = {
        Labels: at === 0 ? { zone: 'eu' } : {},
        Role: 'manager',
        Availability: 'active',
        PublicKey: '',
        Addresses: [],
      }
      add('node', node, spec, author)
      records.set(node, recordOf(node, at))
      liveness.set(node, { kind: 'alive' })
    })
  }

  let epoch = founderEpoch({ node: self, disk: `disk of ${self}` })
  const candidates = (): readonly VoterCandidate[] =>
    nodes.map((node) => ({
      node,
      disk: `disk of ${node}`,
      isUp: liveness.get(node)?.kind === 'alive',
      forMs: 0,
      isActive: true,
    }))

  const cluster: MemoryCluster = {
    self,
    nodes,
    confirm: true,
    voters: () => ({
      epoch,
      candidates: candidates(),
      health: voterHealth(epoch, candidates(), (node) => node),
    }),
    forceVoters(next) {
      const seats = next.map((node) => ({ node, disk: `disk of ${node}` }))
      epoch = forcedEpoch(epoch, seats, self)
      return Promise.resolve(epoch)
    },
    state: () => state,
    view() {
      active()
      return (view ??= viewOf())
    },
    liveness() {
      active()
      return liveness
    },
    networks() {
      if (ability.kind === 'none') return undefined
      const reach = ability.kind === 'kernel' ? 'hosts' : 'nowhere'
      return createNetwork().update({ view: cluster.view(), liveness, marks: new Map(), reach })
    },
    networkFindings: () => Promise.resolve({ ability, ...findings }),
    attached,
    async attach(wanted, _, use) {
      active()
      attached.push(wanted)
      if (attachRefusal !== undefined) throw attachRefusal
      const address = wanted.address ?? `10.128.1.${attached.length + 1}`
      return use({
        bridge: `bridge of ${resources.get(key('network', wanted.network))?.name}`,
        address,
        gateway: '10.128.1.1',
      })
    },
    guests: async () => guests,
    refuseToAttach(error) {
      attachRefusal = error
    },
    setGuests(now) {
      guests = now
    },
    putGuest(node, guest) {
      const record = records.get(node)
      if (record === undefined) return
      records.set(node, { ...record, guests: new Map(record.guests).set(guest.id, guest) })
      changed()
    },
    network: () => ({ ability: () => ability, troubles: () => portTroubles }),
    encryption: () => encryption,
    changeKeys() {
      keyChanges++
    },
    placement() {
      active()
      return (placement ??= placementOf())
    },
    async init({ author }) {
      begin(author)
      return token(60_000)
    },
    async join(text, { author }) {
      if (!text.startsWith('MOOT-')) throw new JoinFailedError('this is no join token: it begins with MOOT-')
      begin(author)
    },
    async leave({ force }) {
      active()
      if (nodes.length === 1 && !force) throw new LastNodeError()
      state = { kind: 'inactive' }
      resources.clear()
      records.clear()
      changed()
    },
    async createToken({ ttlMs }) {
      active()
      return token(ttlMs)
    },
    tokens: () => tokens,
    async create(kind, name, spec, author) {
      active()
      if (ofKind(kind).some((each) => each.name === name)) throw new NameTakenError(kind, name)
      return committed(cluster, add(kind, name, spec, author))
    },
    async update(kind, id, index, spec, author, action = 'update', revise = (_, merged) => merged) {
      active()
      const before = resources.get(key(kind, id))
      if (before === undefined) throw new NotFoundError(kind, id)
      if (before.versionIndex !== index) throw new StaleVersionError(kind, before.name)
      version += 7
      const after = {
        ...before,
        spec: revise(before as Resource<SpecOf[typeof kind]>, spec),
        previous: before.spec,
        rolledBack: action === 'rollback',
        versionIndex: version,
        heads: [hashOf(version)],
        updatedAtMs: author.atMs,
      } as unknown as AnyResource
      return committed(cluster, store(kind, before, after, author, action))
    },
    async addFacts(kind, id, facts, author) {
      active()
      const before = resources.get(key(kind, id))
      if (before === undefined) throw new NotFoundError(kind, id)
      const after = { ...before, facts: new Map([...facts, ...before.facts]) }
      resources.set(key(kind, id), after)
      recordFacts(after, [...facts.keys()], author)
      changed()
      return { confirmedBy: self, warnings: [] }
    },
    async remove(kind, id, author) {
      active()
      const before = resources.get(key(kind, id))
      if (before === undefined) throw new NotFoundError(kind, id)
      resources.delete(key(kind, id))
      removed.set(key(kind, before.name), before)
      for (const [node, record] of records) {
        const kept = new Map([...record.tasks].filter(([, task]) => task.service !== id))
        records.set(node, { ...record, tasks: kept })
      }
      changed()
      emit({
        kind: 'spec',
        change: { kind, id, before, after: undefined, origin: 'local' },
        atMs: author.atMs,
      })
      return { confirmedBy: self, warnings: [] }
    },
    async restore(kind, name, author) {
      active()
      const before = removed.get(key(kind, name))
      if (before === undefined) throw new NotFoundError(kind, name)
      return committed(cluster, add(kind, name, before.spec as SpecOf[typeof kind], author))
    },
    history: (kind, id) => (histories.get(id) ?? []) as HistoryEntry<SpecOf[typeof kind]>[],
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    logs: (task, query, signal) => logs(task, query, signal),
    damage: () => [],
    status: () => ({ peers: nodes.slice(1), synced: true, cutOff }),

    setLiveness(node, value) {
      const before = liveness.get(node)?.kind ?? 'unknown'
      liveness.set(node, value)
      changed()
      emit({ kind: 'node', node, before, after: value.kind, atMs: Date.now() })
    },
    alert(by, target, sinceMs) {
      const record = records.get(by)
      if (record === undefined) return
      const alert = { target, evidence: 'silent', epoch: 1, seq: 1, sinceMs } as const
      records.set(by, { ...record, alerts: new Map(record.alerts).set(target, alert) })
      changed()
    },
    claim(node, claims) {
      const record = records.get(node)
      if (record === undefined) throw new NotFoundError('node', node)
      records.set(node, { ...record, blocks: new Map(record.blocks).set(claims.network, claims) })
      changed()
    },
    setFindings(found) {
      findings = { ...findings, ...found }
    },
    setCutOff(isCutOff) {
      cutOff = isCutOff
    },
    setRules(rules) {
      const [, [node, record]] = [...records] as [unknown, [NodeId, NodeRecord]]
      records.set(node, { ...record, status: record.status && { ...record.status, rules } })
      changed()
    },
    setNetwork(next, troubles = []) {
      ability = next
      portTroubles = troubles
    },
    setEncryption(given) {
      encryption = given
    },
    keyChanges: () => keyChanges,
    changeTask(id, change) {
      for (const { node, task } of allTasks()) if (task.id === id) putTask(node, { ...task, ...change })
    },
    moveTask(id, to) {
      const found = allTasks().find(({ task }) => task.id === id)
      if (found === undefined) throw new NotFoundError('task', id)
      const { node, task } = found
      serial += 1
      putTask(node, { ...task, desired: 'shutdown', state: 'shutdown' })
      putTask(to, { ...task, id: digestId('task', String(serial)) as TaskId, attempt: task.attempt + 1 })
    },
    setLogs(value) {
      logs = value
    },
    tasks: allTasks,
    complete(id) {
      const before = resources.get(key('service', id))
      if (before === undefined) throw new NotFoundError('service', id)
      const completed = updateFact.completed(specDigest(before.spec as ServiceSpec))
      resources.set(key('service', id), {
        ...before,
        facts: new Map(before.facts).set(completed, { atMs: 1 }),
      })
      changed()
    },
    goBack(id, name, failure) {
      const before = resources.get(key('service', id))
      if (before?.previous === undefined) throw new NotFoundError('service', id)
      version += 7
      const facts = new Map(before.facts).set(name, failure)
      const after = {
        ...before,
        spec: before.previous,
        previous: undefined,
        rolledBack: true,
        failure,
        facts,
        versionIndex: version,
      } as AnyResource
      resources.set(key('service', id), after)
      recordFacts(after, [name], { node: self, client: 'moot-agent', atMs: failure.atMs })
      runService(after as unknown as Resource<ServiceSpec>)
      changed()
    },
    setConflicts(id, conflicts) {
      for (const [at, each] of resources) if (each.id === id) resources.set(at, { ...each, conflicts })
      changed()
    },
  }
  if (options.inactive !== true) begin({ node: self, client: 'test', atMs: startMs })
  return cluster
}

function hashOf(version: number): string {
  return version.toString(16).padStart(64, '0')
}

function isPending(spec: ServiceSpec): boolean {
  return (spec.TaskTemplate.Placement?.Constraints ?? []).some((text) => text.includes('nowhere'))
}

function committed<S>(
  cluster: MemoryCluster,
  resource: Resource<S>,
): {
  resource: Resource<S>
  confirmedBy: NodeId | undefined
  warnings: readonly string[]
} {
  return cluster.confirm
    ? { resource, confirmedBy: cluster.self, warnings: [] }
    : { resource, confirmedBy: undefined, warnings: ['stored on this node only'] }
}

function recordOf(node: NodeId, at: number): NodeRecord {
  return {
    node,
    epoch: 1,
    seq: 1,
    tasks: new Map(),
    alerts: new Map(),
    updates: new Map(),
    rejections: new Map(),
    blocks: new Map(),
    guests: new Map(),
    status: {
      hostname: `host-${at + 1}`,
      addresses: [`10.99.0.${at + 1}`],
      meshAddresses: [],
      agentVersion: '0.1.0',
      rules: [1],
      engine: { state: 'up', version: '20.10.24', apiVersion: '1.41', bootId: 'b' },
      platform: { os: 'linux', architecture: 'x86_64' },
      capacity: {
        nanoCpus: 2e9,
        memoryBytes: 8 * 2 ** 30,
        generic: at === 0 ? [{ kind: 'GPU', value: 2 }] : [],
        maxTasks: 100,
      },
      engineLabels: at === 1 ? { disk: 'ssd' } : {},
      plugins: [{ type: 'Volume', name: 'local' }],
      volumes: [],
    },
  } as unknown as NodeRecord
}

async function* oneLine(task: TaskId): AsyncGenerator<Uint8Array> {
  const payload = Buffer.from(`hello from ${task}\n`)
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, payload.length])
  yield Buffer.concat([head, payload])
}
