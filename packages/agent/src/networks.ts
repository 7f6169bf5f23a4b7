import {
  type Author,
  canonicalJson,
  type NetworkSpec,
  type NodeId,
  type RecordVersion,
  type ResourceId,
  type ServiceSpec,
  type SpecKind,
  type TaskEntry,
} from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { NameTable } from './core/network/name-table.ts'
import { createNetwork, type NetworkOutlook } from './core/network/network.ts'
import { marksFound, type PeerMarks } from './core/network/peers.ts'
import type { Plane } from './core/network/plane.ts'
import { isStewardOf } from './core/steward.ts'
import { nodeDisplayName, type View } from './core/view.ts'
import type { Decision } from './decisions.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import type { DataPlane, DataPlaneAbility, KernelPeer, Tunnel, WireGuardAbility } from './ports/data-plane.ts'
import type { Forwarder, PortTrouble } from './ports/forwarder.ts'
import type { NameServer, NameServerCounts } from './ports/name-server.ts'
import type { WireGuardRounds } from './wire-guard-rounds.ts'

/** What services are on that publish ports and are on no network that the world can reach, as in Swarm. */
const ingressName = 'ingress'
const ingressSpec: NetworkSpec = {
  Name: ingressName,
  Driver: 'overlay',
  Labels: {},
  Options: {},
  Attachable: false,
  Internal: false,
  Ingress: true,
  EnableIPv6: false,
}

/** What this host can do for networks that reach over hosts, and for published ports. */
export type NetworkAbility =
  | DataPlaneAbility
  /** Published ports, by passing them on; no networks over hosts, since the kernel cannot be used. */
  | { readonly kind: 'userland'; readonly why: string }

/** Asked of something that may not be there, or that may not answer. */
export type Finding<T> =
  | { readonly kind: 'found'; readonly value: T }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly why: string }

/** How this node's own part of the networks is, as it was found and not as it should be. */
export interface NetworkFindings {
  readonly ability: NetworkAbility
  /** Why the kernel, the forwarder or the name server is not as it should be, as long as it is not. */
  readonly failure: string | undefined
  readonly tunnel: Finding<Tunnel>
  readonly nameServer: Finding<NameServerCounts>
}

/** One node's part in the networks that reach over hosts: what follows from each view is written down, and made so in the kernel or by the forwarder. */
export interface Networks {
  /** What follows from this view for the networks that this host has; undefined where it cannot have such networks. */
  overlay(decision: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook | undefined
  /** The same for people: of a host that only answers on published ports just these. */
  shown(decision: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook | undefined
  /** The view may have changed. */
  trigger(): void
  /** Resolves once the kernel knows the bridges that there are now. */
  bridged(signal: AbortSignal): Promise<void>
  /** Which version of that node's record this node sends traffic by. */
  goesBy(node: NodeId): RecordVersion | undefined
  ability(): NetworkAbility
  /** Published ports that this host cannot answer on. */
  troubles(): readonly PortTrouble[]
  /** Undefined where nothing reaches over hosts. */
  encryption(): Encryption | undefined
  /** What the kernel and the name server say now, for people. Rejects only with the signal's reason. */
  found(signal: AbortSignal): Promise<NetworkFindings>
  start(signal: AbortSignal): Promise<void>
  stop(): Promise<void>
  /** Takes back all that was made in the kernel, and ends what passes on. */
  clear(signal: AbortSignal): Promise<void>
}

/** What is encrypted between this host and others, as things are. */
export interface Encryption {
  readonly wireGuard: WireGuardAbility
  readonly sealed: readonly NodeId[]
  /** In clear text. */
  readonly open: readonly NodeId[]
}

export function createNetworks(options: {
  readonly self: NodeId
  readonly dataPlane: DataPlane
  readonly forwarder: Forwarder
  readonly nameServer: NameServer
  readonly wireGuard: WireGuardRounds
  /** The spec that a task of this node runs. */
  readonly specOf: (task: TaskEntry) => ServiceSpec | undefined
  readonly decide: () => Decision
  /** Facts are written, and the kernel is changed, only by who knows enough. */
  readonly mayDecide: () => boolean
  readonly records: () => ReadonlyMap<NodeId, RecordVersion>
  readonly write: (
    kind: SpecKind,
    id: ResourceId,
    facts: ReadonlyMap<string, unknown>,
    author: Author,
  ) => Promise<unknown>
  /** Makes a network, where there is none of that name. */
  readonly createNetwork: (name: string, spec: NetworkSpec, author: Author) => Promise<unknown>
  /** Something follows from the same view now. */
  readonly changed: () => void
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Pick<
    Defaults,
    'kernelCheckIntervalMs' | 'kernelCheckQuietMs' | 'kernelGlanceMs' | 'kernelRetryMs' | 'kernelRetryMaxMs'
  >
}): Networks {
  const { self, dataPlane, forwarder, wireGuard, clock, logger, settings } = options
  const network = createNetwork()
  const stopping = new AbortController()
  let ability: NetworkAbility = { kind: 'none', why: 'it has not been looked at yet' }
  /** What the agent before this one left in the kernel. */
  let peersBefore: readonly KernelPeer[] = []
  let marks: PeerMarks = new Map()
  let last:
    | {
        readonly view: View
        readonly liveness: unknown
        readonly end: unknown
        readonly outlook: NetworkOutlook
      }
    | undefined
  let applied:
    | {
        readonly plane: unknown
        readonly forwards: unknown
        readonly versions: ReadonlyMap<NodeId, RecordVersion>
      }
    | undefined
  let named: NameTable | undefined
  let failure: string | undefined
  let unsealed: readonly string[] | undefined
  let isStarted = false
  let isDirty = false
  let isForced = false
  let isCheckDue = false
  /** By the agent's clock. */
  let changedAtMs = 0
  let checkedAtMs = 0
  /** Times in a row. After the first, which may be by chance, each change asks anew; after more only time does. */
  let failures = 0
  let running: Promise<void> | undefined
  let cancelCheck: () => void = () => undefined
  let cancelGlance: () => void = () => undefined
  const writing = new Set<ResourceId>()
  let makesIngress = false

  function outlook(decision: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook | undefined {
    return ability.kind === 'none' ? undefined : follow(decision)
  }

  function follow({ view, liveness }: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook {
    const end = wireGuard.end()
    if (last?.view === view && last.liveness === liveness && last.end === end) return last.outlook
    if (last === undefined) marks = marksFound(view.nodes.keys(), peersBefore)
    const reach = ability.kind === 'kernel' ? 'hosts' : 'nowhere'
    const next = network.update({ view, liveness, marks, reach, wireGuard: end })
    marks = next.marks
    last = { view, liveness, end, outlook: next }
    return next
  }

  function writeFacts({ facts }: NetworkOutlook, { networks }: View): void {
    for (const [id, all] of facts) {
      if (writing.has(id)) continue
      writing.add(id)
      const kind = networks.has(id) ? 'network' : 'service'
      const author = { node: self, client: 'moot-agent', atMs: clock.wallMs() }
      options
        .write(kind, id, all, author)
        .catch((error: unknown) =>
          logger.error(
            { err: error, [kind]: id },
            'what was drawn for it could not be written; it is tried again',
          ),
        )
        .finally(() => writing.delete(id))
    }
  }

  /** Made when a service needs it first, on one node; two sides of a partition make the same document. */
  function makeIngress({ waits }: NetworkOutlook, { view, liveness }: Decision): void {
    const isWanted = [...waits.services.values()].some((all) => all.some(({ kind }) => kind === 'no-ingress'))
    if (
      !isWanted ||
      makesIngress ||
      !isStewardOf(ingressName as ResourceId, self, view.nodes.keys(), liveness)
    )
      return
    makesIngress = true
    options
      .createNetwork(ingressName, ingressSpec, { node: self, client: 'moot-agent', atMs: clock.wallMs() })
      .catch((error: unknown) => logger.error({ err: error }, 'the network "ingress" could not be made'))
      .finally(() => (makesIngress = false))
  }

  /** Told whole; what differs is the name server's to find out. */
  async function publishNames(): Promise<void> {
    const table = network.nameTable(options.specOf)
    const isSame =
      named !== undefined &&
      named.networks.length === table.networks.length &&
      named.networks.every((each, at) => each === table.networks[at]) &&
      canonicalJson(named.clients) === canonicalJson(table.clients)
    if (isSame) return
    // Where nothing has a name nothing is started for it.
    if (named === undefined && table.networks.length === 0) return
    await options.nameServer.publish(table, stopping.signal)
    named = table
  }

  function warnOfUnsealed({ self: { keys }, peers }: Plane, view: View): void {
    const nodes = peers
      .filter(({ seal }) => seal === undefined)
      .map(({ node }) => nodeDisplayName(view, node))
    // Where this host has no WireGuard itself, that was said at its start.
    if (keys === undefined || canonicalJson(nodes) === canonicalJson(unsealed)) return
    unsealed = nodes
    if (nodes.length === 0) logger.info('what is sent between this host and all others is encrypted')
    else
      logger.warn(
        { nodes },
        'what is sent between this host and these is not encrypted: they have no WireGuard',
      )
  }

  async function once(): Promise<void> {
    if (!options.mayDecide()) return
    const isDue = isForced
    isForced = false
    const decision = options.decide()
    if (ability.kind === 'kernel') wireGuard.look(decision)
    const end = wireGuard.end()
    const next = follow(decision)
    // Stewards are chosen among all members: what one does not write nobody does, also where it is of no use to itself.
    writeFacts(next, decision.view)
    makeIngress(next, decision)
    if (ability.kind === 'none' || (failures > 1 && !isDue)) return
    if (isDue || next.forwards !== applied?.forwards) await forwarder.apply(next.forwards, stopping.signal)
    const isChanged = next.plane !== applied?.plane
    if (next.plane !== undefined && (isDue || isChanged)) {
      if (isChanged) changedAtMs = clock.monotonicMs()
      await dataPlane.apply(next.plane, stopping.signal)
    }
    // Where there are no networks over hosts, the engine's own name server knows who is on this one.
    if (ability.kind === 'kernel') await publishNames()
    applied = { plane: next.plane, forwards: next.forwards, versions: decision.view.records }
    failures = 0
    failure = undefined
    if (ability.kind !== 'kernel' || next.plane === undefined) return
    wireGuard.applied(end)
    warnOfUnsealed(next.plane, decision.view)
    if (!isCheckDue) return
    isCheckDue = false
    checkedAtMs = clock.monotonicMs()
    await dataPlane.check(stopping.signal)
  }

  async function loop(): Promise<void> {
    while (isDirty && !stopping.signal.aborted) {
      isDirty = false
      try {
        await once()
      } catch (error) {
        if (stopping.signal.aborted) return
        failure = wordsOf(error)
        logger.error(
          { err: error },
          'the network of this host could not be made as it should be; it is tried again',
        )
        applied = undefined
        named = undefined
        // The exponent's bound keeps the power finite.
        retryAfter(Math.min(settings.kernelRetryMs * 2 ** Math.min(failures, 30), settings.kernelRetryMaxMs))
        failures += 1
      }
    }
  }

  function trigger(): void {
    if (!isStarted || stopping.signal.aborted) return
    isDirty = true
    running ??= Promise.resolve()
      .then(loop)
      .finally(() => {
        running = undefined
        if (isDirty) trigger()
      })
  }

  function startWireGuard(found: WireGuardAbility): void {
    if (found.kind === 'none')
      logger.warn({ why: found.why }, 'what is sent between this host and others is NOT ENCRYPTED')
    else wireGuard.start()
  }

  function withoutPeers(error: unknown): undefined {
    logger.warn(
      { err: error },
      'what connections are marked with could not be read: some that came in through other nodes before may end',
    )
  }

  /** What others did to the kernel is found out in a quiet moment: others may wait for the next plane to be in force (draining). */
  function checkAfter(ms: number): void {
    const { kernelCheckIntervalMs: intervalMs, kernelCheckQuietMs } = settings
    cancelCheck()
    cancelCheck = clock.after(ms, () => {
      const nowMs = clock.monotonicMs()
      const quietInMs = changedAtMs + kernelCheckQuietMs - nowMs
      if (quietInMs > 0 && nowMs - checkedAtMs < 2 * intervalMs) return checkAfter(quietInMs)
      isCheckDue = true
      again()
    })
  }

  /** After a failure the kernel is read and built anew. */
  function retryAfter(ms: number): void {
    cancelCheck()
    cancelCheck = clock.after(ms, again)
  }

  function again(): void {
    checkAfter(settings.kernelCheckIntervalMs)
    isForced = true
    trigger()
  }

  function glance(): void {
    cancelGlance = clock.after(settings.kernelGlanceMs, () => {
      glance()
      if (dataPlane.isIntact()) return
      logger.warn('something of the network of this host has ended by itself; it is made anew')
      isForced = true
      trigger()
    })
  }

  return {
    overlay: (decision) => (ability.kind === 'kernel' ? outlook(decision) : undefined),
    shown(decision) {
      const next = outlook(decision)
      if (next === undefined || ability.kind === 'kernel') return next
      return { ...next, subnets: new Map(), virtualIps: new Map() }
    },
    trigger,
    async bridged(signal) {
      isForced = true
      trigger()
      // What is under way goes round once more.
      await running
      signal.throwIfAborted()
    },
    goesBy: (node) => (ability.kind === 'none' ? options.records().get(node) : applied?.versions.get(node)),
    ability: () => ability,
    troubles: () => forwarder.troubles(),
    encryption() {
      if (ability.kind !== 'kernel') return undefined
      const peers = last?.outlook.plane?.peers ?? []
      const nodes = (isOpen: boolean): readonly NodeId[] =>
        peers
          .filter(({ seal }) => ((seal?.sends.kind ?? 'open') === 'open') === isOpen)
          .map(({ node }) => node)
      return { wireGuard: ability.wireGuard, sealed: nodes(false), open: nodes(true) }
    },
    async found(signal) {
      const [tunnel, nameServer] = await Promise.all([
        ability.kind === 'kernel' ? find(() => dataPlane.tunnel(signal), signal) : absent,
        find(() => options.nameServer.counts(signal), signal),
      ])
      return { ability, failure, tunnel, nameServer }
    },
    async start(signal) {
      const able = await dataPlane.ability(signal)
      if (able.kind !== 'none')
        peersBefore = (await dataPlane.tunnel(signal).catch(withoutPeers))?.peers ?? []
      ability = abilityOf(able, forwarder)
      isStarted = true
      checkedAtMs = clock.monotonicMs()
      checkAfter(settings.kernelCheckIntervalMs)
      if (ability.kind === 'userland')
        logger.warn(
          { why: ability.why },
          'published ports are passed on in userland, which hides the client’s address; networks reach only over this host: tasks on others are not on them',
        )
      if (ability.kind === 'none')
        logger.warn(
          { why: ability.why },
          'published ports are not answered here, and networks reach only over this host: tasks on others are not on them',
        )
      if (ability.kind === 'kernel') {
        startWireGuard(ability.wireGuard)
        glance()
      }
      options.changed()
    },
    async stop() {
      stopping.abort(new Error('the agent stops'))
      cancelCheck()
      cancelGlance()
      await running
      await forwarder.close()
      await options.nameServer.close()
    },
    async clear(signal) {
      if (ability.kind === 'none') return
      if (ability.kind === 'kernel') await dataPlane.clear(signal)
      await forwarder.end(signal)
      await options.nameServer.end(signal)
    },
  }
}

/** The kernel where it can be used, since it is faster and hides nobody's address. */
function abilityOf(kernel: DataPlaneAbility, { whyNot }: Pick<Forwarder, 'whyNot'>): NetworkAbility {
  if (kernel.kind === 'kernel' || whyNot !== undefined) return kernel
  return { kind: 'userland', why: kernel.why }
}

const absent = { kind: 'absent' } as const

async function find<T>(ask: () => Promise<T | undefined>, signal: AbortSignal): Promise<Finding<T>> {
  try {
    const value = await ask()
    return value === undefined ? absent : { kind: 'found', value }
  } catch (error) {
    signal.throwIfAborted()
    return { kind: 'failed', why: wordsOf(error) }
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
