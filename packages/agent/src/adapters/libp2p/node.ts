import type { ConnectionGater, PrivateKey } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import type { Libp2p, ServiceFactoryMap } from 'libp2p'
import type { Defaults } from '../../defaults.ts'

/** A yamux window; it must stay below what libp2p buffers for a paused reader (4 MiB), or pausing would abort the stream. */
const streamWindowBytes = 2 * 1024 * 1024

interface NodeOptions<Services extends Record<string, unknown>> {
  readonly privateKey: PrivateKey
  /** Multiaddr to listen on. */
  readonly listen: string
  readonly gater: ConnectionGater
  readonly services: ServiceFactoryMap<Services>
  readonly settings: Defaults
}

/** TCP, noise, yamux; no discovery, no routing, no relays: who is there is said by the specs. */
export function createNode<Services extends Record<string, unknown>>(
  options: NodeOptions<Services>,
): Promise<Libp2p<Services>> {
  const { settings } = options
  return createLibp2p<Services>({
    start: false,
    privateKey: options.privateKey,
    addresses: { listen: [options.listen] },
    transports: [tcp({ maxConnections: settings.meshConnectionsMax })],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        // The mesh has its own pulse, with consequences.
        enableKeepAlive: false,
        streamOptions: { maxStreamWindowSize: streamWindowBytes },
      }),
    ],
    connectionGater: options.gater,
    connectionMonitor: { enabled: false },
    connectionManager: {
      maxConnections: settings.meshConnectionsMax,
      maxParallelDials: 4 * settings.meshDialConcurrency,
      dialTimeout: settings.meshDialTimeoutMs,
      addressDialTimeout: settings.meshDialTimeoutMs / 2,
      connectionCloseTimeout: settings.meshStopTimeoutMs,
      inboundUpgradeTimeout: settings.meshUpgradeTimeoutMs,
      inboundStreamProtocolNegotiationTimeout: settings.meshDialTimeoutMs,
      outboundStreamProtocolNegotiationTimeout: settings.meshDialTimeoutMs,
      // All nodes of a test, or of a site behind NAT, come from one address.
      inboundConnectionThreshold: settings.meshPendingMax,
      maxIncomingPendingConnections: settings.meshPendingMax,
      reconnectRetries: 0,
    },
    services: options.services,
  })
}
