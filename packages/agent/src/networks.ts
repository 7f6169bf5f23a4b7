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
import type { PeerMarks } from './core/network/peers.ts'
import { isStewardOf } from './core/steward.ts'
import type { View } from './core/view.ts'
import type { Decision } from './decisions.ts'
import type { Defaults } from './defaults.ts'
import type { Clock } from './ports/clock.ts'
import type { DataPlane, DataPlaneAbility, Tunnel } from './ports/data-plane.ts'
import type { NameServer, NameServerCounts } from './ports/name-server.ts'

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

/** Asked of something that may not be there, or that may not answer. */
export type Finding<T> =
  | { readonly kind: 'found'; readonly value: T }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly why: string }

/** How this node's own part of the networks is, as it was found and not as it should be. */
export interface NetworkFindings {
  readonly ability: DataPlaneAbility
  /** Why the kernel or the name server is not as it should be, as long as it is not. */
  readonly failure: string | undefined
  readonly tunnel: Finding<Tunnel>
  readonly nameServer: Finding<NameServerCounts>
}

/** One node's part in the networks that reach over hosts: what follows from each view is written down and made so in the kernel. */
export interface Networks {
  /** What follows from this view; undefined where this host cannot have such networks. */
  outlook(decision: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook | undefined
  /** The view may have changed. */
  trigger(): void
  /** Resolves once the kernel knows the bridges that there are now. */
  bridged(signal: AbortSignal): Promise<void>
  /** Which version of that node's record this node sends traffic by. */
  goesBy(node: NodeId): RecordVersion | undefined
  /** What the kernel and the name server say now, for people. Rejects only with the signal's reason. */
  found(signal: AbortSignal): Promise<NetworkFindings>
  start(signal: AbortSignal): Promise<void>
  stop(): Promise<void>
  /** Takes back all that was made in the kernel. */
  clear(signal: AbortSignal): Promise<void>
}

export function createNetworks(options: {
  readonly self: NodeId
  readonly dataPlane: DataPlane
  readonly nameServer: NameServer
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
  readonly settings: Pick<Defaults, 'kernelCheckIntervalMs' | 'kernelRetryMs'>
}): Networks {
  const { self, dataPlane, clock, logger, settings } = options
  const network = createNetwork()
  const stopping = new AbortController()
  let ability: DataPlaneAbility = { kind: 'none', why: 'it has not been looked at yet' }
  let marks: PeerMarks = new Map()
  let last: { readonly view: View; readonly liveness: unknown; readonly outlook: NetworkOutlook } | undefined
  let applied: { readonly plane: unknown; readonly versions: ReadonlyMap<NodeId, RecordVersion> } | undefined
  let named: NameTable | undefined
  let failure: string | undefined
  let isDirty = false
  let isForced = false
  let running: Promise<void> | undefined
  let cancelCheck: () => void = () => undefined
  const writing = new Set<ResourceId>()
  let makesIngress = false

  function outlook({ view, liveness }: Pick<Decision, 'view' | 'liveness'>): NetworkOutlook | undefined {
    if (ability.kind === 'none') return undefined
    if (last?.view === view && last.liveness === liveness) return last.outlook
    const next = network.update({ view, liveness, marks })
    marks = next.marks
    last = { view, liveness, outlook: next }
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

  async function once(): Promise<void> {
    const isDue = isForced
    isForced = false
    if (!options.mayDecide()) return
    const decision = options.decide()
    const next = outlook(decision)
    if (next === undefined) return
    writeFacts(next, decision.view)
    makeIngress(next, decision)
    if (next.plane !== undefined && (isDue || next.plane !== applied?.plane)) {
      await dataPlane.apply(next.plane, stopping.signal)
    }
    applied = { plane: next.plane, versions: decision.view.records }
    await publishNames()
  }

  async function loop(): Promise<void> {
    while (isDirty && !stopping.signal.aborted) {
      isDirty = false
      try {
        await once()
        failure = undefined
      } catch (error) {
        if (stopping.signal.aborted) return
        failure = wordsOf(error)
        logger.error(
          { err: error },
          'the network of this host could not be made as it should be; it is tried again',
        )
        applied = undefined
        named = undefined
        checkAfter(settings.kernelRetryMs)
      }
    }
  }

  function trigger(): void {
    if (ability.kind === 'none' || stopping.signal.aborted) return
    isDirty = true
    running ??= Promise.resolve()
      .then(loop)
      .finally(() => {
        running = undefined
        if (isDirty) trigger()
      })
  }

  /** What others did to the kernel is found out when a plane comes. */
  function checkAfter(ms: number): void {
    cancelCheck()
    cancelCheck = clock.after(ms, () => {
      checkAfter(settings.kernelCheckIntervalMs)
      isForced = true
      trigger()
    })
  }

  return {
    outlook,
    trigger,
    async bridged(signal) {
      isForced = true
      trigger()
      // What is under way goes round once more.
      await running
      signal.throwIfAborted()
    },
    goesBy: (node) => (ability.kind === 'none' ? options.records().get(node) : applied?.versions.get(node)),
    async found(signal) {
      const [tunnel, nameServer] = await Promise.all([
        ability.kind === 'none' ? absent : find(() => dataPlane.tunnel(signal), signal),
        find(() => options.nameServer.counts(signal), signal),
      ])
      return { ability, failure, tunnel, nameServer }
    },
    async start(signal) {
      ability = await dataPlane.ability(signal)
      if (ability.kind === 'none')
        logger.warn(
          { why: ability.why },
          'networks reach only over this host: tasks on others are not on them',
        )
      else checkAfter(settings.kernelCheckIntervalMs)
      options.changed()
    },
    async stop() {
      stopping.abort(new Error('the agent stops'))
      cancelCheck()
      await running
      await options.nameServer.close()
    },
    async clear(signal) {
      if (ability.kind === 'none') return
      await dataPlane.clear(signal)
      await options.nameServer.end(signal)
    },
  }
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
