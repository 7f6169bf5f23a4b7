import type { NodeId } from '@moot/crdt-state'

/** What a probe of a node's agent found. */
export type ProbeResult =
  | { readonly kind: 'answered'; readonly roundTripMs: number }
  /** The host answered and its agent did not (connection refused or reset). */
  | { readonly kind: 'refused' }
  | { readonly kind: 'silent' }

/** `specs` and `records` carry small JSON messages, batched by the sender. */
export type Topic = 'specs' | 'records'

/** A byte stream with half-close, for HTTP between agents. */
export interface ByteStream {
  readonly source: AsyncIterable<Uint8Array>
  write(chunk: Uint8Array): Promise<void>
  /** No more will be written; the other side may still send. */
  closeWrite(): Promise<void>
  abort(error: Error): void
}

/** The allow-list, as the mesh asks it at each connection and each stream. */
export interface Gate {
  member(node: NodeId): boolean
  /** The signed removal to hand to a former member that connects, if there is one. */
  farewell(node: NodeId): Uint8Array | undefined
  /** What to show to a member that may never have heard of this node: at most `introductionMaxBytes`. */
  introduction(): Uint8Array | undefined
  /** Is this stranger, who holds this key, let in on what it showed? If so, `member` says yes from now on. */
  introduced(node: NodeId, publicKey: Uint8Array, introduction: Uint8Array): boolean
}

export type RequestHandler = (from: NodeId, payload: Uint8Array) => Promise<Uint8Array>

/** What a joiner sends and the issuer answers; verified and redeemed by `joinHandler` at the issuer. */
export type JoinHandler = (
  joiner: { readonly node: NodeId; readonly publicKey: Uint8Array },
  request: Uint8Array,
) => Promise<Uint8Array>

/**
 * The mesh between members: closed by identity. Every message has a bound (`maxMessageBytes`), every request a
 * deadline by its signal. Errors: `PeerUnreachableError`, `PeerRefusedError`, `MessageTooLargeError`, `RequestFailedError`.
 */
export interface Mesh {
  readonly self: NodeId
  /** Multiaddrs under which this node listens, with its peer id. */
  addresses(): readonly string[]
  /** Members with an open, accepted connection. */
  peers(): ReadonlySet<NodeId>
  /** Where members may be reached; the mesh keeps connections to them, with back-off. Called again on each change. */
  setMembers(members: ReadonlyMap<NodeId, readonly string[]>): void
  onPeer(
    listener: (event: { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }) => void,
  ): () => void

  /** Gossip to all members; at-most-once per receiver, unordered, lossy: anti-entropy repairs. */
  publish(topic: Topic, payload: Uint8Array): Promise<void>
  onGossip(topic: Topic, listener: (from: NodeId, payload: Uint8Array) => void): () => void

  /** One request, one response, over a stream of its own. `protocol` is a short name such as `sync`. */
  request(node: NodeId, protocol: string, payload: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  onRequest(protocol: string, handler: RequestHandler): () => void
  openStream(node: NodeId, protocol: string, signal: AbortSignal): Promise<ByteStream>
  onStream(protocol: string, handler: (from: NodeId, stream: ByteStream) => void): () => void

  probe(node: NodeId, timeoutMs: number): Promise<ProbeResult>
  /** How long ago its agent was last heard over an open connection, ms: its own probe of us is a sign of life too. */
  quietMs(node: NodeId): number | undefined

  /** As a stranger with a token: to the issuer at one of these addresses. Rejects with a `PeerRefusedError` that says why. */
  join(
    issuer: NodeId,
    addresses: readonly string[],
    request: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array>
  /**
   * While set, strangers may speak `join`; the rest of the time they may only show an introduction. After it is unset, a joiner that became a
   * member meanwhile is still heard by the last one: it asks again because the answer was lost.
   */
  onJoin(handler: JoinHandler | undefined): void
  /** A peer handed us this removal when we connected to it as a member. */
  onFarewell(listener: (from: NodeId, removal: Uint8Array) => void): () => void

  start(): Promise<void>
  stop(): Promise<void>
}
