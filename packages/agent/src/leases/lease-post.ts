import type { NodeId } from '@moot/crdt-state'
import type { Envelope, LeaseMessage } from '../core/lease/messages.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import type { Mesh } from '../ports/mesh.ts'
import { decodeMessages, encodeMessages } from './lease-wire.ts'

const protocol = 'lease'
const nothing = new Uint8Array()

export interface LeasePost {
  /** To other nodes. What cannot be sent is lost: whoever needs an answer asks again. */
  send(envelopes: readonly Envelope[]): void
  counters(): { readonly lost: number; readonly refused: number }
  stop(): Promise<void>
}

interface Peer {
  readonly waiting: LeaseMessage[]
  inFlight: number
}

/**
 * Carries lease messages: what waits for one peer goes as one request with an empty answer. Both what waits and what is under
 * way is bounded for each peer, so that one that is slow or gone costs the others nothing.
 */
export function createLeasePost(options: {
  readonly mesh: Mesh
  readonly clock: Clock
  readonly settings: Pick<Defaults, 'leaseTryMs' | 'leaseSendsPerPeer' | 'leaseQueueMax'>
  readonly member: (node: NodeId) => boolean
  /** Takes as many as it has room for: how many. */
  readonly receive: (from: NodeId, messages: readonly LeaseMessage[]) => number
}): LeasePost {
  const { mesh, clock, settings, member } = options
  const peers = new Map<NodeId, Peer>()
  const underWay = new Set<Promise<void>>()
  const stopping = new AbortController()
  let lost = 0
  let refused = 0

  function flush(node: NodeId, peer: Peer): void {
    while (
      peer.waiting.length > 0 &&
      peer.inFlight < settings.leaseSendsPerPeer &&
      !stopping.signal.aborted
    ) {
      const messages = peer.waiting.splice(0)
      peer.inFlight += 1
      const sending = request(node, messages)
        .catch(() => {
          lost += messages.length
        })
        .finally(() => {
          peer.inFlight -= 1
          underWay.delete(sending)
          if (peer.inFlight === 0 && peer.waiting.length === 0) peers.delete(node)
          else flush(node, peer)
        })
      underWay.add(sending)
    }
  }

  /** What has not arrived by then has been asked again. */
  async function request(node: NodeId, messages: readonly LeaseMessage[]): Promise<void> {
    const late = new AbortController()
    const abort = (): void => late.abort(new Error('the agent stops'))
    stopping.signal.addEventListener('abort', abort, { once: true })
    const cancel = clock.after(settings.leaseTryMs, () =>
      late.abort(new DOMException(`not there within ${settings.leaseTryMs} ms`, 'TimeoutError')),
    )
    try {
      await mesh.request(node, protocol, encodeMessages(messages), late.signal)
    } finally {
      cancel()
      stopping.signal.removeEventListener('abort', abort)
    }
  }

  const off = mesh.onRequest(protocol, (from, payload) => {
    const messages = member(from) ? decodeMessages(payload) : undefined
    if (messages === undefined) {
      refused += 1
      return Promise.reject(new Error(`unreadable "${protocol}" request, or of no member`))
    }
    refused += messages.length - options.receive(from, messages)
    return Promise.resolve(nothing)
  })

  return {
    send(envelopes) {
      const touched = new Map<NodeId, Peer>()
      for (const { to, message } of envelopes) {
        const peer = peers.get(to) ?? { waiting: [], inFlight: 0 }
        peers.set(to, peer)
        touched.set(to, peer)
        peer.waiting.push(message)
        if (peer.waiting.length > settings.leaseQueueMax) {
          // The oldest: what is asked anew is worth more.
          peer.waiting.shift()
          lost += 1
        }
      }
      for (const [node, peer] of touched) flush(node, peer)
    },
    counters: () => ({ lost, refused }),
    async stop() {
      off()
      stopping.abort(new Error('the agent stops'))
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}
