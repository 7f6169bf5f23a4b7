import { createHash } from 'node:crypto'
import { gossipsub, StrictNoSign, TopicValidatorResult } from '@libp2p/gossipsub'
import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub'
import type {
  ComponentLogger,
  Connection,
  Libp2pEvents,
  PeerId,
  PeerStore,
  TypedEventTarget,
} from '@libp2p/interface'
import { serviceCapabilities } from '@libp2p/interface'
import type { NodeId } from '@moot/crdt-state'
import type { Topic } from '../../ports/mesh.ts'
import { nodeOf } from './identity.ts'

type Registrar = GossipSubComponents['registrar']

/** The only module that knows gossipsub: it has changed its package and its owner before. */
const protocol = '/meshsub/1.2.0'
/** In front of each payload, so that saying the same thing twice is two messages (unsigned ones are told apart by content). */
const nonceBytes = 8
/** Room for gossipsub's own envelope. */
const envelopeBytes = 64 * 1024
const topics: readonly Topic[] = ['specs', 'records']

interface GossipOptions {
  readonly clusterTag: string
  readonly maxMessageBytes: number
  /** An accepted member: asked for each stream and for each message's sender. */
  allowed(node: NodeId): boolean
  heard(topic: Topic, from: NodeId, payload: Uint8Array): void
}

export interface Gossip {
  publish(topic: Topic, payload: Uint8Array): Promise<void>
  /** This connection was accepted: gossip may use it. */
  join(connection: Connection): Promise<void>
}

/** What libp2p hands to a service. */
interface Components {
  readonly events: TypedEventTarget<Libp2pEvents>
  readonly peerStore: PeerStore
  readonly registrar: Registrar
  readonly logger: ComponentLogger
}

/**
 * Stands where libp2p's identify would: gossipsub learns of a peer when the mesh accepted it, instead of asking
 * every stranger which protocols it speaks.
 */
function introductions(components: Components): { introduce(connection: Connection): Promise<void> } {
  return {
    [serviceCapabilities]: ['@libp2p/identify'],
    async introduce(connection: Connection) {
      const peerId = connection.remotePeer
      await components.peerStore.merge(peerId, { protocols: [protocol] })
      for (const topology of components.registrar.getTopologies(protocol)) {
        await topology.onConnect?.(peerId, withLiveStreams(connection))
      }
    },
  } as { introduce(connection: Connection): Promise<void> }
}

/**
 * Gossipsub forgets a stream when that closes. One that has closed while it was being opened it would keep for ever, and open no
 * other one to this peer, on whatever connection it comes back.
 */
export function withLiveStreams(connection: Connection): Connection {
  const newStream: Connection['newStream'] = async (protocols, options) => {
    const stream = await connection.newStream(protocols, options)
    if (stream.status !== 'open') throw new Error('it closed while it was being opened')
    return stream
  }
  return bound(connection, { newStream })
}

/** As it is, but for these. (Its own methods need the object itself.) */
function bound<T extends object>(object: T, but: Partial<T>): T {
  return new Proxy(object, {
    get(target, key) {
      if (key in but) return but[key as keyof T]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function topicName(clusterTag: string, topic: Topic): string {
  return `moot/${clusterTag}/${topic}`
}

/**
 * Only members may open gossip streams. (Not as a stream middleware: libp2p 3.3.11 appends each stream's handler to the
 * middleware list that was registered, so that with one of our own every handler runs once more for each stream.)
 */
function guarded(
  { allowed }: Pick<GossipOptions, 'allowed'>,
  create: (components: GossipSubComponents) => GossipSub,
): (components: GossipSubComponents) => GossipSub {
  return (components) => {
    const { registrar, peerId, privateKey, peerStore, connectionManager, logger } = components
    const handle: Registrar['handle'] = (name, handler, opts) => {
      const forMembers: typeof handler = (stream, connection) => {
        const node = nodeOf(connection.remotePeer)
        if (node !== undefined && allowed(node)) return handler(stream, withLiveStreams(connection))
        stream.abort(new Error('gossip is for members'))
      }
      return registrar.handle(name, forMembers, opts)
    }
    const doorkeeper = bound(registrar, { handle })
    return create({ registrar: doorkeeper, peerId, privateKey, peerStore, connectionManager, logger })
  }
}

/** Services for `createLibp2p`, and what to do with them once the node exists. */
export function gossipServices(options: GossipOptions) {
  const names = topics.map((topic) => topicName(options.clusterTag, topic))
  return {
    introductions,
    pubsub: guarded(
      options,
      gossipsub({
        // Records and tombstones sign themselves; a signature for each hop costs 2 ms of CPU instead of 1.
        globalSignaturePolicy: StrictNoSign,
        msgIdFn: (message) =>
          createHash('sha256').update(message.topic).update(message.data).digest().subarray(0, 16),
        allowPublishToZeroTopicPeers: true,
        ignoreDuplicatePublishError: true,
        allowedTopics: names,
        emitSelf: false,
        doPX: false,
        floodPublish: true,
        fallbackToFloodsub: false,
        maxInboundStreams: 4,
        maxOutboundStreams: 4,
        maxInboundDataLength: options.maxMessageBytes + envelopeBytes,
        maxOutboundBufferSize: 4 * options.maxMessageBytes,
        // More than ten peers behind one address (tests, NAT) would get negative scores, and their messages lost.
        scoreParams: { IPColocationFactorWeight: 0 },
      }),
    ),
  }
}

interface GossipNode {
  readonly services: {
    readonly introductions: { introduce(connection: Connection): Promise<void> }
    readonly pubsub: GossipSub
  }
}

export function startGossip(node: GossipNode, options: GossipOptions): Gossip {
  const { pubsub, introductions: doorkeeper } = node.services
  let counter = 0n
  const session = BigInt(
    `0x${createHash('sha256').update(`${Math.random()} ${Date.now()}`).digest('hex').slice(0, 8)}`,
  )
  const fits = (data: Uint8Array): boolean =>
    data.length >= nonceBytes && data.length <= options.maxMessageBytes + nonceBytes
  for (const topic of topics) {
    const name = topicName(options.clusterTag, topic)
    pubsub.topicValidators.set(name, (peer: PeerId, message) => {
      const from = nodeOf(peer)
      if (from === undefined || !options.allowed(from) || !fits(message.data))
        return TopicValidatorResult.Reject
      return TopicValidatorResult.Accept
    })
    pubsub.subscribe(name)
  }
  pubsub.addEventListener('gossipsub:message', ({ detail }) => {
    const from = nodeOf(detail.propagationSource)
    const topic = topics.find((one) => topicName(options.clusterTag, one) === detail.msg.topic)
    if (from !== undefined && topic !== undefined)
      options.heard(topic, from, detail.msg.data.subarray(nonceBytes))
  })
  return {
    async publish(topic, payload) {
      const data = Buffer.alloc(nonceBytes + payload.length)
      data.writeBigUInt64BE((session << 32n) | (counter++ & 0xffff_ffffn))
      data.set(payload, nonceBytes)
      await pubsub.publish(topicName(options.clusterTag, topic), data)
    },
    join: (connection) => doorkeeper.introduce(connection),
  }
}
