import type { NodeId, RecordMessage, SpecMessage } from '@moot/crdt-state'
import type { Topic } from '../ports/mesh.ts'
import { sendBack } from './commit.ts'
import type { Exchange } from './exchange.ts'
import { mergeDeltas } from './record-outbox.ts'
import {
  decode,
  encode,
  page,
  recordAnswerSchema,
  recordGossipSchema,
  recordRequestSchema,
  specGossipSchema,
} from './wire.ts'

export interface Gossip {
  publishSpecs(messages: readonly SpecMessage[]): void
  publishRecord(delta: RecordMessage): void
  stop(): void
}

/**
 * Changes as they happen, to all members: fast, lossy, at most once. Whatever is lost here, or too large for it, is
 * found by comparing (`sync`).
 */
export function createGossip(exchange: Exchange, compareWith: (node: NodeId) => void): Gossip {
  const { mesh, records, clock, settings, counters, member } = exchange
  let outbox: RecordMessage[] = []
  let overflowed = false
  let cancelFlush: (() => void) | undefined
  let inbox: { readonly from: NodeId; readonly messages: readonly SpecMessage[] }[] = []
  let working = false
  const fetching = new Set<NodeId>()

  function publish(topic: Topic, body: unknown): void {
    const payload = encode(body)
    counters.count('gossipOut')
    counters.count('gossipBytesOut', payload.length)
    exchange.background('gossip', () => mesh.publish(topic, payload))
  }

  /** In as few messages as they fit into; one that is too large is left to those who compare themselves with us. */
  function publishPaged<T>(topic: Topic, items: readonly T[], body: (items: readonly T[]) => unknown): void {
    let rest = items
    while (rest.length > 0) {
      const part = page(rest, settings.gossipMaxBytes)
      rest = rest.slice(part.length)
      const oversized = part.length === 1 && JSON.stringify(part[0]).length > settings.gossipMaxBytes
      publish(topic, oversized ? { behind: mesh.self } : body(part))
    }
  }

  function flushRecords(): void {
    cancelFlush = undefined
    const deltas = outbox
    outbox = []
    if (overflowed) publish('records', { behind: mesh.self })
    else publishPaged('records', mergeDeltas(deltas), (part) => ({ records: part }))
    overflowed = false
  }

  async function workInbox(): Promise<void> {
    working = true
    try {
      for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) {
        const { from, messages } = next
        const received = await exchange.receiveSpecs(messages)
        exchange.background('removals', () => sendBack(exchange, from, received.removals))
        if (received.gaps.length > 0) {
          exchange.background('fetch', () => exchange.fetchSpecs(from, received.gaps))
        }
      }
    } finally {
      working = false
    }
  }

  function fetchRecord(node: NodeId, from: NodeId): void {
    if (fetching.has(node)) return
    if (fetching.size >= settings.recordFetchesMax) {
      counters.count('dropped')
      return
    }
    fetching.add(node)
    exchange.background('record', async () => {
      try {
        const whom = mesh.peers().has(node) ? node : from
        const answer = await exchange.ask(whom, 'record', { node }, recordAnswerSchema)
        exchange.receiveRecords(answer.records)
      } finally {
        fetching.delete(node)
      }
    })
  }

  /** Counts and reads what was heard; `behind` is handled alike for both topics. */
  function hear<T extends object>(
    from: NodeId,
    payload: Uint8Array,
    schema: Parameters<typeof decode<T | { behind: NodeId }>>[0],
    take: (body: T) => void,
  ): void {
    if (from === mesh.self) return
    counters.count('gossipIn')
    counters.count('gossipBytesIn', payload.length)
    const body = decode(schema, payload)
    if (!member(from)) counters.count('refused')
    else if (body === undefined) counters.count('garbage')
    else if ('behind' in body) compareWith(mesh.peers().has(body.behind) ? body.behind : from)
    else take(body)
  }

  const unsubscribe = [
    mesh.onGossip('specs', (from, payload) => {
      hear<{ messages: SpecMessage[] }>(from, payload, specGossipSchema, ({ messages }) => {
        if (inbox.length >= settings.gossipQueueLimit) {
          counters.count('dropped', messages.length)
          return
        }
        inbox.push({ from, messages })
        if (!working) exchange.background('gossip in', workInbox)
      })
    }),
    mesh.onGossip('records', (from, payload) => {
      hear<{ records: RecordMessage[] }>(from, payload, recordGossipSchema, (body) => {
        for (const node of exchange.receiveRecords(body.records)) fetchRecord(node, from)
      })
    }),
    exchange.serve('record', recordRequestSchema, async (_, { node }) => {
      const whole = member(node) ? records.whole(node) : undefined
      return { records: whole === undefined ? [] : [whole] }
    }),
  ]

  return {
    publishSpecs(messages) {
      publishPaged('specs', messages, (part) => ({ messages: part }))
    },
    publishRecord(delta) {
      if (exchange.stopped.aborted) return
      if (outbox.length >= settings.recordOutboxLimit) {
        counters.count('dropped')
        overflowed = true
        outbox = []
      }
      outbox.push(delta)
      cancelFlush ??= clock.after(settings.recordBatchMs, flushRecords)
    },
    stop() {
      cancelFlush?.()
      inbox = []
      for (const off of unsubscribe) off()
    },
  }
}
