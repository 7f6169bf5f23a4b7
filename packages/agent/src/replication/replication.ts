import type {
  NodeId,
  RecordMessage,
  RecordStore,
  RecordVersion,
  SpecMessage,
  SpecStore,
  Tombstone,
} from '@moot/crdt-state'
import pLimit from 'p-limit'
import type { Logger } from 'pino'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import { confirm, serveCommits } from './commit.ts'
import { type CounterName, createCounters } from './counters.ts'
import { createExchange } from './exchange.ts'
import { createGossip } from './gossip.ts'
import { serveSync, syncWith } from './sync.ts'
import { createTellAll, serveWatermarks, type TellAll } from './watermarks.ts'
import { decode, specMessagesSchema } from './wire.ts'

export interface ReplicationOptions {
  readonly mesh: Mesh
  readonly specs: SpecStore
  readonly records: RecordStore
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  /** Uniform in [0, 1): which peer is asked, and when. */
  readonly random: () => number
  /** Who would send traffic to a task here: it is told before the task stops. */
  readonly isServing: (node: NodeId) => boolean
  /** Which version of that node's record this node sends traffic by. */
  readonly goesBy: (node: NodeId) => RecordVersion | undefined
  /** Whose messages and records count. */
  readonly member: (node: NodeId) => boolean
  /** A peer holds a record of this node that this node did not write: another agent runs with its key. */
  readonly cloned: (version: RecordVersion) => void
}

/**
 * Keeps the stores of all members alike: what is written here is gossiped and confirmed by a peer, what others write
 * is taken in, and whatever was lost on the way is found by comparing stores with peers, on connecting and every few
 * seconds. Gossip makes it fast; comparing alone makes it right.
 */
export interface Replication {
  start(): void
  stop(): Promise<void>
  /**
   * Spreads what was just written (and fsynced) here. Resolves with a peer that has fsynced it too, or with undefined
   * when none did within `confirmTimeoutMs`, at once when no other member is connected.
   */
  commit(messages: readonly SpecMessage[]): Promise<NodeId | undefined>
  /** Gossips a delta of this node's record, together with those that follow within `recordBatchMs`. */
  publishRecord(delta: RecordMessage): void
  /** Members that are connected and that this node has compared itself with since. */
  syncedWith(): number
  /** Has any comparison succeeded since the start? */
  synced(): boolean
  /** Resolves with the first comparison that succeeds (at once if one has); rejects with the signal's reason. */
  firstSync(signal: AbortSignal): Promise<void>
  /** Calls back when another peer's state has been compared with for the first time since it connected. */
  onSync(listener: (peer: NodeId) => void): () => void
  /** A removal that this peer handed over on connecting, or as it parts: JSON of a tombstone. Stored if it is genuine. */
  receiveFarewell(from: NodeId, removal: Uint8Array): Promise<void>
  /** Compares with this peer now, or joins the comparison under way. */
  syncNow(peer: NodeId): Promise<void>
  /** Everybody who serves goes by this node's record as it is now, or time is up. */
  readonly tellAll: TellAll
  counters(): Readonly<Record<CounterName, number>>
}

export function createReplication(options: ReplicationOptions): Replication {
  const { mesh, clock, settings, random, logger } = options
  const counters = createCounters()
  const stopping = new AbortController()
  const exchange = createExchange(options, counters, stopping.signal)
  const limit = pLimit(settings.syncConcurrency)
  const underWay = new Map<NodeId, Promise<void>>()
  const syncedPeers = new Set<NodeId>()
  const meeting = new Set<NodeId>()
  const listeners = new Set<(peer: NodeId) => void>()
  const unsubscribe: (() => void)[] = []
  const partings = new Set<(from: NodeId, removal: Tombstone) => void>()
  let everSynced = false

  /**
   * Whoever has stored this node's removal closes the connection, mostly before its answer has gone out: that it hands the removal
   * over is one.
   */
  async function confirmOwn(own: Tombstone, messages: readonly SpecMessage[]): Promise<NodeId | undefined> {
    const { promise, resolve } = Promise.withResolvers<NodeId>()
    const parted = (from: NodeId, removal: Tombstone): void => {
      if (removal.incarnation >= own.incarnation) resolve(from)
    }
    partings.add(parted)
    try {
      return await confirm(exchange, messages, random, promise)
    } finally {
      partings.delete(parted)
    }
  }

  function syncNow(peer: NodeId): Promise<void> {
    const running = underWay.get(peer)
    if (running !== undefined) return running
    const promise = limit(async () => {
      stopping.signal.throwIfAborted()
      try {
        await syncWith(exchange, peer)
      } catch (error) {
        counters.count('syncsFailed')
        throw error
      }
      counters.count('syncs')
      compared(peer)
    }).finally(() => underWay.delete(peer))
    underWay.set(peer, promise)
    return promise
  }

  function compared(peer: NodeId): void {
    const connected = mesh.peers().has(peer)
    if (everSynced && (syncedPeers.has(peer) || !connected)) return
    everSynced = true
    if (connected) syncedPeers.add(peer)
    for (const listener of listeners) listener(peer)
  }

  function compareWith(peer: NodeId): void {
    exchange.background('sync', () => syncNow(peer))
  }

  /**
   * Compares with a peer that has just connected until it succeeds once: a peer that is only starting cannot answer yet,
   * and a node that restarts waits for the word of every member before it acts.
   */
  function meet(peer: NodeId): void {
    if (meeting.has(peer)) return
    meeting.add(peer)
    exchange.background('sync', async () => {
      let waitMs: number = settings.syncRetryFirstMs
      try {
        while (mesh.peers().has(peer) && !syncedPeers.has(peer)) {
          await syncNow(peer).catch((error: unknown) => logger.debug({ err: error, peer }, 'sync'))
          if (syncedPeers.has(peer)) return
          await clock.sleep(waitMs, stopping.signal)
          waitMs = Math.min(2 * waitMs, settings.antiEntropyIntervalMs)
        }
      } finally {
        meeting.delete(peer)
      }
    })
  }

  /** One random peer at a time, for ever. */
  async function antiEntropy(): Promise<void> {
    // Agents that were started together must not all compare at the same instant.
    await clock.sleep(settings.antiEntropyIntervalMs * random(), stopping.signal)
    for (;;) {
      const peers = exchange.peers()
      const peer = peers[Math.floor(random() * peers.length)]
      if (peer !== undefined)
        await syncNow(peer).catch((error: unknown) => logger.debug({ err: error, peer }, 'sync'))
      await clock.sleep(settings.antiEntropyIntervalMs, stopping.signal)
    }
  }

  const gossip = createGossip(exchange, compareWith)

  return {
    start() {
      unsubscribe.push(
        serveCommits(exchange),
        serveSync(exchange),
        serveWatermarks(exchange, options.goesBy),
        mesh.onPeer(({ kind, node }) => {
          if (kind === 'disconnected') syncedPeers.delete(node)
          else if (options.member(node)) meet(node)
        }),
      )
      for (const peer of exchange.peers()) meet(peer)
      exchange.background('anti-entropy', antiEntropy)
    },
    async stop() {
      stopping.abort(new Error('replication stops'))
      gossip.stop()
      for (const off of unsubscribe) off()
      listeners.clear()
      await exchange.idle()
    },
    async commit(messages) {
      if (messages.length === 0) return undefined
      gossip.publishSpecs(messages)
      const [own] = messages.flatMap((message) => removalsOf(mesh.self, message))
      return own === undefined ? confirm(exchange, messages, random) : confirmOwn(own, messages)
    },
    publishRecord: (delta) => gossip.publishRecord(delta),
    tellAll: createTellAll(exchange, options.isServing, options.goesBy),
    syncedWith: () => syncedPeers.size,
    synced: () => everSynced,
    firstSync(signal) {
      if (everSynced) return Promise.resolve()
      return new Promise((resolve, reject) => {
        const bound = AbortSignal.any([signal, stopping.signal])
        const done = (): void => {
          listeners.delete(done)
          bound.removeEventListener('abort', aborted)
          resolve()
        }
        const aborted = (): void => {
          listeners.delete(done)
          reject(bound.reason as Error)
        }
        if (bound.aborted) {
          aborted()
          return
        }
        bound.addEventListener('abort', aborted, { once: true })
        listeners.add(done)
      })
    },
    onSync(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async receiveFarewell(from, removal) {
      const text = new TextDecoder().decode(removal)
      const messages = decode(
        specMessagesSchema,
        new TextEncoder().encode(`[{"type":"tombstone","tombstone":${text}}]`),
      )
      if (messages?.length !== 1) {
        counters.count('garbage')
        return
      }
      // Who removed this node may have joined while it was away, and nobody compares with one that is removed: it would never hear of it.
      const [own] = messages.flatMap((message) => removalsOf(mesh.self, message))
      const vouched = options.member(from) && own !== undefined
      await exchange.receiveSpecs(messages, { vouched })
      if (vouched) for (const parted of partings) parted(from, own)
    },
    syncNow,
    counters: () => counters.read(),
  }
}

function removalsOf(node: NodeId, message: SpecMessage): readonly Tombstone[] {
  if (message.type !== 'tombstone') return []
  const { tombstone } = message
  return tombstone.kind === 'node' && tombstone.name === node ? [tombstone] : []
}
