import { randomBytes } from 'node:crypto'
import type { Connection, PeerId } from '@libp2p/interface'
import type { NodeId } from '@moot/crdt-state'
import type { Libp2p } from 'libp2p'
import type { Defaults } from '../../defaults.ts'
import { PeerRefusedError, PeerUnreachableError } from '../../ports/mesh.errors.ts'
import type { Gate } from '../../ports/mesh.ts'
import { dialable, hostAndPort, peerIn } from './address.ts'
import { toError, within } from './channel.ts'
import { doorsFor } from './datagram/doors.ts'
import type { Door } from './datagram/messages.ts'
import { dialTargets } from './dial-targets.ts'
import { Dialer } from './dialer.ts'
import { nodeOf, rawKeyOf } from './identity.ts'
import { controlVersion, Link } from './link.ts'
import type { LinkHost } from './link.ts'
import { Links } from './links.ts'

export interface ConnectionsOptions {
  readonly self: NodeId
  readonly settings: Defaults
  readonly gate: Gate
  readonly clusterTag: string
  /** Where this node listens now. */
  addresses(): readonly string[]
  changed(event: { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }): void
  farewell(from: NodeId, removal: Uint8Array): void
  /** Gossip may use this accepted connection. */
  accepted(connection: Connection): void
}

/** Who is let in, whom we dial, and which connections there are. */
export class Connections {
  readonly links: Links
  readonly #options: ConnectionsOptions
  readonly #host: LinkHost
  readonly #dialer: Dialer
  readonly #connecting = new Map<NodeId, Promise<Link>>()
  /** Being dialled as strangers: these are not greeted. */
  readonly #joining = new Set<NodeId>()
  readonly #deadlines = new Map<Link, NodeJS.Timeout>()
  #members: ReadonlyMap<NodeId, readonly string[]> = new Map()
  /** Where peers said that they listen when we last met them. */
  readonly #learned = new Map<NodeId, readonly string[]>()
  #node: Libp2p | undefined
  #stopping = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
    const { settings, gate, clusterTag } = options
    this.links = new Links((event) => this.#changed(event))
    const session = randomBytes(8).toString('hex')
    this.#host = {
      settings,
      gate,
      clusterTag,
      hello: () => ({
        cluster: clusterTag,
        versions: [controlVersion],
        session,
        addresses: [...options.addresses()],
      }),
      accepted: (link) => this.#accepted(link),
      farewell: (link, removal) => {
        if (gate.member(link.node)) options.farewell(link.node, removal)
      },
    }
    this.#dialer = new Dialer({
      self: options.self,
      settings,
      random: Math.random,
      connected: (node) => this.links.isPeer(node),
      connect: (node) => this.#connectShared(node),
    })
  }

  attach(node: Libp2p): void {
    this.#node = node
    node.addEventListener('connection:open', ({ detail }) => this.#opened(detail))
    node.addEventListener('connection:close', ({ detail }) => this.#closed(detail))
  }

  // ── who may come in ─────────────────────────────────────────────────────────────────────────────────────────────

  mayEnter(peer: PeerId): boolean {
    const { gate, settings } = this.#options
    const node = nodeOf(peer)
    if (node === undefined || this.#stopping) return false
    if (gate.member(node)) return true
    // It may join, be told that it was removed, or be a member that this node has not heard of: its greeting tells.
    return this.#strangers() < settings.meshStrangersMax
  }
  #strangers(): number {
    const { gate } = this.#options
    return [...this.links.all()].filter(
      (link) => link.connection.direction === 'inbound' && !gate.member(link.node),
    ).length
  }
  #opened(connection: Connection): void {
    const { gate, settings } = this.#options
    const node = nodeOf(connection.remotePeer)
    const stranger = node !== undefined && !gate.member(node)
    const inbound = connection.direction === 'inbound'
    // The gater asked too, but several may have passed it before the first was counted.
    const tooMany = stranger && inbound && this.#strangers() >= settings.meshStrangersMax
    if (node === undefined || this.#stopping || tooMany) {
      connection.abort(new Error('not wanted'))
      return
    }
    const link = new Link(this.#host, connection, node)
    this.links.add(link)
    const limitMs = stranger ? settings.meshStrangerTimeoutMs : settings.meshUpgradeTimeoutMs
    const overdue = (): void => {
      if (link.state.kind !== 'accepted' && !this.#joining.has(node)) {
        link.close(new Error('it was not greeted in time'))
      }
    }
    this.#deadlines.set(link, setTimeout(overdue, limitMs))
    if (!inbound && !this.#joining.has(node)) void link.greet()
  }
  #closed(connection: Connection): void {
    const link = this.linkOf(connection)
    if (link === undefined) return
    clearTimeout(this.#deadlines.get(link))
    this.#deadlines.delete(link)
    link.closed(new Error('it closed the connection; it may not have this node as a member yet'))
    this.links.remove(link)
    // Gossip's stream may have gone with this connection while another one to the same peer stays.
    const other = this.links.best(link.node)
    if (other !== undefined) this.#options.accepted(other.connection)
  }
  linkOf(connection: Connection): Link | undefined {
    const node = nodeOf(connection.remotePeer)
    if (node === undefined) return undefined
    return this.links.of(node).find((link) => link.connection.id === connection.id)
  }

  #accepted(link: Link): void {
    if (link.state.kind !== 'accepted') return
    const { hello } = link.state
    this.#learned.set(link.node, hello.addresses)
    // Its earlier process is gone, even if nobody told us: power off says no goodbye.
    for (const other of this.links.of(link.node)) {
      if (other.state.kind === 'accepted' && other.state.hello.session !== hello.session) {
        other.close(new Error('the agent at the other side was restarted'))
      }
    }
    const alone = this.links.peers().size === 0
    this.links.refresh(link.node)
    this.#options.accepted(link.connection)
    // The first after none: it was probably we who were away, so the others may be there too.
    if (alone) this.#dialer.kickAll()
  }
  #changed(event: { readonly kind: 'connected' | 'disconnected'; readonly node: NodeId }): void {
    if (event.kind === 'disconnected') this.#dialer.disconnected(event.node)
    this.#options.changed(event)
  }

  // ── whom we dial ────────────────────────────────────────────────────────────────────────────────────────────────

  setMembers(members: ReadonlyMap<NodeId, readonly string[]>): void {
    const { gate, self, settings } = this.#options
    const before = this.#members
    this.#members = new Map(members)
    for (const node of this.#learned.keys()) if (!members.has(node)) this.#learned.delete(node)
    for (const link of this.links.all()) {
      if (link.state.kind === 'accepted' && !gate.member(link.node)) {
        void link.bidFarewell(gate.farewell(link.node))
      }
    }
    if (this.#node === undefined || this.#stopping) return
    this.#dialer.setTargets(
      dialTargets(self, members.keys(), settings.meshFullDegree, settings.meshRingDegree),
    )
    for (const [node, addresses] of members) {
      if (addresses.join(' ') === (before.get(node) ?? addresses).join(' ')) continue
      // Its record is newer than what it told us when we last met it.
      if (!this.links.isPeer(node)) this.#learned.delete(node)
      this.#dialer.kick(node)
    }
  }
  addressesOf(node: NodeId): readonly string[] {
    return [...new Set([...(this.#learned.get(node) ?? []), ...(this.#members.get(node) ?? [])])]
  }
  /** Hosts and ports to knock at: where the open connection leads, else wherever it should be. */
  doorsOf(node: NodeId): readonly { readonly host: string; readonly port: number }[] {
    const link = this.links.best(node)
    const used = link?.connection.direction === 'outbound' ? [link.connection.remoteAddr.toString()] : []
    const addresses = used.length > 0 ? used : this.addressesOf(node)
    return addresses.map(hostAndPort).filter((door) => door !== undefined)
  }
  datagramDoorsOf(node: NodeId): readonly Door[] {
    const connection = this.links.best(node)?.connection
    const remote = connection === undefined ? undefined : hostAndPort(connection.remoteAddr.toString())
    const used =
      connection === undefined || remote === undefined
        ? undefined
        : { ...remote, direction: connection.direction }
    return doorsFor(
      used,
      this.addressesOf(node)
        .map(hostAndPort)
        .filter((door) => door !== undefined),
    )
  }
  /** The key behind its id, which the connection has proved or its addresses name. */
  publicKeyOf(node: NodeId): Uint8Array | undefined {
    const connected = this.links.best(node)?.connection.remotePeer
    const peers = connected === undefined ? this.addressesOf(node).map(peerIn) : [connected]
    const found = peers.find((peer) => peer !== undefined && nodeOf(peer) === node)
    return found === undefined ? undefined : rawKeyOf(found)
  }
  kick(node: NodeId): void {
    this.#dialer.kick(node)
  }

  /** An accepted link, dialled for if there is none. */
  async connect(node: NodeId, signal: AbortSignal): Promise<Link> {
    signal.throwIfAborted()
    if (!this.#options.gate.member(node)) {
      throw new PeerRefusedError(this.#options.self, `node ${node} is not a member of this cluster`)
    }
    return this.links.best(node) ?? within(this.#connectShared(node), signal, () => undefined)
  }
  #connectShared(node: NodeId): Promise<Link> {
    const under = this.#connecting.get(node)
    if (under !== undefined) return under
    const dialling = this.#dial(node).finally(() => this.#connecting.delete(node))
    this.#connecting.set(node, dialling)
    return dialling
  }
  async #dial(node: NodeId): Promise<Link> {
    const best = this.links.best(node)
    if (best !== undefined) return best
    const signal = AbortSignal.timeout(this.#options.settings.meshDialTimeoutMs)
    const addresses = this.addressesOf(node)
    const connection = await this.#reach(node, addresses, signal)
    const link = this.linkOf(connection)
    try {
      if (link === undefined) throw new Error('it closed the connection')
      await within(link.greeted, signal, () => undefined)
      return link
    } catch (error) {
      if (error instanceof PeerRefusedError) throw error
      throw new PeerUnreachableError(node, addresses, toError(error, 'no answer').message, error)
    }
  }
  async #reach(node: NodeId, addresses: readonly string[], signal: AbortSignal): Promise<Connection> {
    const targets = dialable(node, addresses)
    if (this.#node === undefined || this.#stopping)
      throw new PeerUnreachableError(node, [], 'this mesh is stopped')
    if (targets.length === 0) throw new PeerUnreachableError(node, [], 'nothing to dial')
    let connection: Connection
    try {
      const dialling = this.#node.dial([...targets], { signal })
      connection = await within(dialling, signal, () => undefined)
    } catch (error) {
      throw new PeerUnreachableError(node, addresses, reasonOf(error), error)
    }
    if (nodeOf(connection.remotePeer) === node) return connection
    connection.abort(new Error('not the node that was dialled'))
    throw new PeerUnreachableError(node, addresses, 'another node answers there')
  }

  /** For joining: a connection that need not be accepted. `use` has it; afterwards it is closed again. */
  async asStranger<T>(
    node: NodeId,
    addresses: readonly string[],
    signal: AbortSignal,
    use: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    this.#joining.add(node)
    let connection: Connection | undefined
    try {
      connection = this.links.best(node)?.connection ?? (await this.#reach(node, addresses, signal))
      return await use(connection)
    } finally {
      this.#joining.delete(node)
      const link = connection === undefined ? undefined : this.linkOf(connection)
      if (link !== undefined && link.state.kind !== 'accepted') await link.closeGently(new Error('joined'))
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#dialer.stop()
    const why = new Error('this node stops')
    const links = [...this.links.all()]
    const accepted = links.filter((link) => link.state.kind === 'accepted')
    for (const link of links) if (!accepted.includes(link)) link.close(why)
    await Promise.all(accepted.map((link) => link.closeGently(why)))
    for (const timer of this.#deadlines.values()) clearTimeout(timer)
  }
}

function reasonOf(error: unknown): string {
  const one = error instanceof AggregateError ? (error.errors as readonly unknown[])[0] : error
  return toError(one, 'nothing answered').message
}
