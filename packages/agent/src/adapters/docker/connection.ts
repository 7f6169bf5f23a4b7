import { Agent } from 'node:http'
import type { IncomingMessage } from 'node:http'
import Docker from 'dockerode'
import { defaults } from '../../defaults.ts'
import { EngineUnavailableError } from '../../ports/engine.errors.ts'
import { classify, type CallPurpose } from './failure.ts'
import { unaborted, waitFor } from './shared-call.ts'

/** Newest Engine API that this code was written against (docs: Engine API v1.50); a newer engine is spoken to in this one. */
const newestApiVersion = '1.50'

export interface CallOptions {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Without the version, e.g. `/containers/json`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | URLSearchParams
  readonly body?: object
  readonly signal: AbortSignal
  readonly timeoutMs?: number
  /** What the call is for: decides whose fault an error is. */
  readonly purpose?: CallPurpose
}

/** docker-modem's dial, as far as it is used here (its types say `any`). */
interface Modem {
  dial(
    options: {
      readonly path: string
      readonly method: string
      readonly statusCodes: Readonly<Record<number, true>>
      readonly options?: object
      readonly isStream?: boolean
      readonly abortSignal: AbortSignal
      readonly allowEmpty?: boolean
    },
    callback: (error: unknown, answer: unknown) => void,
  ): void
}

const goodStatus = { 200: true, 201: true, 202: true, 204: true, 304: true } as const

/** HTTP to the local engine: each call bounded in time, cancelled by its signal, and failing with an error of the port. */
export class DockerConnection {
  readonly #modem: Modem
  #apiVersion: Promise<string> | undefined

  constructor(socketPath: string) {
    // A keep-alive agent was measured slower, and races with an engine that closes idle connections ("socket hang up").
    const agent = new Agent({ keepAlive: false })
    const options: Docker.DockerOptions & { readonly agent: Agent } = { socketPath, agent }
    const { modem }: { readonly modem: Modem } = new Docker(options)
    this.#modem = modem
  }

  /** The API version spoken with this engine: its newest that this code knows. Asked once per connection. */
  apiVersion(signal: AbortSignal): Promise<string> {
    this.#apiVersion ??= this.#askVersion().catch((error: unknown) => {
      this.#apiVersion = undefined
      throw error
    })
    return waitFor(this.#apiVersion, signal)
  }

  /** The engine went away: what answers next may be another version. */
  forgetVersion(): void {
    this.#apiVersion = undefined
  }

  /** One whole answer, parsed. Ours to trust in shape: it comes from the engine that runs this node's containers. */
  async request<T>(call: CallOptions): Promise<T> {
    const version = await this.apiVersion(call.signal)
    return (await this.#dial(call, `/v${version}`, false)) as T
  }

  /** The answer's bytes as they come. `timeoutMs` bounds the wait for the answer's head only. */
  async stream(call: CallOptions): Promise<IncomingMessage> {
    const version = await this.apiVersion(call.signal)
    return (await this.#dial(call, `/v${version}`, true)) as IncomingMessage
  }

  async #askVersion(): Promise<string> {
    const timeoutMs = defaults.engineFactsTimeoutMs
    const call = { method: 'GET', path: '/version', signal: unaborted, timeoutMs } as const
    const answer = (await this.#dial(call, '', false)) as { readonly ApiVersion: string }
    return compareVersions(answer.ApiVersion, newestApiVersion) < 0 ? answer.ApiVersion : newestApiVersion
  }

  async #dial(call: CallOptions, prefix: string, isStream: boolean): Promise<unknown> {
    call.signal.throwIfAborted()
    const timeoutMs = call.timeoutMs ?? defaults.engineCallTimeoutMs
    const stop = new AbortController()
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const timer = setTimeout(() => {
      reject(new EngineUnavailableError(`${call.method} ${call.path}: no answer within ${timeoutMs} ms`))
      stop.abort()
    }, timeoutMs)
    const onAbort = (): void => {
      reject(call.signal.reason)
      stop.abort()
    }
    call.signal.addEventListener('abort', onAbort, { once: true })
    this.#modem.dial(
      {
        path: prefix + call.path + queryString(call.query),
        method: call.method,
        statusCodes: goodStatus,
        isStream,
        abortSignal: stop.signal,
        ...(call.body !== undefined && { options: { _query: {}, _body: call.body } }),
      },
      (error, answer) => (error ? reject(classify(error, call.purpose)) : resolve(answer)),
    )
    try {
      const answer = await promise
      if (isStream) {
        // From here on the signal ends the stream; the listener goes with it.
        const response = answer as IncomingMessage
        response.once('close', () => call.signal.removeEventListener('abort', onAbort))
      }
      return answer
    } catch (error) {
      if (error instanceof EngineUnavailableError) this.forgetVersion()
      throw error
    } finally {
      clearTimeout(timer)
      if (!isStream) call.signal.removeEventListener('abort', onAbort)
    }
  }
}

function queryString(query: CallOptions['query']): string {
  if (query === undefined) return ''
  const parameters = query instanceof URLSearchParams ? query : new URLSearchParams()
  if (!(query instanceof URLSearchParams)) {
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) parameters.set(name, String(value))
    }
  }
  // After a `?` docker-modem appends `_query`, or drops the last character where there is no body: the `&` is for that.
  const text = parameters.toString()
  return text === '' ? '' : `?${text}&`
}

/** Docker's API versions are `major.minor`: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number)
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number)
  return aMajor - bMajor || aMinor - bMinor
}
