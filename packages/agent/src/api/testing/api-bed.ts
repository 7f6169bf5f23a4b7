import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { realClock } from '../../adapters/clock.ts'
import type { Cluster } from '../../cluster.ts'
import { type Defaults, defaults } from '../../defaults.ts'
import { type ApiServer, createApiServer } from '../server.ts'
import { type FakeEngine, startFakeEngine } from './fake-engine.ts'
import { memoryCluster, type MemoryCluster } from './memory-cluster.ts'

/** An API server over a cluster in memory and a pretended engine, on sockets in a directory of its own. */
export interface ApiBed {
  readonly cluster: MemoryCluster
  readonly engine: FakeEngine
  readonly server: ApiServer
  readonly socketPath: string
  /** One request with a JSON body; the answer's body parsed where it is JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiAnswer>
  stop(): Promise<void>
}

export interface ApiAnswer {
  readonly status: number
  readonly body: unknown
  readonly text: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export async function apiBed(
  options: { readonly nodes?: number; readonly inactive?: true; readonly settings?: Partial<Defaults> } = {},
): Promise<ApiBed> {
  const directory = mkdtempSync(join(tmpdir(), 'moot-api-'))
  const engine = await startFakeEngine(join(directory, 'engine.sock'))
  const cluster = memoryCluster(options)
  const server = createApiServer({
    cluster: cluster satisfies Cluster,
    enginePath: () => engine.socketPath,
    logger: pino({ level: process.env['MOOT_TEST_LOG'] ?? 'silent' }),
    settings: { ...defaults, ...options.settings },
    agentVersion: '0.1.0',
    clock: realClock(),
  })
  const socketPath = join(directory, 'moot.sock')
  await server.listen(socketPath)
  return {
    cluster,
    engine,
    server,
    socketPath,
    call: (method, path, body, headers) => callOver(socketPath, method, path, body, headers),
    async stop() {
      await server.close()
      await engine.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function callOver(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<ApiAnswer> {
  const bytes = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath,
        method,
        path,
        agent: false,
        headers: {
          ...(bytes === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...(bytes === undefined || 'Transfer-Encoding' in headers
            ? {}
            : { 'Content-Length': Buffer.byteLength(bytes) }),
          ...headers,
        },
      },
      (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.on('error', reject)
        res.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          resolve({ status: res.statusCode ?? 0, text, body: parsed(text), headers: res.headers })
        })
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
