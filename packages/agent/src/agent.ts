import {
  type Author,
  type Identity,
  nodeIdOf,
  type NodeId,
  type ResourceId,
  type SpecKind,
  type SpecMessage,
  type Storage,
  type Tombstone,
  type Written,
} from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { Cluster, ClusterEvent, ClusterState, Committed, JoinToken } from './cluster.ts'
import { leasedServices } from './core/lease/partition-label.ts'
import type { Rules } from './core/rules.ts'
import type { Defaults } from './defaults.ts'
import {
  AlreadyInClusterError,
  CutOffError,
  EngineAwayError,
  LastVoterError,
  LastNodeError,
  LeavingError,
  NotInClusterError,
  OwnDocumentLostError,
  StillStoppingError,
} from './errors.ts'
import type { Home } from './home.ts'
import type { FileDamage } from './kept-file.ts'
import { type Admission, admitJoiners, joinThrough, nodeSpec } from './join/admission.ts'
import type { Introduction } from './join/introduction.ts'
import { issueTokens } from './join/issuer.ts'
import { parseToken } from './join/token.ts'
import { type Member, openMember } from './member.ts'
import { type KnownMembers, openMembershipMemory } from './membership-memory.ts'
import { type Clock, withinTime } from './ports/clock.ts'
import type { NameServer } from './ports/name-server.ts'
import type { DataPlane } from './ports/data-plane.ts'
import type { Forwarder } from './ports/forwarder.ts'
import { EngineUnavailableError } from './ports/engine.errors.ts'
import type { Engine } from './ports/engine.ts'
import type { ExclusiveHost } from './ports/exclusive-host.ts'
import type { Gate, Mesh } from './ports/mesh.ts'
import type { Prober } from './ports/prober.ts'
import type { Witness } from './ports/witness.ts'
import { removalOf } from './removal.ts'
import { windDown, type WindingDown } from './winding-down.ts'

export interface AgentOptions {
  readonly home: Home
  readonly engine: (context: { readonly clusterId: string; readonly node: NodeId }) => Engine
  readonly mesh: (context: {
    readonly clusterId: string
    readonly identity: Identity
    readonly gate: Gate
    readonly advertise: string | undefined
  }) => Mesh
  readonly witness: Witness
  readonly prober: Prober
  readonly exclusive: ExclusiveHost
  readonly dataPlane: (context: { readonly clusterId: string }) => DataPlane
  readonly forwarder: () => Forwarder
  readonly nameServer: () => NameServer
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  readonly random: () => number
  /** `bytes` random bytes as hex. */
  readonly randomHex: (bytes: number) => string
  /** 25 base-36 characters. */
  readonly newId: () => string
  readonly agentVersion: string
  /** The decision rules that this agent can follow; `knownRules` outside tests. */
  readonly rules: readonly Rules[]
  readonly hostname: string
  /** The address at which others reach this node, as a person gave it for this start. */
  readonly advertise?: string | undefined
  /** What it may be where nobody gave one; not kept, since the next start may guess another. */
  readonly guessedAddress?: string | undefined
  /** Ends the process with an error: this agent must not go on, and its log says why. */
  readonly halt: () => void
}

export interface Agent extends Cluster {
  start(): Promise<void>
  stop(): Promise<void>
}

type Leaving = Parameters<Cluster['leave']>[0]

/** Tokens are their issuer's alone: no peer can give one back, and a new one is made in a second. */
function lostTokens(storage: Storage): readonly FileDamage[] {
  return storage
    .damaged()
    .filter(({ table }) => table === 'token')
    .map(({ key, setAsideAs }) => ({ what: `token ${key}`, setAsideAs, healed: false }))
}

/**
 * Wires the parts into one agent and answers as `Cluster`. It is `inactive` until `init` or `join`, and remembers
 * across restarts which cluster it is part of.
 */
export function createAgent(options: AgentOptions): Agent {
  const { home, clock, logger, settings } = options
  const listeners = new Set<(event: ClusterEvent) => void>()
  let storage: Storage = home.openStorage()
  let memory = openMembershipMemory(home, storage)
  let identity = home.identity()
  let self = nodeIdOf(identity.publicKey)
  let state: ClusterState = { kind: 'inactive' }
  let member: Member | undefined
  let admission: Admission | undefined
  /** From its removal until nothing of it is left here `member` is one of nobody's cluster. */
  let windingDown: WindingDown | undefined
  let advertise = options.advertise ?? options.guessedAddress
  /** init, join and leave exclude each other, and what a removal of this node makes of it. */
  let transition: Promise<unknown> = Promise.resolve()
  const stopAbort = new AbortController()

  const emit = (event: ClusterEvent): void => {
    for (const listener of listeners) {
      try {
        listener(event)
      } catch (error) {
        logger.error({ err: error, event: event.kind }, 'a watcher of cluster events failed')
      }
    }
  }
  const active = (): Member => {
    if (member === undefined || state.kind !== 'active') throw new NotInClusterError()
    return member
  }
  async function exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = transition.then(work)
    transition = mine.catch(() => undefined)
    return mine
  }

  function open(
    clusterId: string,
    { sponsor, isFounder = false }: { readonly sponsor?: NodeId; readonly isFounder?: boolean } = {},
  ): Promise<Member> {
    return openMember({
      clusterId,
      self,
      identity,
      storage,
      engine: options.engine({ clusterId, node: self }),
      mesh: (gate) => options.mesh({ clusterId, identity, gate, advertise }),
      witness: options.witness,
      prober: options.prober,
      exclusive: options.exclusive,
      dataPlane: options.dataPlane({ clusterId }),
      forwarder: options.forwarder(),
      nameServer: options.nameServer(),
      wireGuardKeys: home.wireGuardKeys,
      isFounder,
      clock,
      logger,
      settings,
      random: options.random,
      newActor: () => options.randomHex(16),
      randomHex: options.randomHex,
      agentVersion: options.agentVersion,
      rules: options.rules,
      addresses: () => (advertise === undefined ? [] : [advertise]),
      ...(sponsor === undefined ? {} : { sponsor }),
      introduction,
      lastKnown: memory.members(),
      membersKnown: rememberMembers,
      removed: (tombstone) => {
        exclusively(async () => becomeRemoved(tombstone)).catch((error: unknown) =>
          logger.error({ err: error }, 'leaving the cluster failed'),
        )
      },
      event: emit,
      halt: options.halt,
    })
  }

  function introduction(): Introduction {
    return memory.read()?.introduction ?? []
  }

  function rememberMembers(members: KnownMembers): void {
    try {
      memory.rememberMembers(members)
    } catch (error) {
      logger.warn({ err: error }, 'the note of who is a member could not be written; the store still has it')
    }
  }

  async function activate(opened: Member): Promise<void> {
    member = opened
    state = { kind: 'active', clusterId: opened.clusterId }
    await opened.start()
    admission = admitJoiners({
      self,
      clusterId: opened.clusterId,
      identity,
      introduction,
      specs: opened.specs,
      mesh: opened.mesh,
      commit: (messages) => spreadOrLost(messages),
      issuer: issueTokens({ storage, clock, settings, randomHex: options.randomHex }),
      clock,
    })
  }

  /**
   * Forgets everything of the present membership. A new one gets a new key, except where this one never came about: its
   * issuer may have admitted this key all the same, and takes the token from no other.
   */
  async function forget(andKey = true): Promise<void> {
    await end({ kind: 'inactive' })
    await storage.close()
    home.wipe(andKey)
    storage = home.openStorage()
    memory = openMembershipMemory(home, storage)
    identity = home.identity()
    self = nodeIdOf(identity.publicKey)
  }

  /** What is told to others changes at once, and never says `active` without a member behind it. */
  async function end(next: ClusterState): Promise<void> {
    const part = member
    const winding = windingDown
    member = undefined
    windingDown = undefined
    admission?.stop()
    admission = undefined
    state = next
    await winding?.stop()
    await part?.stop()
  }

  /** A membership that does not come about leaves nothing behind that would stand in the way of the next try. */
  async function orForget(opened: Member, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      await opened.stop()
      await forget(false)
      throw error
    }
  }

  /** Without an introduction: the founder, whom nobody admitted. */
  async function rememberCluster(
    clusterId: string,
    {
      given,
      introduction = [],
    }: { readonly given: string | undefined; readonly introduction?: Introduction },
  ): Promise<void> {
    await memory.write({
      kind: 'active',
      clusterId,
      ...(given === undefined ? {} : { advertised: given }),
      ...(introduction.length === 0 ? {} : { introduction }),
    })
  }

  /** For at most this time, and until the agent stops. */
  function orStop<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withinTime(clock, ms, stopAbort.signal, work)
  }

  /** While it is a member still: who is none has no vote, and the only voter of a small cluster would take all with it. */
  async function handOverVote(part: Member, force: boolean): Promise<void> {
    try {
      await orStop(settings.voterHandOverMs, (signal) => part.leases.handOver(signal))
    } catch (error) {
      stopAbort.signal.throwIfAborted()
      const isNeeded = leasedServices(part.view().services).size > 0
      if (isNeeded && !force && part.leases.isLostWithoutSelf()) throw new LastVoterError()
      logger.warn(
        { err: error },
        'no other member could take over the vote of this node in time; see "moot voters" at another node',
      )
    }
  }

  function becomeRemoved({ author }: Tombstone): void {
    if (member === undefined || state.kind !== 'active' || windingDown !== undefined) return
    logger.warn(
      { by: author },
      'this node was removed from its cluster: it stops its tasks and goes inactive',
    )
    beginToWindDown(member, author)
  }

  /** Nobody waits for it in the queue of transitions: it may take as long as the engine is away. The next start goes on with it. */
  function beginToWindDown(part: Member, by: Author): WindingDown {
    const winding = windDown({ clear: (signal) => part.clear(signal), clock, logger, settings })
    windingDown = winding
    winding
      .over(stopAbort.signal)
      .then(
        () => exclusively(() => goInactive(part, by)),
        () => undefined,
      )
      .catch((error: unknown) => logger.error({ err: error }, 'leaving the cluster failed'))
    return winding
  }

  async function goInactive(part: Member, by: Author): Promise<void> {
    if (member !== part || stopAbort.signal.aborted) return
    const removal = { clusterId: part.clusterId, by: by.node, atMs: by.atMs }
    await end({ kind: 'removed', ...removal })
    await memory.write({ kind: 'removed', ...removal })
  }

  /** Rejects with `StillStoppingError` when it takes long. */
  async function woundDown(part: Member, winding: WindingDown): Promise<void> {
    try {
      await orStop(settings.leaveTimeoutMs, (signal) => winding.over(signal))
    } catch {
      // The next start goes on with it: what still runs here would be nobody's.
      stopAbort.signal.throwIfAborted()
      const engine = part.watch.state()
      const away = engine.kind === 'down' ? `its Docker engine is down: ${engine.error}` : undefined
      throw new StillStoppingError(
        away ?? winding.trouble() ?? `not done within ${settings.leaveTimeoutMs} ms`,
      )
    }
  }

  /** After its removal a node is free once it has wound down. */
  async function ensureFree(): Promise<void> {
    if (member !== undefined && windingDown !== undefined) await woundDown(member, windingDown)
    else if (state.kind === 'active') throw new AlreadyInClusterError(state.clusterId)
  }

  async function forgetFormer(): Promise<void> {
    if (state.kind !== 'inactive') await forget()
  }

  /** Of a node that stays nothing is changed: whatever may forbid that it leaves is looked at before the others are told. */
  async function removeSelf(part: Member, { force, author }: Leaving): Promise<void> {
    if (!force) {
      if (part.view().nodes.size <= 1) throw new LastNodeError()
      if (part.mesh.peers().size === 0) throw new CutOffError()
      if (part.specs.byName('node', self) === undefined) throw new OwnDocumentLostError()
      await ensureEngineAnswers(part)
    }
    await handOverVote(part, force)
    const own = part.specs.byName('node', self)
    // `removed` is told as well; it finds nothing left to do once this transition is over.
    if (own !== undefined) await spread(await part.specs.remove('node', own.id, author))
  }

  async function ensureEngineAnswers(part: Member): Promise<void> {
    try {
      await orStop(settings.leaveEngineAnswerMs, (signal) => part.askEngine(signal))
    } catch (error) {
      stopAbort.signal.throwIfAborted()
      const why = error instanceof Error ? error.message : String(error)
      const isTold = error instanceof EngineUnavailableError
      throw new EngineAwayError(isTold ? why : `the Docker engine does not answer (${why})`)
    }
  }

  async function createToken({ ttlMs }: { readonly ttlMs: number }): Promise<JoinToken> {
    active()
    if (admission === undefined) throw new NotInClusterError()
    return admission.createToken(ttlMs)
  }

  /** Stores here (done), then spreads: a missing confirmation is a warning, never an error. */
  async function commit<S>(written: Written<S>): Promise<Committed<S>> {
    return { resource: written.resource, ...(await spreadOrLost(written.messages)) }
  }

  /** What nobody else has is gone with this node's membership. */
  async function spreadOrLost(messages: readonly SpecMessage[]): ReturnType<typeof spread> {
    const spreading = await spread(messages)
    const isMember = member?.specs.byName('node', self) !== undefined
    if (spreading.confirmedBy === undefined && !isMember) throw new LeavingError()
    return spreading
  }

  async function spread(
    messages: readonly SpecMessage[],
  ): Promise<{ readonly confirmedBy: NodeId | undefined; readonly warnings: readonly string[] }> {
    const part = active()
    const confirmedBy = messages.length === 0 ? self : await part.replication.commit(messages)
    const alone = part.view().nodes.size <= 1
    const warnings =
      confirmedBy === undefined && !alone
        ? [
            'stored on this node only: no other node confirmed it in time; it spreads as soon as one can be reached',
          ]
        : []
    return { confirmedBy, warnings }
  }

  return {
    get self() {
      return self
    },
    state: () => state,
    view: () => active().view(),
    liveness: () => active().liveness(),
    placement: () => active().placement(),
    networks: () => active().networks(),
    networkFindings: (signal) => active().networkFindings(signal),
    attach: (wanted, signal, use) => active().attach(wanted, signal, use),
    guests: async () => active().guests(),
    network: () => active().network(),
    encryption: () => active().encryption(),
    changeKeys: () => active().changeKeys(),
    voters: () => active().leases.voters(),
    forceVoters: (nodes) => active().leases.force(nodes),

    init: ({ advertise: given, author }) =>
      exclusively(async () => {
        await ensureFree()
        await forgetFormer()
        advertise = given ?? options.advertise ?? options.guessedAddress
        const clusterId = options.newId()
        const opened = await open(clusterId, { isFounder: true })
        await orForget(opened, async () => {
          await opened.specs.create(
            'cluster',
            'cluster',
            { ClusterId: clusterId, Labels: {}, TaskHistoryRetentionLimit: settings.taskHistoryLimit },
            author,
          )
          await opened.connect()
          const spec = nodeSpec(identity.publicKey, opened.mesh.addresses())
          await opened.specs.create('node', self, spec, author)
          await rememberCluster(clusterId, { given })
        })
        await activate(opened)
        return createToken({ ttlMs: settings.joinTokenTtlMs })
      }),

    join: (text, { advertise: given }) =>
      exclusively(async () => {
        await ensureFree()
        const token = parseToken(text)
        await forgetFormer()
        advertise = given ?? options.advertise ?? options.guessedAddress
        const opened = await open(token.clusterId, { sponsor: token.issuer })
        await orForget(opened, async () => {
          await opened.connect()
          const introduction = await orStop(settings.joinTimeoutMs, (signal) =>
            joinThrough(opened, self, token, signal),
          )
          await rememberCluster(token.clusterId, { given, introduction })
        })
        await activate(opened)
        await orStop(settings.bootSyncTimeoutMs, (signal) => opened.replication.firstSync(signal)).catch(
          () => undefined,
        )
      }),

    leave: ({ force, author }) =>
      exclusively(async () => {
        if (state.kind === 'removed') return forget()
        const part = active()
        const removal = (): Tombstone | undefined => removalOf(part.specs, self)
        if (removal() === undefined) await removeSelf(part, { force, author })
        try {
          await woundDown(part, windingDown ?? beginToWindDown(part, removal()?.author ?? author))
        } catch (error) {
          stopAbort.signal.throwIfAborted()
          if (!force) throw error
          logger.warn({ err: error }, 'this node leaves although some of its containers are still there')
        }
        return forget()
      }),

    createToken,
    tokens: () => admission?.tokens() ?? [],

    create: async (kind, name, spec, author) => commit(await active().specs.create(kind, name, spec, author)),
    update: async (kind, id, versionIndex, spec, author, action, revise) =>
      commit(await active().specs.update(kind, id, versionIndex, spec, author, action, revise)),
    addFacts: async (kind, id, facts, author) =>
      spreadOrLost(await active().specs.addFacts(kind, id, facts, author)),
    remove: async (kind: SpecKind, id: ResourceId, author: Author) => {
      const remove = async (): ReturnType<typeof spread> =>
        spreadOrLost(await active().specs.remove(kind, id, author))
      const isOwn = active().specs.byName('node', self)?.id === id
      // What follows from its own removal waits: whoever ends cannot hear any more whether another has stored it.
      return isOwn ? exclusively(remove) : remove()
    },
    restore: async (kind, name, author) => commit(await active().specs.restore(kind, name, author)),
    history: (kind, id) => active().specs.history(kind, id),

    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    logs: (task, query, signal) => active().logs(task, query, signal),
    damage: () => [...home.damage(), ...memory.damage(), ...lostTokens(storage), ...(member?.damage() ?? [])],
    status: () =>
      member === undefined
        ? {}
        : {
            peers: [...member.mesh.peers()],
            windingDown: windingDown !== undefined,
            synced: member.synced(),
            cutOff: member.isCutOff(),
            engine: member.watch.state(),
            replication: member.replication.counters(),
            leases: member.leases.counters(),
            record: { epoch: member.records.own.epoch, seq: member.records.own.seq },
          },

    async start() {
      const stored = memory.read()
      if (stored === undefined) return
      // Into both places: one of them may have lost it.
      await memory.write(stored)
      if (stored.kind === 'removed') {
        state = { kind: 'removed', clusterId: stored.clusterId, by: stored.by ?? '', atMs: stored.atMs ?? 0 }
        return
      }
      advertise = options.advertise ?? stored.advertised ?? options.guessedAddress
      await activate(await open(stored.clusterId))
    },
    async stop() {
      stopAbort.abort(new Error('the agent stops'))
      await transition
      await end(state)
      await storage.close()
    },
  }
}
