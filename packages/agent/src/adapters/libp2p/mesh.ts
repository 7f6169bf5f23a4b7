import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { nodeIdOf } from '@moot/crdt-state'
import type { Identity, NodeId } from '@moot/crdt-state'
import type { Libp2p } from 'libp2p'
import type { Logger } from 'pino'
import type { Defaults } from '../../defaults.ts'
import { MessageTooLargeError, PeerRefusedError } from '../../ports/mesh.errors.ts'
import type {
  ByteStream,
  Gate,
  JoinHandler,
  Mesh,
  ProbeResult,
  RequestHandler,
  Topic,
} from '../../ports/mesh.ts'
import { advertised, hostAndPort, isOwn, tcpMultiaddr } from './address.ts'
import { Channel, toError, within } from './channel.ts'
import { Connections } from './connections.ts'
import { controlProtocol, helloAddressesMax } from './control.ts'
import { Datagrams } from './datagram/datagrams.ts'
import { Exchange, joinProtocol, requestProtocol, streamProtocol } from './exchange.ts'
import { gossipServices, startGossip } from './gossip.ts'
import type { Gossip } from './gossip.ts'
import { libp2pKey, peerIdOf, rawKeyOf } from './identity.ts'
import type { Link } from './link.ts'
import { createNode } from './node.ts'
import { probeNode } from './probe.ts'
import { startPulse } from './pulse.ts'

export interface Libp2pMeshOptions {
  readonly identity: Identity
  /** Port 0: any free one. */
  readonly listen: { readonly host: string; readonly port: number }
  /** How others reach us: host, host:port or multiaddr. Without it, the addresses that the listener finds. */
  readonly advertise?: string | undefined
  readonly gate: Gate
  /** Nodes of another cluster are refused, and topics are apart. */
  readonly clusterTag: string
  readonly logger: Logger
  /** `false`: nothing is gossiped (MOOT_GOSSIP=off); anti-entropy does all. */
  readonly gossip: boolean
  readonly settings: Defaults
}
type PeerEvent = { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }

/** The mesh over libp2p: TCP, noise, yamux, gossipsub. See design/mesh.md, "Transport and identity". */
export function createLibp2pMesh(options: Libp2pMeshOptions): Mesh {
  return new Libp2pMesh(options)
}

class Libp2pMesh implements Mesh {
  readonly self: NodeId
  readonly #options: Libp2pMeshOptions
  readonly #settings: Defaults
  readonly #peerId: PeerId
  readonly #connections: Connections
  readonly #exchange: Exchange
  readonly #datagrams: Datagrams
  /** When a probe of each member was last answered, whichever way, and whether one was missed since. */
  readonly #probed = new Map<NodeId, { readonly answeredMs: number; readonly missed: boolean }>()
  readonly #peerListeners = new Set<(event: PeerEvent) => void>()
  readonly #gossipListeners = new Map<Topic, Set<(from: NodeId, payload: Uint8Array) => void>>()
  readonly #farewellListeners = new Set<(from: NodeId, removal: Uint8Array) => void>()
  #node: Libp2p | undefined
  #listeningOn: number | undefined
  #gossip: Gossip | undefined
  #stopPulse: () => void = () => undefined
  #stopped: Promise<void> | undefined

  constructor(options: Libp2pMeshOptions) {
    this.#options = options
    this.#settings = options.settings
    this.self = nodeIdOf(options.identity.publicKey)
    this.#peerId = peerIdOf(options.identity.publicKey)
    this.#exchange = new Exchange(options.settings, (node) => options.gate.member(node))
    this.#connections = new Connections({
      self: this.self,
      settings: options.settings,
      gate: options.gate,
      clusterTag: options.clusterTag,
      addresses: () => this.addresses(),
      changed: (event) => this.#each(this.#peerListeners, (listener) => listener(event)),
      farewell: (from, removal) => this.#each(this.#farewellListeners, (listener) => listener(from, removal)),
      accepted: (connection) => this.#gossipOver(connection),
    })
    this.#datagrams = new Datagrams({
      ...options,
      self: this.self,
      isMember: (node) => options.gate.member(node),
      publicKeyOf: (node) => this.#connections.publicKeyOf(node),
      doorsOf: (node) => this.#connections.datagramDoorsOf(node),
    })
    // A wrong address to advertise is told now, not when the first peer cannot find us.
    this.addresses()
  }

  async start(): Promise<void> {
    const { listen, identity, gate, clusterTag } = this.#options
    const gossipOptions = {
      clusterTag,
      maxMessageBytes: this.#settings.maxMessageBytes,
      allowed: (node: NodeId) => gate.member(node),
      heard: (topic: Topic, from: NodeId, payload: Uint8Array) =>
        this.#each(this.#gossipListeners.get(topic) ?? [], (listener) => listener(from, payload)),
    }
    const nodeOptions = {
      privateKey: libp2pKey(identity),
      listen: tcpMultiaddr(listen.host, listen.port),
      gater: { denyInboundEncryptedConnection: (peer: PeerId) => !this.#connections.mayEnter(peer) },
      settings: this.#settings,
    }
    if (!this.#options.gossip) await this.#run(await createNode({ ...nodeOptions, services: {} }))
    else {
      const node = await createNode({ ...nodeOptions, services: gossipServices(gossipOptions) })
      await this.#run(node)
      this.#gossip = startGossip(node, gossipOptions)
      // Peers may have come in while it started.
      for (const link of this.#connections.links.all()) {
        if (link.state.kind === 'accepted') this.#gossipOver(link.connection)
      }
    }
    this.#stopPulse = startPulse(this.#connections.links, this.#settings)
    this.#datagrams.start({ host: listen.host, port: this.#ownPort() ?? listen.port })
  }
  async #run(node: Libp2p): Promise<void> {
    const { meshRequestsPerPeer, meshStreamsPerPeer, meshControlMaxBytes } = this.#settings
    await this.#serve(node, controlProtocol, 2, (link, stream) => {
      void link.answer(new Channel(stream, meshControlMaxBytes))
    })
    await this.#serve(node, requestProtocol, meshRequestsPerPeer, (link, stream) =>
      this.#exchange.serveRequest(stream, link.node),
    )
    await this.#serve(node, streamProtocol, meshStreamsPerPeer, (link, stream) =>
      this.#exchange.serveStream(stream, link.node),
    )
    await this.#serve(node, joinProtocol, 1, (link, stream) => {
      const publicKey = rawKeyOf(link.connection.remotePeer) ?? new Uint8Array()
      this.#exchange.serveJoin(stream, { node: link.node, publicKey })
    })
    this.#node = node
    this.#connections.attach(node)
    await node.start()
  }
  #serve(
    node: Libp2p,
    protocol: string,
    limit: number,
    handler: (link: Link, stream: Stream) => void,
  ): Promise<void> {
    const serve = (stream: Stream, connection: Connection): void => {
      const link = this.#connections.linkOf(connection)
      if (link === undefined) stream.abort(new Error('the connection is closing'))
      else handler(link, stream)
    }
    return node.handle(protocol, serve, { maxInboundStreams: limit, maxOutboundStreams: limit })
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }
  async #stop(): Promise<void> {
    this.#stopPulse()
    await this.#datagrams.stop()
    await this.#connections.stop()
    const signal = AbortSignal.timeout(this.#settings.meshStopTimeoutMs)
    await within(Promise.resolve(this.#node?.stop()), signal, () => undefined).catch((error: unknown) =>
      this.#options.logger.warn({ err: toError(error, 'no answer') }, 'the mesh did not stop in time'),
    )
  }

  addresses(): readonly string[] {
    const { advertise, listen } = this.#options
    if (advertise !== undefined) return [advertised(advertise, this.#ownPort() ?? listen.port, this.#peerId)]
    const found = this.#interfaces()
    const outside = found.filter((address) => !/^\/(?:ip4\/127\.|ip6\/::1\/)/.test(address))
    // A host with many bridges has an address on each: peers would refuse the greeting, joiners could not read a token.
    return (outside.length > 0 ? outside : found).slice(0, helloAddressesMax)
  }
  /** Where it listens, on every interface of the host: 10 ms where a hundred containers have one each. */
  #interfaces(): readonly string[] {
    return (this.#node?.getMultiaddrs() ?? []).map((address) => address.toString())
  }
  /** The port that it listens on, found out once; undefined before it has started. */
  #ownPort(): number | undefined {
    this.#listeningOn ??= this.#interfaces()
      .map(hostAndPort)
      .find((door) => door !== undefined)?.port
    return this.#listeningOn
  }

  peers(): ReadonlySet<NodeId> {
    return this.#connections.links.peers()
  }
  setMembers(members: ReadonlyMap<NodeId, readonly string[]>): void {
    this.#connections.setMembers(members)
    this.#datagrams.setMembers(members.keys())
    for (const node of this.#probed.keys()) if (!members.has(node)) this.#probed.delete(node)
  }
  onPeer(listener: (event: PeerEvent) => void): () => void {
    this.#peerListeners.add(listener)
    return () => this.#peerListeners.delete(listener)
  }
  onFarewell(listener: (from: NodeId, removal: Uint8Array) => void): () => void {
    this.#farewellListeners.add(listener)
    return () => this.#farewellListeners.delete(listener)
  }
  #each<L>(listeners: Iterable<L>, call: (listener: L) => void): void {
    for (const listener of listeners) {
      try {
        call(listener)
      } catch (error) {
        this.#options.logger.error({ err: error }, 'a listener of the mesh failed')
      }
    }
  }

  async publish(topic: Topic, payload: Uint8Array): Promise<void> {
    this.#bound('gossip', payload)
    try {
      await this.#gossip?.publish(topic, payload)
    } catch (error) {
      // Lossy by contract: anti-entropy brings what gossip could not.
      this.#options.logger.warn({ err: toError(error, 'no answer'), topic }, 'gossip was not sent')
    }
  }
  onGossip(topic: Topic, listener: (from: NodeId, payload: Uint8Array) => void): () => void {
    const listeners = this.#gossipListeners.get(topic) ?? new Set()
    this.#gossipListeners.set(topic, listeners.add(listener))
    return () => listeners.delete(listener)
  }
  #gossipOver(connection: Connection): void {
    this.#gossip?.join(connection).catch((error: unknown) => {
      this.#options.logger.warn({ err: toError(error, 'no answer') }, 'gossip could not use a connection')
    })
  }

  async request(
    node: NodeId,
    protocol: string,
    payload: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#bound(`the request "${protocol}"`, payload)
    const link = await this.#connections.connect(node, signal)
    return this.#exchange.request(link, protocol, payload, signal)
  }
  onRequest(protocol: string, handler: RequestHandler): () => void {
    this.#exchange.requestHandlers.set(protocol, handler)
    return () => this.#exchange.requestHandlers.delete(protocol)
  }
  async openStream(node: NodeId, protocol: string, signal: AbortSignal): Promise<ByteStream> {
    const link = await this.#connections.connect(node, signal)
    return this.#exchange.openStream(link, protocol, signal)
  }
  onStream(protocol: string, handler: (from: NodeId, stream: ByteStream) => void): () => void {
    this.#exchange.streamHandlers.set(protocol, handler)
    return () => this.#exchange.streamHandlers.delete(protocol)
  }
  #bound(what: string, payload: Uint8Array): void {
    const { maxMessageBytes } = this.#settings
    if (payload.length > maxMessageBytes)
      throw new MessageTooLargeError(what, payload.length, maxMessageBytes)
  }

  async probe(node: NodeId, timeoutMs: number): Promise<ProbeResult> {
    const { links } = this.#connections
    const result = await probeNode({
      timeoutMs,
      question: this.#datagrams.ask(node, timeoutMs),
      hungAfterMs: this.#settings.agentHungAfterMs,
      link: () => links.best(node),
      // Only those of another host: an engine's bridge has the same address on each.
      doors: () =>
        this.#connections.doorsOf(node).filter(({ host, port }) => !isOwn(host, port, this.#ownPort() ?? 0)),
      connect: (signal) => this.#connections.connect(node, signal),
      connectionsDead: () => this.#closeDead(node, 0),
    })
    const before = this.#probed.get(node)
    if (result.kind === 'answered') {
      this.#probed.set(node, { answeredMs: performance.now(), missed: false })
      // It is back, and a datagram makes no connection: the dialler need not wait for its time.
      if (before?.missed === true && !links.isPeer(node)) this.#connections.kick(node)
    } else {
      this.#probed.set(node, { answeredMs: before?.answeredMs ?? -Infinity, missed: true })
      this.#closeDead(node, this.#settings.meshDeadAfterMs)
    }
    return result
  }
  quietMs(node: NodeId): number | undefined {
    const link = this.#connections.links.best(node)
    return link === undefined ? undefined : performance.now() - link.lastHeardMs
  }
  /** While datagrams are answered nothing goes over a connection but its pulse: its silence says something only after theirs. */
  #closeDead(node: NodeId, quietMs: number): void {
    const sinceMs = performance.now() - quietMs
    if ((this.#probed.get(node)?.answeredMs ?? -Infinity) > sinceMs) return
    for (const link of this.#connections.links.of(node)) {
      if (link.state.kind === 'accepted' && link.lastHeardMs <= sinceMs) {
        link.close(new Error('it answers no probes'))
      }
    }
  }

  async join(
    issuer: NodeId,
    addresses: readonly string[],
    request: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    this.#bound('the join request', request)
    return this.#connections.asStranger(issuer, addresses, signal, async (connection) => {
      try {
        return await this.#exchange.join(issuer, connection, request, signal)
      } catch (error) {
        if (signal.aborted || error instanceof PeerRefusedError) throw error
        throw new PeerRefusedError(
          issuer,
          'it closed the connection: no join token is outstanding there (used or expired?), or too many are joining at once; make a new token on that node, or try again in some seconds',
        )
      }
    })
  }
  onJoin(handler: JoinHandler | undefined): void {
    this.#exchange.setJoinHandler(handler)
  }
}
