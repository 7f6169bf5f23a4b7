import { Agent } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { inspect } from 'node:util'
import Docker from 'dockerode'
import { defaults } from '../../defaults.ts'
import { EngineUnavailableError } from '../../ports/engine.errors.ts'
import { compareVersions, newestApiVersion } from './api-version.ts'
import { classify, type CallPurpose } from './failure.ts'
import { unaborted, waitFor } from '../../shared-call.ts'

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
      readonly isStream: true
      readonly abortSignal: AbortSignal
    },
    callback: (error: unknown, response: unknown) => void,
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
    // docker-modem prints each call's options for a debug log whether or not there is one, this agent with all its open
    // sockets among them: a third of the CPU time of a deploy.
    Object.defineProperty(agent, inspect.custom, { value: () => 'Agent' })
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
    return (await this.#ask(call, `/v${version}`)) as T
  }

  /** The answer's bytes as they come, until the signal. `timeoutMs` bounds the wait for the answer's head only. */
  async stream(call: CallOptions): Promise<IncomingMessage> {
    const version = await this.apiVersion(call.signal)
    const response = await this.#bounded(call, (signal) => this.#open(call, `/v${version}`, signal))
    const end = (): void => {
      response.destroy()
    }
    if (call.signal.aborted) end()
    call.signal.addEventListener('abort', end, { once: true })
    response.once('close', () => call.signal.removeEventListener('abort', end))
    return response
  }

  async #askVersion(): Promise<string> {
    const timeoutMs = defaults.engineFactsTimeoutMs
    const call = { method: 'GET', path: '/version', signal: unaborted, timeoutMs } as const
    const answer = (await this.#ask(call, '')) as { readonly ApiVersion: string }
    return compareVersions(answer.ApiVersion, newestApiVersion) < 0 ? answer.ApiVersion : newestApiVersion
  }

  #ask(call: CallOptions, prefix: string): Promise<unknown> {
    return this.#bounded(call, async (signal) => {
      // Read here and not by docker-modem, which waits for ever for an answer that was cut short.
      const response = await this.#open(call, prefix, signal)
      try {
        const text = Buffer.concat(await response.toArray()).toString('utf8')
        return text === '' ? undefined : (JSON.parse(text) as unknown)
      } catch (error) {
        throw classify(error, call.purpose)
      }
    })
  }

  #open(call: CallOptions, prefix: string, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    this.#modem.dial(
      {
        path: prefix + call.path + queryString(call.query),
        method: call.method,
        statusCodes: goodStatus,
        isStream: true,
        abortSignal: signal,
        ...(call.body !== undefined && { options: { _query: {}, _body: call.body } }),
      },
      (error, response) =>
        error ? reject(classify(error, call.purpose)) : resolve(response as IncomingMessage),
    )
    return promise
  }

  /** Ends `work`, and the wait for it, at the call's signal or its time bound. */
  async #bounded<T>(call: CallOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    call.signal.throwIfAborted()
    const timeoutMs = call.timeoutMs ?? defaults.engineCallTimeoutMs
    const stop = new AbortController()
    const { promise: gaveUp, reject } = Promise.withResolvers<never>()
    const giveUp = (reason: unknown): void => {
      reject(reason)
      stop.abort()
    }
    const onAbort = (): void => giveUp(call.signal.reason)
    call.signal.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(
      () =>
        giveUp(new EngineUnavailableError(`${call.method} ${call.path}: no answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    try {
      return await Promise.race([gaveUp, work(stop.signal)])
    } catch (error) {
      if (error instanceof EngineUnavailableError) this.forgetVersion()
      throw error
    } finally {
      clearTimeout(timer)
      call.signal.removeEventListener('abort', onAbort)
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
