import type { NodeId, SpecMessage } from '@moot/crdt-state'
import type { Exchange } from './exchange.ts'
import { commitAnswerSchema, commitSchema } from './wire.ts'

/** Answers commits: only once everything is on this node's disk. */
export function serveCommits(exchange: Exchange): () => void {
  return exchange.serve('commit', commitSchema, async (from, { messages }) => {
    const received = await exchange.receiveSpecs(messages)
    // What we lacked comes whole from the writer, and is stored when this resolves.
    if (received.gaps.length > 0) await exchange.fetchSpecs(from, received.gaps)
    return { confirmed: received.refused === 0, removals: received.removals }
  })
}

/** Sends removals to a peer that still edits what was removed. */
export async function sendBack(
  exchange: Exchange,
  node: NodeId,
  removals: readonly SpecMessage[],
): Promise<void> {
  if (removals.length > 0) await exchange.ask(node, 'commit', { messages: removals }, commitAnswerSchema)
}

/**
 * Has one connected peer store these messages durably. Peers are asked in a random order, the next one as soon as one
 * fails or keeps us waiting for `confirmNextPeerMs`. Resolves with the first that confirmed, or undefined after
 * `confirmTimeoutMs` (at once if nobody is connected): the write is done all the same.
 *
 * @param parted resolves with who has it by another sign than its answer, which may never come: that is waited for also when all have been asked.
 */
export async function confirm(
  exchange: Exchange,
  messages: readonly SpecMessage[],
  random: () => number,
  parted?: Promise<NodeId>,
): Promise<NodeId | undefined> {
  const { clock, settings, counters } = exchange
  const candidates = exchange
    .peers()
    .map((node) => ({ node, at: random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, settings.confirmPeersMax)
    .map(({ node }) => node)
  const { promise, resolve } = Promise.withResolvers<NodeId | undefined>()
  const others = new AbortController()
  const waiting = candidates.values()
  const isAnswerAll = parted === undefined || candidates.length === 0
  void parted?.then(resolve)
  let open = 0
  let cancelNext: () => void = () => undefined

  function askNext(): void {
    cancelNext()
    const node = waiting.next().value
    if (node === undefined) {
      if (open === 0 && isAnswerAll) resolve(undefined)
      return
    }
    open += 1
    cancelNext = clock.after(settings.confirmNextPeerMs, askNext)
    exchange.background('commit', async () => {
      const confirmed = await attempt(exchange, node, messages, others.signal).catch(() => false)
      open -= 1
      if (confirmed) resolve(node)
      else askNext()
    })
  }

  const cancelBound = clock.after(settings.confirmTimeoutMs, () => resolve(undefined))
  const stop = (): void => resolve(undefined)
  exchange.stopped.addEventListener('abort', stop, { once: true })
  if (exchange.stopped.aborted) stop()
  askNext()
  const confirmedBy = await promise
  exchange.stopped.removeEventListener('abort', stop)
  cancelBound()
  cancelNext()
  // Nothing starts after the answer: the candidates are used up.
  while (waiting.next().done !== true);
  others.abort(new Error('another peer confirmed, or the time was up'))
  counters.count(confirmedBy === undefined ? 'unconfirmed' : 'confirmed')
  return confirmedBy
}

async function attempt(
  exchange: Exchange,
  node: NodeId,
  messages: readonly SpecMessage[],
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await exchange.ask(node, 'commit', { messages }, commitAnswerSchema, signal)
  // The peer knows of a removal that we do not: the write is void, and from now on here too.
  await exchange.receiveSpecs(answer.removals)
  return answer.confirmed
}
