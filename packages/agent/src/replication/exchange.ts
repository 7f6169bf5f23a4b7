import {
  type NodeId,
  type RecordMessage,
  type RecordStore,
  type RecordVersion,
  resourceId,
  type SpecMessage,
  type SpecStore,
} from '@moot/crdt-state'
import type { Logger } from 'pino'
import type * as z from 'zod'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import type { Counters } from './counters.ts'
import { DeadlineError, InboundRefusedError, MalformedAnswerError } from './errors.ts'
import { decode, encode, fetchAnswerSchema } from './wire.ts'

export interface ExchangeOptions {
  readonly mesh: Mesh
  readonly specs: SpecStore
  readonly records: RecordStore
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Defaults
  readonly member: (node: NodeId) => boolean
  /** Another agent runs with this node's key. */
  readonly cloned: (version: RecordVersion) => void
}

/** What came of spec messages from a peer. */
export interface SpecsReceived {
  readonly applied: number
  /** Documents that must be fetched whole. */
  readonly gaps: readonly string[]
  /** Removals to send back: the edits came too late. */
  readonly removals: readonly SpecMessage[]
  readonly refused: number
}

/** Asking peers, answering them, and putting what they send into the stores: shared by gossip, commit and sync. */
export interface Exchange extends ExchangeOptions {
  readonly counters: Counters
  /** Aborted when replication stops. */
  readonly stopped: AbortSignal
  /** Peers with an open connection that are members. */
  peers(): readonly NodeId[]
  ask<T>(
    node: NodeId,
    protocol: string,
    body: unknown,
    schema: z.ZodType<T>,
    signal?: AbortSignal,
  ): Promise<T>
  serve<T>(
    protocol: string,
    schema: z.ZodType<T>,
    handler: (from: NodeId, body: T) => Promise<unknown>,
  ): () => void
  receiveSpecs(messages: readonly SpecMessage[], from?: { readonly vouched: boolean }): Promise<SpecsReceived>
  /** Fetches whole documents from a peer and stores them. */
  fetchSpecs(from: NodeId, ids: readonly string[], signal?: AbortSignal): Promise<void>
  /** Stores records of members; answers with the nodes whose record must be fetched whole. */
  receiveRecords(messages: readonly RecordMessage[]): readonly NodeId[]
  /** Runs in the background: failures are counted and logged, `idle` waits for it. */
  background(what: string, work: () => Promise<void>): void
  idle(): Promise<void>
}

/** How many ids one fetch asks for: their documents are read one page at a time. */
const fetchIdsMax = 256

export function createExchange(options: ExchangeOptions, counters: Counters, stopped: AbortSignal): Exchange {
  const { mesh, specs, records, clock, logger, settings, member } = options
  const running = new Set<Promise<void>>()
  let serving = 0

  async function ask<T>(
    node: NodeId,
    protocol: string,
    body: unknown,
    schema: z.ZodType<T>,
    signal: AbortSignal = stopped,
  ): Promise<T> {
    const bound = new AbortController()
    const ms = settings.syncStepTimeoutMs
    const cancel = clock.after(ms, () => bound.abort(new DeadlineError(`"${protocol}" to ${node}`, ms)))
    // Not AbortSignal.any: every request of this agent's life would hang on to the long-lived signals.
    const abort = (): void => bound.abort(signal.aborted ? signal.reason : stopped.reason)
    for (const source of [signal, stopped]) source.addEventListener('abort', abort, { once: true })
    if (signal.aborted || stopped.aborted) abort()
    const payload = encode(body)
    counters.count('requestsOut')
    counters.count('requestBytesOut', payload.length)
    try {
      const bytes = await mesh.request(node, protocol, payload, bound.signal)
      counters.count('requestBytesIn', bytes.length)
      const answer = decode(schema, bytes)
      if (answer !== undefined) return answer
      counters.count('garbage')
      throw new MalformedAnswerError(node, protocol)
    } catch (error) {
      counters.count('requestsFailed')
      throw error
    } finally {
      cancel()
      for (const source of [signal, stopped]) source.removeEventListener('abort', abort)
    }
  }

  function serve<T>(
    protocol: string,
    schema: z.ZodType<T>,
    handler: (from: NodeId, body: T) => Promise<unknown>,
  ): () => void {
    return mesh.onRequest(protocol, async (from, payload) => {
      counters.count('requestsIn')
      counters.count('requestBytesIn', payload.length)
      if (!member(from)) {
        counters.count('refused')
        throw new InboundRefusedError(`${from} is no member here`)
      }
      if (serving >= settings.inboundRequestsMax) {
        counters.count('dropped')
        throw new InboundRefusedError('too many requests at once; come back later')
      }
      const body = decode(schema, payload)
      if (body === undefined) {
        counters.count('garbage')
        throw new InboundRefusedError(`unreadable "${protocol}" request`)
      }
      serving += 1
      try {
        const bytes = encode(await handler(from, body))
        counters.count('requestBytesOut', bytes.length)
        return bytes
      } finally {
        serving -= 1
      }
    })
  }

  async function receiveSpecs(
    messages: readonly SpecMessage[],
    from = { vouched: false },
  ): Promise<SpecsReceived> {
    const gaps = new Set<string>()
    const removals: SpecMessage[] = []
    let applied = 0
    let refused = 0
    const outcomes = messages.length === 0 ? [] : await specs.receive(messages, from)
    for (const [index, outcome] of outcomes.entries()) {
      const message = messages[index]
      if (outcome.kind === 'applied') applied += 1
      else if (outcome.kind === 'removed') removals.push({ type: 'tombstone', tombstone: outcome.tombstone })
      else if (outcome.kind === 'gap' && message?.type === 'changes') {
        gaps.add(resourceId(message.kind, message.name, message.incarnation))
      } else if (outcome.kind === 'refused') {
        refused += 1
        logger.warn({ reason: outcome.reason }, 'a peer sent a spec that cannot be taken')
      }
    }
    counters.count('specsApplied', applied)
    counters.count('gaps', gaps.size)
    counters.count('refused', refused)
    return { applied, gaps: [...gaps], removals, refused }
  }

  async function fetchSpecs(from: NodeId, ids: readonly string[], signal?: AbortSignal): Promise<void> {
    let rest = ids
    while (rest.length > 0) {
      const asked = rest.slice(0, fetchIdsMax)
      const answer = await ask(from, 'fetch', { ids: asked }, fetchAnswerSchema, signal)
      await receiveSpecs(answer.messages)
      // A peer that makes no progress does not keep us here.
      const left = answer.rest.filter((id) => asked.includes(id))
      rest = [...(left.length < asked.length ? left : []), ...rest.slice(fetchIdsMax)]
    }
  }

  function receiveRecords(messages: readonly RecordMessage[]): readonly NodeId[] {
    const ours = messages.filter((message) => member(message.node))
    counters.count('refused', messages.length - ours.length)
    if (ours.length === 0) return []
    const gaps: NodeId[] = []
    for (const outcome of records.receive(ours)) {
      if (outcome.kind === 'applied') counters.count('recordsApplied')
      else if (outcome.kind === 'cloned') options.cloned(outcome.version)
      else if (outcome.kind === 'gap') {
        counters.count('gaps')
        gaps.push(outcome.node)
      } else if (outcome.kind === 'refused') {
        counters.count('refused')
        logger.warn({ reason: outcome.reason }, 'a peer sent a record that cannot be taken')
      }
    }
    return gaps
  }

  return {
    ...options,
    counters,
    stopped,
    ask,
    serve,
    receiveSpecs,
    fetchSpecs,
    receiveRecords,
    peers: () => [...mesh.peers()].filter((node) => node !== mesh.self && member(node)).sort(),
    background(what, work) {
      if (stopped.aborted) return
      const promise = work()
        .catch((error: unknown) => {
          if (!stopped.aborted) logger.debug({ err: error, what }, 'replication work failed')
        })
        .finally(() => running.delete(promise))
      running.add(promise)
    },
    async idle() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
