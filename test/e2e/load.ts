import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as SecureAgent, request as requestSecurely } from 'node:https'
import { createHistogram } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Constant load on HTTP servers in which nothing is sent twice and every failure is kept with its cause and its time, so
 * that "no request was lost" and "for less than a second" can be told from its report. As a program (in a network
 * namespace, say) it takes its options as JSON, prints `begun`, and the report when it is over or told to stop by SIGTERM:
 *
 *     node test/e2e/load.ts '{"targets":["http://10.99.0.1:8000/api"],"connections":50,"keepAlive":true,"forMs":60000}'
 */
export interface LoadOptions {
  /** Connections are shared out among these in turn; each stays with its own. */
  readonly targets: readonly string[]
  readonly connections: number
  /** Targets are https: what name is asked for at each of their addresses, and whose word for it counts (PEM). */
  readonly secure?: { readonly name: string; readonly ca: string } | undefined
  /** A connection carries one request after the other until the server ends it; else each request has its own. */
  readonly keepAlive: boolean
  /** Of all connections together, each at its fixed times: latency then counts from when a request was due. Without it: whenever the answer before is there. */
  readonly ratePerSecond?: number | undefined
  readonly forMs: number
  readonly requests?: number | undefined
  /** Stopped earlier than this it goes on until so many are made, or `forMs` is over. */
  readonly atLeastRequests?: number | undefined
  /** From beginning to connect to the last byte. */
  readonly timeoutMs?: number | undefined
  /** The header by which an answer says who made it. */
  readonly replicaHeader?: string | undefined
}

export const loadDefaults = { timeoutMs: 5_000, replicaHeader: 'x-replica' } as const

/** A server that refuses would be asked without end otherwise. */
const afterFailureMs = 10
const failuresKeptMax = 10_000

export type Cause =
  | 'refused'
  | 'unreachable'
  | 'no connection in time'
  | 'no answer in time'
  | 'stopped in the middle'
  | 'reset'
  | 'closed without an answer'
  | 'cut off in the middle'
  | 'not HTTP'
  | `status ${number}`
  | `other: ${string}`

/** Times are of this machine's clock, in milliseconds since 1970. */
export interface Failure {
  readonly cause: Cause
  readonly target: string
  readonly begunAtMs: number
  readonly failedAtMs: number
  /** The connection had carried a request before. */
  readonly keptConnection: boolean
  /** Who answered on this connection before, or with this status. */
  readonly replica?: string
}

export interface Report {
  /** Answered and failed ones. */
  readonly requests: number
  readonly failed: number
  /** Those that were tried in vain too. */
  readonly connectionsOpened: number
  readonly begunAtMs: number
  readonly lastedMs: number
  readonly requestsPerSecond: number
  /** Of those that were answered. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly failedBy: Readonly<Record<string, number>>
  /** The first ten thousand. */
  readonly failures: readonly Failure[]
  /** Requests answered by each replica, and by each target. */
  readonly answeredBy: Readonly<Record<string, number>>
  readonly answeredAt: Readonly<Record<string, number>>
}

/**
 * From the beginning of the first request that failed to the beginning of the last: when they end is the client's
 * patience. Exact to the time between two requests.
 */
export function outageOf(
  failures: readonly Failure[],
): { readonly fromMs: number; readonly lastedMs: number } | undefined {
  if (failures.length === 0) return undefined
  let fromMs = Infinity
  let untilMs = -Infinity
  for (const { begunAtMs } of failures) {
    fromMs = Math.min(fromMs, begunAtMs)
    untilMs = Math.max(untilMs, begunAtMs)
  }
  return { fromMs, lastedMs: untilMs - fromMs }
}

function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

/** Runs until a bound is reached or `stop` says so; what is under way then is waited for, and counts. */
export async function load(options: LoadOptions, stop?: AbortSignal): Promise<Report> {
  const run = new Run(options, stop)
  await Promise.all(Array.from({ length: options.connections }, (_, index) => run.lane(index)))
  return run.report()
}

class Run {
  readonly #options: LoadOptions
  readonly #stop: AbortSignal | undefined
  readonly #begunAtMs = nowMs()
  readonly #latencyUs = createHistogram()
  readonly #failures: Failure[] = []
  readonly #failedBy = new Map<string, number>()
  readonly #answeredBy = new Map<string, number>()
  readonly #answeredAt = new Map<string, number>()
  #begun = 0
  #answered = 0
  #failed = 0
  #opened = 0

  constructor(options: LoadOptions, stop: AbortSignal | undefined) {
    if (options.targets.length === 0 || options.connections < options.targets.length) {
      throw new Error('Load needs a target, and a connection for each.')
    }
    this.#options = options
    this.#stop = stop
  }

  /** One connection, or one after the other. */
  async lane(index: number): Promise<void> {
    const { targets, connections, ratePerSecond } = this.#options
    const target = targets[index % targets.length] ?? ''
    const agent = this.#agent()
    let replica: string | undefined
    try {
      for (let turn = 0; ; turn += 1) {
        const position = turn * connections + index
        const dueAtMs =
          ratePerSecond === undefined ? nowMs() : this.#begunAtMs + (position * 1_000) / ratePerSecond
        await this.#untilDue(dueAtMs)
        if (this.#isOver()) return
        this.#begun += 1
        const outcome = await this.#ask(target, agent)
        if (!outcome.keptConnection) {
          this.#opened += 1
          replica = undefined
        }
        replica = outcome.replica ?? replica
        if (outcome.cause === undefined) {
          this.#answeredIn(nowMs() - dueAtMs, target, replica)
        } else {
          this.#failedWith(outcome.cause, target, outcome, replica)
          await delay(afterFailureMs)
        }
      }
    } finally {
      agent.destroy()
    }
  }

  #agent(): Agent {
    const { keepAlive, secure } = this.#options
    if (secure === undefined) return new Agent({ keepAlive, maxSockets: 1 })
    // Without a session that is resumed: each new connection sees a certificate.
    const { name: servername, ca } = secure
    return new SecureAgent({ keepAlive, maxSockets: 1, maxCachedSessions: 0, servername, ca })
  }

  async #untilDue(dueAtMs: number): Promise<void> {
    // In pieces, so that a stop is seen in the meantime.
    for (let leftMs = dueAtMs - nowMs(); leftMs > 0 && !this.#isOver(); leftMs = dueAtMs - nowMs()) {
      await delay(Math.min(leftMs, 100))
    }
  }

  #isOver(): boolean {
    const { forMs, requests = Infinity, atLeastRequests = 0 } = this.#options
    const isStopped = this.#stop?.aborted === true && this.#begun >= atLeastRequests
    return isStopped || this.#begun >= requests || nowMs() - this.#begunAtMs >= forMs
  }

  #answeredIn(latencyMs: number, target: string, replica: string | undefined): void {
    this.#answered += 1
    this.#latencyUs.record(Math.max(1, Math.round(latencyMs * 1_000)))
    count(this.#answeredAt, target)
    if (replica !== undefined) count(this.#answeredBy, replica)
  }

  #failedWith(
    cause: Cause,
    target: string,
    { begunAtMs, keptConnection }: Outcome,
    replica: string | undefined,
  ): void {
    this.#failed += 1
    count(this.#failedBy, cause)
    if (this.#failures.length >= failuresKeptMax) return
    this.#failures.push({
      cause,
      target,
      begunAtMs,
      failedAtMs: nowMs(),
      keptConnection,
      ...(replica === undefined ? {} : { replica }),
    })
  }

  #ask(target: string, agent: Agent): Promise<Outcome> {
    const {
      timeoutMs = loadDefaults.timeoutMs,
      replicaHeader = loadDefaults.replicaHeader,
      secure,
    } = this.#options
    const begin = (): ClientRequest =>
      secure === undefined
        ? request(target, { agent })
        : requestSecurely(target, { agent, headers: { host: secure.name } })
    return ask(begin, timeoutMs, replicaHeader)
  }

  report(): Report {
    const lastedMs = nowMs() - this.#begunAtMs
    const requests = this.#answered + this.#failed
    const latency = (percentile: number): number =>
      this.#answered === 0 ? 0 : this.#latencyUs.percentile(percentile) / 1_000
    return {
      requests,
      failed: this.#failed,
      connectionsOpened: this.#opened,
      begunAtMs: this.#begunAtMs,
      lastedMs,
      requestsPerSecond: Math.round((requests * 1_000) / lastedMs),
      latencyMs: { p50: latency(50), p99: latency(99), max: latency(100) },
      failedBy: Object.fromEntries(this.#failedBy),
      failures: this.#failures,
      answeredBy: Object.fromEntries(this.#answeredBy),
      answeredAt: Object.fromEntries(this.#answeredAt),
    }
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

interface Outcome {
  /** None: answered in full. */
  readonly cause: Cause | undefined
  readonly begunAtMs: number
  readonly keptConnection: boolean
  readonly replica: string | undefined
}

type Stage = 'connecting' | 'waiting' | 'reading'

/** One request, sent once: Node's client repeats nothing by itself. */
function ask(begin: () => ClientRequest, timeoutMs: number, replicaHeader: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const begunAtMs = nowMs()
    let stage: Stage = 'connecting'
    let response: IncomingMessage | undefined
    let isLate = false
    const message = begin()
    const timer = setTimeout(() => {
      isLate = true
      settle(tooLate(stage))
      message.destroy()
    }, timeoutMs)
    const settle = (cause: Cause | undefined): void => {
      clearTimeout(timer)
      const told = response?.headers[replicaHeader]
      resolve({
        cause,
        begunAtMs,
        keptConnection: message.reusedSocket,
        replica: typeof told === 'string' ? told : undefined,
      })
    }
    const fail = (error: NodeJS.ErrnoException): void => {
      if (!isLate) settle(causeOf(error, stage))
    }
    message.on('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => (stage = 'waiting'))
      else stage = 'waiting'
    })
    message.on('error', fail)
    message.on('response', (incoming) => {
      stage = 'reading'
      response = incoming
      const { statusCode = 0 } = incoming
      incoming.on('error', fail)
      incoming.on('end', () => settle(statusCode >= 400 ? `status ${statusCode}` : undefined))
      incoming.resume()
    })
    message.end()
  })
}

function tooLate(stage: Stage): Cause {
  switch (stage) {
    case 'connecting':
      return 'no connection in time'
    case 'waiting':
      return 'no answer in time'
    case 'reading':
      return 'stopped in the middle'
  }
}

function causeOf({ code = '', message }: NodeJS.ErrnoException, stage: Stage): Cause {
  if (code === 'ECONNREFUSED') return 'refused'
  if (code === 'ETIMEDOUT') return tooLate(stage)
  if (['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'].includes(code)) return 'unreachable'
  if (code.startsWith('HPE_')) return 'not HTTP'
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    if (stage === 'reading') return 'cut off in the middle'
    // Node's words for an end of the stream where an answer should be.
    return message === 'socket hang up' ? 'closed without an answer' : 'reset'
  }
  return `other: ${code === '' ? message : code}`
}

if (import.meta.main) {
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.stdout.write('begun\n')
  const report = await load(JSON.parse(process.argv[2] ?? '{}') as LoadOptions, stop.signal)
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
