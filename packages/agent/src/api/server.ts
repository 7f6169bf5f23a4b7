import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import type { Cluster } from '../cluster.ts'
import { progressOf, updateStateOf } from '../core/reconcile/progress.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Api } from './call.ts'
import { createEngineClient } from './engine/engine-client.ts'
import { enginePath } from './engine/proxy.ts'
import { tunnelToEngine } from './engine/tunnel.ts'
import { createEventLog } from './event-log.ts'
import { createRouter, type Router, splitTarget } from './router.ts'
import { createTokenKeeper } from './token-keeper.ts'

export interface ApiServer {
  /** Resolves when it listens; stops by itself when the signal is aborted. */
  listen(socketPath: string, signal?: AbortSignal): Promise<void>
  close(): Promise<void>
  /** One request, for another listener (TLS). Never rejects. */
  handle(req: IncomingMessage, res: ServerResponse): Promise<void>
}

export interface ApiServerOptions {
  readonly cluster: Cluster
  /** The local engine's unix socket. */
  readonly enginePath: () => string
  readonly logger: Logger
  readonly settings: Defaults
  readonly agentVersion: string
  readonly clock: Pick<Clock, 'wallMs' | 'after'>
}

/**
 * The agent's API: the Swarm part of the Docker Engine API and `/moot/v1` answered by Moot, everything else passed
 * to the local engine.
 *
 * @example
 *   const api = createApiServer({ cluster, enginePath: () => '/var/run/docker.sock', logger, settings: defaults, agentVersion, clock })
 *   await api.listen('/run/moot/moot.sock')
 */
export function createApiServer(options: ApiServerOptions): ApiServer {
  const { logger } = options
  const api = createApi(options)
  const closing = new AbortController()
  const router = createRouter(api, closing.signal)
  const tunnels = new Set<Duplex>()
  const server = createHttpServer(api, router, tunnels)

  async function close(): Promise<void> {
    if (closing.signal.aborted) return
    closing.abort(new Error('the agent stops'))
    api.events.stop()
    for (const tunnel of tunnels) tunnel.destroy()
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  return {
    handle: (req, res) => router.handle(req, res),
    close,
    async listen(socketPath, signal) {
      server.listen(socketPath)
      await once(server, 'listening')
      server.on('error', (error) => logger.error({ err: error }, 'the API socket failed'))
      // Whoever may use it is root on every node of the cluster: as Docker's own socket, for its owner and group.
      chmodSync(socketPath, 0o660)
      // The engine's version is known before the first client asks for a path with one.
      await api.engine.ping(closing.signal)
      const stop = (): void => {
        close().catch((error: unknown) => logger.error({ err: error }, 'closing the API failed'))
      }
      if (signal?.aborted === true) stop()
      else signal?.addEventListener('abort', stop, { once: true })
    },
  }
}

function createApi({ cluster, enginePath, logger, settings, agentVersion, clock }: ApiServerOptions): Api {
  return {
    cluster,
    engine: createEngineClient({
      socketPath: enginePath,
      answerTimeoutMs: settings.engineAnswerTimeoutMs,
      maxAnswerBytes: settings.apiMaxEngineAnswerBytes,
    }),
    events: createEventLog(cluster, {
      backlog: settings.apiEventBacklog,
      clock,
      batchMs: settings.recordBatchMs,
      updateState: (id) => {
        const service = cluster.view().services.get(id)
        if (service === undefined) return undefined
        return updateStateOf(service, progressOf(cluster.view(), cluster.liveness(), service))
      },
    }),
    joinTokens: createTokenKeeper(cluster, settings.joinTokenTtlMs, () => clock.wallMs()),
    logger,
    settings,
    agentVersion,
    clock,
  }
}

function createHttpServer(api: Api, router: Router, tunnels: Set<Duplex>): Server {
  const { logger, settings } = api
  const server = createServer(
    {
      // A build may upload for longer than any limit on the whole request; bodies of ours have their own.
      requestTimeout: 0,
      headersTimeout: settings.apiBodyTimeoutMs,
      // Everything that is Moot's own ignores an Upgrade (curl --http2 asks for one on any request).
      shouldUpgradeCallback: (req) => hijackedPaths.test(splitTarget(req.url ?? '/').path),
    },
    (req, res) => {
      void router.handle(req, res)
    },
  )
  server.maxConnections = settings.apiMaxConnections
  server.on('upgrade', (req: IncomingMessage, client: Duplex, head: Buffer) => {
    const log = logger.child({ request: randomUUID().slice(0, 8) })
    tunnels.add(client)
    client.once('close', () => tunnels.delete(client))
    const path = enginePath(api, splitTarget(req.url ?? '/'))
    const { socketPath } = api.engine
    const lingerMs = settings.apiLingerMs
    tunnelToEngine({ req, client, head, enginePath: path, socketPath, lingerMs, log }).catch(
      (error: unknown) => {
        log.error({ err: error }, 'a hijacked request failed')
        client.destroy()
      },
    )
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    logger.debug({ err: error }, 'a client sent no HTTP')
    if (!socket.writable || error.code === 'ECONNRESET') socket.destroy()
    else socket.end(malformedAnswer)
  })
  return server
}

const malformedBody = '{"message":"malformed HTTP request"}'
const malformedAnswer = `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${malformedBody.length}\r\nConnection: close\r\n\r\n${malformedBody}`

/** Where Docker's clients take over the connection. */
const hijackedPaths = /^\/(containers\/[^/]+\/attach(\/ws)?|exec\/[^/]+\/start|session|grpc)$/
