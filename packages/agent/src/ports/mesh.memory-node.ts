import type { NodeId } from '@moot/crdt-state'
import type { Clock } from './clock.ts'
import {
  MessageTooLargeError,
  PeerRefusedError,
  PeerUnreachableError,
  RequestFailedError,
} from './mesh.errors.ts'
import { memoryStreamPair } from './mesh.memory-stream.ts'
import type { MemoryStreamPair } from './mesh.memory-stream.ts'
import type { ByteStream, Gate, JoinHandler, Mesh, ProbeResult, RequestHandler, Topic } from './mesh.ts'

/** What the meshes ask of the network. */
export interface Wire {
  readonly clock: Clock | undefined
  find(node: NodeId): MemoryMesh | undefined
  all(): Iterable<MemoryMesh>
  /** The host is on and the way there is open: its kernel would answer. */
  hostAnswers(from: NodeId, to: NodeId): boolean
  /** `hostAnswers` both ways, and both agents run. */
  reaches(from: NodeId, to: NodeId): boolean
  /** Its process stands still: what is sent to it waits. */
  isStalled(node: NodeId): boolean
  /** Calls `answered` when the kernel of its host has answered, whatever its processes do; never if it does not. */
  knock(from: NodeId, to: NodeId, answered: () => void): void
  /** After the delay calls `arrived`, or `lost` when a fault took the message. */
  carry(from: NodeId, to: NodeId, arrived: () => void, lost: () => void): void
  /** Is a gossiped message heard once more on this way? Streams repeat nothing. */
  repeats(from: NodeId, to: NodeId): boolean
  /** Connections are made and broken to fit what is possible now. */
  settle(): void
}

interface NodeOptions {
  /** Its host's own, by which it waits for answers; default: the network's. */
  readonly clock?: Clock
  readonly gate: Gate
  readonly publicKey: Uint8Array
  readonly address: string
  readonly maxMessageBytes: number
  readonly gossip: boolean
}
type PeerEvent = { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }
/** From when in a probe's time the other host's kernel is asked as well: after a third for datagrams, and a third of what is left. */
const knocksAfter = 5 / 9
type StreamHandler = (from: NodeId, stream: ByteStream) => void

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** One node of a `MemoryNetwork`. Its rules are those of the real mesh: who may connect, what is refused, with which words. */
export class MemoryMesh implements Mesh {
  readonly self: NodeId
  readonly options: NodeOptions
  running = false
  #joinHandler: JoinHandler | undefined
  /** For joiners that are members by now, and ask again because the answer was lost on its way. */
  #lastJoinHandler: JoinHandler | undefined
  readonly #wire: Wire
  #members: ReadonlyMap<NodeId, readonly string[]> = new Map()
  readonly #peers = new Map<NodeId, MemoryMesh>()
  readonly #peerListeners = new Set<(event: PeerEvent) => void>()
  readonly #gossipListeners = new Map<Topic, Set<(from: NodeId, payload: Uint8Array) => void>>()
  readonly #farewellListeners = new Set<(from: NodeId, removal: Uint8Array) => void>()
  readonly #requestHandlers = new Map<string, RequestHandler>()
  readonly #streamHandlers = new Map<string, StreamHandler>()
  readonly #streams = new Map<MemoryStreamPair, NodeId>()
  /** Removals handed over already on this way in: once per attempt to connect, and here attempts are changes. */
  readonly #farewelled = new Set<MemoryMesh>()

  constructor(wire: Wire, self: NodeId, options: NodeOptions) {
    this.#wire = wire
    this.self = self
    this.options = options
  }

  addresses(): readonly string[] {
    return [this.options.address]
  }
  peers(): ReadonlySet<NodeId> {
    return new Set(this.#peers.keys())
  }
  setMembers(members: ReadonlyMap<NodeId, readonly string[]>): void {
    this.#members = new Map(members)
    this.#farewelled.clear()
    this.#wire.settle()
  }
  onPeer(listener: (event: PeerEvent) => void): () => void {
    this.#peerListeners.add(listener)
    return () => this.#peerListeners.delete(listener)
  }
  start(): Promise<void> {
    this.running = true
    this.#wire.settle()
    return Promise.resolve()
  }
  stop(): Promise<void> {
    this.vanish()
    return Promise.resolve()
  }
  /** As the process ends. */
  vanish(): void {
    this.running = false
    this.#wire.settle()
  }

  /** Closes what the world or the allow-list no longer carries. A removed member is handed its removal first. */
  dropBroken(): void {
    for (const [node, peer] of this.#peers) {
      const reached = this.#wire.find(node) === peer && this.#wire.reaches(this.self, node)
      if (reached && this.options.gate.member(node) && peer.options.gate.member(this.self)) continue
      if (reached && !this.options.gate.member(node)) this.#bidFarewell(peer)
      this.#disconnect(node)
      peer.#disconnect(this.self)
    }
  }
  #disconnect(node: NodeId): void {
    if (!this.#peers.delete(node)) return
    for (const [pair, other] of this.#streams) {
      if (other !== node) continue
      this.#streams.delete(pair)
      pair.fail(new PeerUnreachableError(node, [], 'the connection broke'))
    }
    this.#emitPeer({ kind: 'disconnected', node })
  }
  #emitPeer(event: PeerEvent): void {
    queueMicrotask(() => {
      for (const listener of this.#peerListeners) listener(event)
    })
  }

  connectWanted(): void {
    if (!this.running) return
    for (const [node, addresses] of this.#members) {
      const peer = this.#wire.find(node)
      if (node === this.self || peer === undefined || this.#peers.has(node)) continue
      if (!addresses.includes(peer.options.address) || !this.#wire.reaches(this.self, node)) continue
      if (!this.options.gate.member(node)) continue
      if (!peer.#letsIn(this)) peer.#bidFarewell(this)
      else {
        this.#peers.set(node, peer)
        peer.#peers.set(this.self, this)
        this.#emitPeer({ kind: 'connected', node })
        peer.#emitPeer({ kind: 'connected', node: this.self })
      }
    }
  }
  /** A member, or a stranger on what it shows. */
  #letsIn(dialler: MemoryMesh): boolean {
    const { gate } = this.options
    if (gate.member(dialler.self)) return true
    const shown = dialler.options.gate.introduction()
    return shown !== undefined && gate.introduced(dialler.self, dialler.options.publicKey, shown.slice())
  }
  #bidFarewell(former: MemoryMesh): void {
    const removal = this.options.gate.farewell(former.self)
    if (removal === undefined || this.#farewelled.has(former)) return
    this.#farewelled.add(former)
    this.#wire.carry(
      this.self,
      former.self,
      () => {
        for (const listener of former.#farewellListeners) listener(this.self, removal.slice())
      },
      () => this.#farewelled.delete(former),
    )
  }

  async publish(topic: Topic, payload: Uint8Array): Promise<void> {
    this.#bound('gossip', payload)
    if (!this.options.gossip || !this.running) return
    // Flooding through whoever is connected: members that we do not reach hear it from those in between.
    const seen = new Set<NodeId>([this.self])
    const forward = (via: MemoryMesh): void => {
      const next = [...via.#peers].filter(([node]) => !seen.has(node))
      for (const [node, peer] of next) {
        seen.add(node)
        this.#wire.carry(
          via.self,
          node,
          () => {
            peer.#hear(topic, via.self, payload)
            forward(peer)
          },
          // Lost on this way, another neighbour may still bring it.
          () => seen.delete(node),
        )
        if (!this.#wire.repeats(via.self, node)) continue
        const again = (): void => peer.#hear(topic, via.self, payload)
        this.#wire.carry(via.self, node, again, () => undefined)
      }
    }
    forward(this)
  }
  #hear(topic: Topic, from: NodeId, payload: Uint8Array): void {
    if (!this.options.gossip || !this.options.gate.member(from)) return
    for (const listener of this.#gossipListeners.get(topic) ?? []) listener(from, payload.slice())
  }
  onGossip(topic: Topic, listener: (from: NodeId, payload: Uint8Array) => void): () => void {
    const listeners = this.#gossipListeners.get(topic) ?? new Set()
    this.#gossipListeners.set(topic, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  async request(
    node: NodeId,
    protocol: string,
    payload: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#bound(`the request "${protocol}"`, payload)
    const peer = this.#dial(node)
    return this.#exchange(peer, signal, async () => {
      const handler = peer.#requestHandlers.get(protocol)
      if (handler === undefined)
        throw new RequestFailedError(node, protocol, 'it does not speak this protocol')
      return handler(this.self, payload.slice()).then(
        (answer) => {
          if (answer.length <= peer.options.maxMessageBytes) return answer.slice()
          throw new RequestFailedError(node, protocol, `its answer of ${answer.length} bytes is too large`)
        },
        (error: unknown) => {
          throw new RequestFailedError(node, protocol, words(error))
        },
      )
    })
  }
  onRequest(protocol: string, handler: RequestHandler): () => void {
    this.#requestHandlers.set(protocol, handler)
    return () => this.#requestHandlers.delete(protocol)
  }

  async openStream(node: NodeId, protocol: string, signal: AbortSignal): Promise<ByteStream> {
    const peer = this.#dial(node)
    await this.#exchange(peer, signal, () => Promise.resolve(new Uint8Array()))
    const handler = peer.#streamHandlers.get(protocol)
    if (handler === undefined) throw new RequestFailedError(node, protocol, 'it does not speak this protocol')
    const pair = memoryStreamPair()
    this.#streams.set(pair, node)
    peer.#streams.set(pair, this.self)
    handler(this.self, pair.far)
    return pair.near
  }
  onStream(protocol: string, handler: StreamHandler): () => void {
    this.#streamHandlers.set(protocol, handler)
    return () => this.#streamHandlers.delete(protocol)
  }

  #bound(what: string, payload: Uint8Array): void {
    const max = this.options.maxMessageBytes
    if (payload.length > max) throw new MessageTooLargeError(what, payload.length, max)
  }
  #dial(node: NodeId): MemoryMesh {
    const peer = this.#wire.find(node)
    const tried = this.#members.get(node) ?? []
    if (!this.options.gate.member(node)) throw new PeerRefusedError(this.self, `${node} is no member`)
    const known = this.#peers.has(node) || (peer !== undefined && tried.includes(peer.options.address))
    if (peer === undefined || !known || !this.#wire.reaches(this.self, node)) {
      throw new PeerUnreachableError(node, tried, 'nothing answered')
    }
    if (!peer.#letsIn(this)) {
      throw new PeerRefusedError(node, 'it does not have us as a member')
    }
    return peer
  }
  /** There and back; a message lost either way is a broken connection. */
  #exchange(peer: MemoryMesh, signal: AbortSignal, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const aborted = (): void => reject(signal.reason as Error)
      const finish = (settle: () => void): void => {
        signal.removeEventListener('abort', aborted)
        settle()
      }
      signal.addEventListener('abort', aborted, { once: true })
      const broke = (): void =>
        finish(() => reject(new PeerUnreachableError(peer.self, peer.addresses(), 'the connection broke')))
      const back = (settle: () => void): void =>
        this.#wire.carry(peer.self, this.self, () => finish(settle), broke)
      const arrived = (): void => {
        work().then(
          (answer) => back(() => resolve(answer)),
          (error: unknown) => back(() => reject(error)),
        )
      }
      this.#wire.carry(this.self, peer.self, arrived, broke)
    })
  }

  /** Never known here: every probe of a simulation is one. */
  quietMs(): undefined {
    return undefined
  }

  probe(node: NodeId, timeoutMs: number): Promise<ProbeResult> {
    const clock = this.options.clock ?? this.#wire.clock
    const startMs = clock?.monotonicMs() ?? 0
    return new Promise((resolve) => {
      let isHostAlive = false
      const knock = (): void => {
        if (!this.#wire.isStalled(node)) return
        this.#wire.knock(this.self, node, () => {
          // An agent may answer late: with a clock its time is waited for.
          if (clock === undefined) resolve({ kind: 'refused' })
          isHostAlive = true
        })
      }
      const timers = [
        clock?.after(timeoutMs * knocksAfter, knock),
        clock?.after(timeoutMs, () => resolve({ kind: isHostAlive ? 'refused' : 'silent' })),
      ]
      const done = (result: ProbeResult): void => {
        for (const cancel of timers) cancel?.()
        resolve(result)
      }
      if (clock === undefined) knock()
      const missed = (): void => {
        if (this.#wire.hostAnswers(this.self, node) && !this.#wire.reaches(this.self, node))
          done({ kind: 'refused' })
        // With a clock, silence takes its time.
        else if (clock === undefined) done({ kind: 'silent' })
      }
      const answered = (): void =>
        done({ kind: 'answered', roundTripMs: (clock?.monotonicMs() ?? 0) - startMs })
      this.#wire.carry(this.self, node, () => this.#wire.carry(node, this.self, answered, missed), missed)
    })
  }

  async join(
    issuer: NodeId,
    addresses: readonly string[],
    request: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#bound('the join request', request)
    const peer = this.#wire.find(issuer)
    if (
      peer === undefined ||
      !addresses.includes(peer.options.address) ||
      !this.#wire.reaches(this.self, issuer)
    ) {
      throw new PeerUnreachableError(issuer, addresses, 'nothing answered')
    }
    return this.#exchange(peer, signal, async () => {
      const again = peer.options.gate.member(this.self) ? peer.#lastJoinHandler : undefined
      const handler = peer.#joinHandler ?? again
      if (handler === undefined) throw new PeerRefusedError(issuer, 'no join token is outstanding there')
      return handler({ node: this.self, publicKey: this.options.publicKey }, request.slice()).catch(
        (error: unknown) => {
          throw new PeerRefusedError(issuer, words(error))
        },
      )
    })
  }
  onJoin(handler: JoinHandler | undefined): void {
    this.#joinHandler = handler
    if (handler !== undefined) this.#lastJoinHandler = handler
  }
  onFarewell(listener: (from: NodeId, removal: Uint8Array) => void): () => void {
    this.#farewellListeners.add(listener)
    return () => this.#farewellListeners.delete(listener)
  }
}
