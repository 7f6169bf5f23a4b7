import {
  digestId,
  type Identity,
  type GuestId,
  type NodeId,
  nodeIdOf,
  openRecordStore,
  openSpecStore,
  type RecordStore,
  type Resource,
  type ServiceSpec,
  type SpecChange,
  type SpecStore,
  type Storage,
  type TaskId,
  type Tombstone,
} from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { ClusterEvent, ClusterFindings } from './cluster.ts'
import { isUp, type LivenessMap } from './core/membership/liveness.ts'
import type { Placement } from './core/placement/placement.ts'
import { commonRules, type Rules } from './core/rules.ts'
import { nodeDisplayName, type View } from './core/view.ts'
import { createDecisions } from './decisions.ts'
import { createAutoBalance } from './auto-balance.ts'
import { createBootGate } from './boot-gate.ts'
import { createConcluder } from './update-conclusions.ts'
import type { Defaults } from './defaults.ts'
import { type NodeLeases, openLeases } from './leases/leases.ts'
import type { ExclusiveHost } from './ports/exclusive-host.ts'
import { subjectsOf } from './core/health/subjects.ts'
import { createHealthWatch } from './health-watch.ts'
import { createEngineWatch, type EngineWatch } from './engine-watch.ts'
import { createExecutor, engineConcurrency, type Executor } from './executor.ts'
import { createGuests, type Guests } from './guests.ts'
import { fetchLogs, serveLogs } from './log-relay.ts'
import type { Clock } from './ports/clock.ts'
import type { Engine } from './ports/engine.ts'
import type { Gate, Mesh } from './ports/mesh.ts'
import type { NameServer } from './ports/name-server.ts'
import type { DataPlane } from './ports/data-plane.ts'
import type { Forwarder } from './ports/forwarder.ts'
import type { Prober } from './ports/prober.ts'
import type { Witness } from './ports/witness.ts'
import { createIntroduced } from './join/introduced.ts'
import { encodeIntroduction, type Introduction } from './join/introduction.ts'
import { createMemberAddresses } from './member-addresses.ts'
import type { NetworkOutlook } from './core/network/network.ts'
import { publishedAddress } from './core/network/published-address.ts'
import { openForwards, serveForwards } from './forward-relay.ts'
import { createNetworks, type Encryption, type Networks } from './networks.ts'
import { createNetworkSweeper } from './network-sweeper.ts'
import { createStatusWriter, statusOf } from './node-status.ts'
import { watchRecords } from './record-events.ts'
import { createReconciler, type Reconciler } from './reconciler.ts'
import { createMembershipDriver } from './replication/membership.ts'
import { createReplication, type Replication } from './replication/replication.ts'
import { removalOf } from './removal.ts'
import { roundTrips } from './round-trips.ts'
import { createSpecHistory } from './spec-history.ts'
import { createViewSource } from './view-source.ts'
import type { WireGuardKeys } from './wire-guard-keys.ts'
import { createWireGuardRounds } from './wire-guard-rounds.ts'

export interface MemberOptions {
  readonly clusterId: string
  readonly self: NodeId
  readonly identity: Identity
  readonly storage: Storage
  readonly engine: Engine
  readonly mesh: (gate: Gate) => Mesh
  readonly witness: Witness
  readonly prober: Prober
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** A fresh Automerge actor, hex. */
  readonly newActor: () => string
  readonly agentVersion: string
  /** The decision rules that this agent can follow. */
  readonly rules: readonly Rules[]
  /** Host addresses that people may use, first the one to show. */
  readonly addresses: () => readonly string[]
  /** A stranger's key that counts as a member until the specs are here (the issuer, while joining). */
  readonly sponsor?: NodeId
  /** This node begins the cluster: it is the first to vote. */
  readonly isFounder: boolean
  readonly exclusive: ExclusiveHost
  readonly dataPlane: DataPlane
  readonly forwarder: Forwarder
  readonly nameServer: NameServer
  readonly wireGuardKeys: WireGuardKeys
  /** `bytes` random bytes as hex. */
  readonly randomHex: (bytes: number) => string
  /** Who admitted this node; empty: nobody, or it joined before this was kept. */
  readonly introduction: () => Introduction
  /** Members and their addresses before this start: believed while the store has lost who is one. */
  readonly lastKnown: ReadonlyMap<NodeId, readonly string[]>
  /** Members and their addresses now, to be remembered. */
  readonly membersKnown: (members: ReadonlyMap<NodeId, readonly string[]>) => void
  /** This node's membership was removed, by this tombstone. */
  readonly removed: (tombstone: Tombstone) => void
  readonly event: (event: ClusterEvent) => void
  /** This agent must not go on; the log says why. */
  readonly halt: () => void
}

/** One node's part in one cluster: the stores, the mesh, and the loop that keeps its tasks. */
export interface Member {
  readonly clusterId: string
  readonly specs: SpecStore
  readonly records: RecordStore
  readonly mesh: Mesh
  readonly replication: Replication
  readonly watch: EngineWatch
  readonly leases: NodeLeases
  view(): View
  liveness(): LivenessMap
  placement(): Placement
  networks(): NetworkOutlook | undefined
  networkFindings(signal: AbortSignal): Promise<ClusterFindings>
  readonly attach: Guests['attach']
  guests(): Promise<ReturnType<EngineWatch['guests']>>
  network(): Pick<Networks, 'ability' | 'troubles'>
  encryption(): Encryption | undefined
  changeKeys(): void
  logs(
    task: { readonly node: NodeId; readonly id: TaskId },
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>
  /** Rejects if the engine does not answer now. */
  askEngine(signal: AbortSignal): Promise<void>
  /** After this node's removal: resolves once its tasks have stopped and their containers are gone. */
  clear(signal: AbortSignal): Promise<void>
  synced(): boolean
  /** No other member answers, nor does the way to them: this node replaces nothing of theirs. */
  isCutOff(): boolean
  /** What was found damaged in the stores. */
  damage(): readonly Damage[]
  /** Opens the mesh port, as a stranger may have to before it is a member. */
  connect(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

interface Damage {
  readonly what: string
  readonly setAsideAs: string
  readonly healed: boolean
}

export async function openMember(options: MemberOptions): Promise<Member> {
  const { self, clock, logger, settings, engine, storage, identity, clusterId } = options
  const isMember = (node: NodeId): boolean =>
    node === self ||
    specs.byName('node', node) !== undefined ||
    isSponsor(node) ||
    isLostMember(node) ||
    introduced.has(node)
  const specs: SpecStore = await openSpecStore({
    storage,
    identity,
    clusterId,
    newActor: options.newActor,
    onError: (error) => logger.error({ err: error }, 'spec store'),
    // Former members too: what they removed stays removed after they are gone.
    trust: (publicKey) => {
      const signer = nodeIdOf(publicKey)
      return isMember(signer) || specs.tombstone('node', signer) !== undefined
    },
  })
  const records = await openRecordStore({
    storage,
    identity,
    clusterId,
    maxRecordBytes: settings.maxMessageBytes / 2,
    onError: (error) => logger.error({ err: error }, 'record store'),
  })
  let clonedTold = false
  const introduced = createIntroduced({
    clusterId,
    identity,
    specs,
    settings,
    logger: logger.child({ part: 'membership' }),
    isLostMember: (node) => isLostMember(node),
  })
  const mesh = options.mesh({
    member: isMember,
    farewell: (node) => farewellOf(specs, node),
    introduction: () => encodeIntroduction(options.introduction()),
    introduced: (node, publicKey, shown) => introduced.letIn(node, publicKey, shown),
  })
  const replication = createReplication({
    mesh,
    specs,
    records,
    clock,
    logger: logger.child({ part: 'replication' }),
    settings,
    random: options.random,
    member: isMember,
    goesBy: (node) => networks.goesBy(node),
    // One in doubt gets no traffic, and sends it on all the same.
    isServing: (node) => isUp(decisions.now().liveness.get(node)),
    cloned: (version) => {
      if (clonedTold) return
      clonedTold = true
      logger.fatal(
        { version },
        "another agent runs with this node's key and data (a cloned disk?): stop one of them, remove its data directory and join it anew",
      )
      options.halt()
    },
  })

  /** Only until the cluster's members are known here: the issuer may itself be removed one day. */
  const isSponsor = (node: NodeId): boolean =>
    node === options.sponsor && specs.byName('node', self) === undefined
  /** The document that says so is lost: nobody is removed without a tombstone. Only members give documents, so it has to be let in. */
  const isLostMember = (node: NodeId): boolean =>
    options.lastKnown.has(node) &&
    specs.byName('node', node) === undefined &&
    specs.tombstone('node', node) === undefined

  const viewOf = createViewSource(self, specs, records)
  const decisions = createDecisions({
    viewOf,
    rules: options.rules,
    clock,
    settings,
    isCutOff: () => driver.isCutOff(),
    missed: () => driver.missed(),
    changed: () => changed(),
  })
  const gate = createBootGate({
    self,
    specs,
    records,
    isCompared: () => replication.synced(),
    hasLostMembers: () => [...options.lastKnown.keys()].some(isLostMember),
    members: () => viewOf().nodes,
    liveness: () => decisions.now().liveness,
    clock,
    settings,
    waitOver: () => {
      speak()
      changed()
    },
  })
  const history = createSpecHistory(specs)
  const waiters = new Set<() => void>()
  const stopping = new AbortController()

  const changed = (): void => {
    health.look()
    if (gate.recordIsWhole()) reconciler.trigger()
    networks.trigger()
    for (const waiter of waiters) waiter()
  }
  const watch = createEngineWatch({
    engine,
    clock,
    logger: logger.child({ part: 'engine' }),
    relistIntervalMs: settings.relistIntervalMs,
    retryMs: settings.engineRetryMs,
    guestLookDelayMs: settings.guestLookDelayMs,
    volumeLookDelayMs: settings.volumeLookDelayMs,
    changed: () => {
      changed()
      status.publish()
    },
    guestsChanged: () => {
      changed()
      sweeper.soon()
    },
  })
  const health = createHealthWatch({
    prober: options.prober,
    clock,
    settings,
    subjects: () => subjectsOf({ view: viewOf(), specAt: history.specAt, containers: watch.containers() }),
    changed: () => {
      if (gate.recordIsWhole()) reconciler.trigger()
    },
  })
  let rulesTold = true
  /** Agents of two versions without a common rule must not decide against each other: neither decides anything new. */
  const rulesAgree = (): boolean => {
    const agree = commonRules(viewOf(), options.rules) !== undefined
    if (!agree && rulesTold)
      logger.error(
        'the members have no common rules version: nothing new is placed or stopped here until the older agents are upgraded',
      )
    rulesTold = agree
    return agree
  }
  const mayDecide = (): boolean => gate.isOpen() && rulesAgree()
  const reconciler: Reconciler = createReconciler({
    decisions,
    records,
    publish: (delta) => replication.publishRecord(delta),
    watch,
    health: () => health.standings(),
    hasEnded: (container) => engine.hasEnded(container),
    executor: () => executor,
    networks: (decision) => networks.overlay(decision),
    leases: () => leases.leases(),
    guests: () => ({ wishes: guests.wishes(), seen: watch.guests() }),
    guestsTold: (verdicts) => guests.told(verdicts),
    ordered: (orders) => leases.ordered(orders, watch.listed()),
    // Its own status may be lost, and not written anew yet: without one nothing is placed here.
    synced: () => mayDecide() && records.own.status !== undefined,
    mayBeLost: (kind, id) => !replication.synced() && !specs.wasRemoved(kind, id),
    specAt: history.specAt,
    conclude: createConcluder({
      self,
      specs,
      commit: (messages) => replication.commit(messages),
      wallMs: () => clock.wallMs(),
      logger: logger.child({ part: 'updates' }),
    }),
    clock,
    logger: logger.child({ part: 'reconciler' }),
    settings,
    retryMs: settings.engineRetryMs,
  })
  const autoBalance = createAutoBalance({
    self,
    services: () => [...specs.all('service').values()],
    decide: () => decisions.now(),
    mayDecide,
    write: async (service, facts, author) =>
      replication.commit(await specs.addFacts('service', service, facts, author)),
    clock,
    settings,
    logger: logger.child({ part: 'rebalance' }),
  })
  const executor: Executor = createExecutor({
    engine,
    drain: (signal) => replication.tellAll(signal),
    bridged: (signal) => networks.bridged(signal),
    clock,
    giveWayMs: settings.engineGiveWayMs,
    concurrency: () => engineConcurrency(watch.facts()?.nanoCpus, settings),
    stopConcurrency: settings.engineStopConcurrency,
    logger: logger.child({ part: 'executor' }),
    finished: (finished) => {
      reconciler.finished(finished)
      if (finished.action.kind === 'remove') sweeper.soon()
      for (const waiter of waiters) waiter()
    },
  })
  const driver = createMembershipDriver({
    mesh,
    witness: options.witness,
    records,
    view: viewOf,
    clock,
    logger: logger.child({ part: 'membership' }),
    settings,
    publish: (delta) => replication.publishRecord(delta),
    doubtChanged: () => decisions.lookAgain(),
  })

  const wireGuard = createWireGuardRounds({
    self,
    keys: options.wireGuardKeys,
    recorded: () => records.own.status?.wireGuard,
    tellAll: (signal) => replication.tellAll(signal),
    changed: () => networks.trigger(),
    announce: () => status.publish(),
    stopping: stopping.signal,
    randomHex: options.randomHex,
    clock,
    logger: logger.child({ part: 'network' }),
    settings,
  })
  const networks = createNetworks({
    self,
    dataPlane: options.dataPlane,
    forwarder: options.forwarder,
    nameServer: options.nameServer,
    wireGuard,
    specOf: (task) => history.specAt(task.service, task.digest),
    decide: () => decisions.now(),
    mayDecide,
    records: () => records.all(),
    write: async (kind, id, facts, author) =>
      replication.commit(await specs.addFacts(kind, id, facts, author)),
    createNetwork: async (name, spec, author) => {
      if (specs.byName('network', name) !== undefined) return
      await replication.commit((await specs.create('network', name, spec, author)).messages)
    },
    changed: () => changed(),
    clock,
    logger: logger.child({ part: 'network' }),
    settings,
  })
  const guests = createGuests({
    self,
    engine,
    watch,
    outlook: () => networks.overlay(decisions.now()),
    entry: (id) => records.own.guests.get(id),
    network: (id) => viewOf().networks.get(id),
    bridged: (signal) => networks.bridged(signal),
    changed: () => reconciler.trigger(),
    newId: () => digestId('guest', options.randomHex(16)) as GuestId,
    clock,
    logger: logger.child({ part: 'network' }),
    settings,
    stopping: stopping.signal,
  })
  const sweeper = createNetworkSweeper({
    engine,
    view: viewOf,
    clock,
    logger,
    settings,
    stopping: stopping.signal,
  })
  const leases = await openLeases({
    ...options,
    life: records.own.epoch,
    mesh,
    logger: logger.child({ part: 'leases' }),
    isMember,
    view: viewOf,
    liveness: () => decisions.now().liveness,
    engineFacts: () => watch.facts(),
    nameOf: (node) => nodeDisplayName(viewOf(), node),
    changed: () => reconciler.trigger(),
    epochChanged: () => status.publish(),
  })
  const status = createStatusWriter({
    read: () => statusOf(options, watch, mesh, records.own.status, leases.seat(), wireGuard.announced()),
    // Not into a record with holes: peers would take it for all that there is to say.
    mayWrite: () => !stopping.signal.aborted && gate.recordIsWhole(),
    records,
    publish: (delta) => replication.publishRecord(delta),
    logger,
  })

  let speaking = false
  /** Begins to write its status and its alerts, once there is a whole record to write them into. */
  function speak(): void {
    if (speaking || stopping.signal.aborted || !gate.recordIsWhole()) return
    speaking = true
    driver.start()
    status.publish()
  }

  /** A whole lost store is healed by the first comparison with a peer. */
  function damage(): readonly Damage[] {
    const healed = replication.synced() && !records.isOwnDamaged
    const all = [...specs.damage(), ...records.damage()].map((each) =>
      each.what === 'database' ? { ...each, healed } : each,
    )
    return [...new Map(all.map((each) => [`${each.what} ${each.setAsideAs}`, each])).values()]
  }

  const localLogs = async (
    id: TaskId,
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> => {
    const container = watch.containers().get(id)?.[0]?.container ?? records.own.tasks.get(id)?.containerId
    if (container === undefined) throw new Error(`task ${id} has no container on this node`)
    return engine.logs(container, query, signal)
  }

  function stopped(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        waiters.delete(check)
        reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
      }
      const check = (): void => {
        const observations = [...watch.containers().values()].flat()
        if (
          !watch.listed() ||
          executor.inFlight.size > 0 ||
          observations.some(({ state }) => state === 'running')
        )
          return
        waiters.delete(check)
        signal.removeEventListener('abort', abort)
        resolve()
      }
      if (signal.aborted) {
        abort()
        return
      }
      waiters.add(check)
      signal.addEventListener('abort', abort, { once: true })
      check()
    })
  }

  let connected: Promise<void> | undefined
  function connect(): Promise<void> {
    connected ??= mesh.start()
    return connected
  }

  const unsubscribe: (() => void)[] = []
  const addressesOf = createMemberAddresses()
  let members: ReadonlyMap<NodeId, readonly string[]> = new Map()
  let lost: readonly (readonly [NodeId, readonly string[]])[] = []
  function updateMembers(): void {
    const now = addressesOf(viewOf())
    members = now ?? members
    const lostNow = [...options.lastKnown].filter(([node]) => isLostMember(node) && !members.has(node))
    if (now === undefined && lostNow.length === lost.length) return
    lost = lostNow
    mesh.setMembers(new Map([...lost, ...members]))
    if (lost.length === 0) options.membersKnown(members)
  }

  function specChanged(change: SpecChange): void {
    options.event({ kind: 'spec', change, atMs: clock.wallMs() })
    if (change.droppedEdit === true) {
      const message = `an edit of ${change.kind} ${change.before?.name ?? change.id} was dropped: it was removed at the same time elsewhere ("moot service restore" brings it back with the edit)`
      logger.warn(message)
      options.event({ kind: 'warning', message, atMs: clock.wallMs() })
    }
    if (change.kind === 'service' && change.after !== undefined) {
      history.remember(change.after as Resource<ServiceSpec>)
      autoBalance.wake()
    }
    if (change.kind === 'network' && change.after === undefined) sweeper.soon()
    if (change.kind === 'node' && change.after === undefined && change.before !== undefined) {
      const gone = change.before.name as NodeId
      if (gone === self) tellRemoval()
      else if (specs.byName('node', gone) === undefined) records.drop(gone)
    }
    updateMembers()
    changed()
  }

  let cancelPeersChanged: (() => void) | undefined
  /** Peers' records change by the hundred at times: decided on together. */
  function recordsChanged(): void {
    cancelPeersChanged?.()
    cancelPeersChanged = undefined
    updateMembers()
    speak()
    changed()
  }

  async function saidFarewell(from: NodeId, removal: Uint8Array): Promise<void> {
    await replication.receiveFarewell(from, removal)
    changed()
    tellRemoval()
  }

  /**
   * Also at a start: the agent may have ended between the removal and what follows from it. And where its own document was lost, no
   * change tells of the removal, which had none to remove.
   */
  function tellRemoval(): void {
    const removal = removalOf(specs, self)
    if (removal !== undefined) options.removed(removal)
  }

  return {
    clusterId,
    specs,
    records,
    mesh,
    replication,
    watch,
    leases,
    view: viewOf,
    isCutOff: () => driver.isIsland(),
    liveness: () => decisions.now().liveness,
    placement: () => decisions.now().placement,
    networks: () => networks.shown(decisions.now()),
    async networkFindings(signal) {
      // First: the programs that the kernel is asked with take the processor's time.
      const probes = await roundTrips(mesh, decisions.now().liveness, settings, signal)
      return { ...(await networks.found(signal)), probes }
    },
    network: () => networks,
    encryption: () => networks.encryption(),
    changeKeys: () => wireGuard.changeKeys(),
    attach: (wanted, signal, use) => guests.attach(wanted, signal, use),
    async guests() {
      await watch.lookAtGuests()
      return watch.guests()
    },
    logs: (task, query, signal) =>
      task.node === self ? localLogs(task.id, query, signal) : fetchLogs(mesh, task, query, signal),
    async askEngine(signal) {
      await engine.facts(signal)
    },
    async clear(signal) {
      await stopped(signal)
      // What ended is kept for `service logs` while there is a cluster; now there is none.
      for (const { container } of await engine.list(signal)) await engine.remove(container, signal)
      // People's containers run on, without a network that is none any more.
      for (const guest of await engine.guests(signal)) await engine.detach(guest, signal)
      await engine.sweep({ services: new Set(), networks: new Set() }, signal)
      await networks.clear(signal)
    },
    synced: () => gate.isOpen(),
    damage,
    connect,
    async start() {
      unsubscribe.push(
        specs.subscribe(specChanged),
        watchRecords(records, clock, options.event, (nodes) => {
          if (nodes.has(self)) recordsChanged()
          else cancelPeersChanged ??= clock.after(settings.recordBatchMs, recordsChanged)
        }),
        serveForwards({
          mesh,
          forwarder: options.forwarder,
          addressOf: (to) => publishedAddress(viewOf(), to),
          clock,
          settings,
        }),
        serveLogs(mesh, localLogs, (error) => logger.debug({ err: error }, 'a log stream failed')),
        replication.onSync((peer) => {
          gate.heard(peer)
          // Members that were only remembered are no longer taken on trust.
          updateMembers()
          changed()
          tellRemoval()
        }),
        mesh.onFarewell((from, removal) => {
          logger.warn({ from }, 'a member says that this node was removed from the cluster')
          saidFarewell(from, removal).catch((error: unknown) => logger.error({ err: error }, 'farewell'))
        }),
      )
      gate.start()
      options.forwarder.onRemote(openForwards({ mesh, clock, settings }))
      await connect()
      await networks.start(stopping.signal)
      leases.start()
      replication.start()
      updateMembers()
      for (const service of specs.all('service').values()) history.remember(service)
      watch.start()
      autoBalance.wake()
      speak()
      changed()
      tellRemoval()
    },
    async stop() {
      stopping.abort(new Error('the agent stops'))
      gate.stop()
      cancelPeersChanged?.()
      decisions.stop()
      sweeper.stop()
      for (const off of unsubscribe) off()
      await driver.stop()
      await health.stop()
      await autoBalance.stop()
      await reconciler.stop()
      await executor.stop()
      await networks.stop()
      await leases.stop()
      await watch.stop()
      await replication.stop()
      await mesh.stop()
      await records.close()
      await specs.close()
    },
  }
}

function farewellOf(specs: SpecStore, node: NodeId): Uint8Array | undefined {
  const removal = removalOf(specs, node)
  return removal === undefined ? undefined : new TextEncoder().encode(JSON.stringify(removal))
}
