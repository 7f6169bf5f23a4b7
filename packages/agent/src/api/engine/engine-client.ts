import { type IncomingMessage, request } from 'node:http'
import { ApiError } from '../errors.ts'

/** Docker's API versions that Moot's own part speaks. */
export const newestApiVersion = '1.50'
export const oldestApiVersion = '1.24'
/** Told to clients while the engine is down and has never answered: the oldest that is still in use. */
const assumedApiVersion = '1.41'

/** Small questions to the local engine. Every call opens its own connection: keep-alive made it slower. */
export interface EngineClient {
  readonly socketPath: string
  /** Status and parsed answer of a GET. Rejects with a 503 `ApiError` when the engine does not answer. */
  json(
    path: string,
    signal: AbortSignal,
    timeoutMs?: number,
  ): Promise<{ readonly status: number; readonly body: unknown }>
  /** The open answer to a GET, for streams. */
  open(path: string, signal: AbortSignal): Promise<IncomingMessage>
  /** The engine's `_ping` headers, or what it said last. */
  ping(signal: AbortSignal): Promise<PingFacts>
  /** The newest version that both the engine and Moot speak, as last heard. */
  apiVersion(): string
  /** The newest version that the engine speaks, as last heard. */
  engineApiVersion(): string
}

export interface PingFacts {
  readonly up: boolean
  readonly builderVersion: string
  readonly experimental: string
  readonly osType: string
}

export function engineUnavailable(cause: unknown): ApiError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new ApiError(
    503,
    `this node's Docker engine does not answer (${why}): what Moot itself answers (services, tasks, nodes, stacks) works on`,
  )
}

export function createEngineClient(options: {
  readonly socketPath: () => string
  readonly answerTimeoutMs: number
  readonly maxAnswerBytes: number
}): EngineClient {
  let facts: PingFacts = { up: false, builderVersion: '', experimental: 'false', osType: 'linux' }
  let version = assumedApiVersion

  function send(question: { readonly path: string; readonly signal: AbortSignal }): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      // `keep-alive`, so that the engine leaves the closing to us (see proxy.ts).
      const headers = { Host: 'docker', Connection: 'keep-alive' }
      const socketPath = options.socketPath()
      const sent = request({ agent: false, socketPath, headers, ...question }, resolve)
      sent.on('error', (error) => reject(engineUnavailable(error)))
      sent.end()
    })
  }

  async function json(
    path: string,
    signal: AbortSignal,
    timeoutMs = options.answerTimeoutMs,
  ): Promise<{ status: number; body: unknown }> {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const answer = await send({ path, signal: bounded })
    const text = await readText(answer, options.maxAnswerBytes)
    return { status: answer.statusCode ?? 500, body: parseOrText(text) }
  }

  return {
    get socketPath() {
      return options.socketPath()
    },
    json,
    open: (path, signal) => send({ path, signal }),
    async ping(signal) {
      try {
        const answer = await send({
          path: '/_ping',
          // A client asks this before each command: a hung engine must not hang Moot's own commands.
          signal: AbortSignal.any([signal, AbortSignal.timeout(Math.min(options.answerTimeoutMs, 2_000))]),
        })
        answer.resume()
        const header = (name: string): string => String(answer.headers[name] ?? '')
        if (/^\d+\.\d+$/.test(header('api-version'))) version = header('api-version')
        facts = {
          up: answer.statusCode === 200,
          builderVersion: header('builder-version'),
          experimental: header('docker-experimental') || 'false',
          osType: header('ostype') || 'linux',
        }
      } catch {
        facts = { ...facts, up: false }
      }
      return facts
    },
    apiVersion: () => olderVersion(version, newestApiVersion),
    engineApiVersion: () => version,
  }
}

/** Negative when `left` is the older. */
export function compareVersions(left: string, right: string): number {
  const [leftMajor = 0, leftMinor = 0] = left.split('.').map(Number)
  const [rightMajor = 0, rightMinor = 0] = right.split('.').map(Number)
  return leftMajor === rightMajor ? leftMinor - rightMinor : leftMajor - rightMajor
}

export function olderVersion(left: string, right: string): string {
  return compareVersions(left, right) <= 0 ? left : right
}

async function readText(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBytes) throw new Error(`its answer is larger than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    throw engineUnavailable(error)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
