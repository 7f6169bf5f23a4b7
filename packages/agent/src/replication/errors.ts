import type { NodeId } from '@moot/crdt-state'

export class DeadlineError extends Error {
  readonly code = 'ERR_DEADLINE'
  override name = 'DeadlineError'
  constructor(what: string, ms: number) {
    super(`${what} took longer than ${ms} ms: the peer or the way there is slow; it is tried again later`)
  }
}

export class MalformedAnswerError extends Error {
  readonly code = 'ERR_MALFORMED_ANSWER'
  override name = 'MalformedAnswerError'
  constructor(node: NodeId, protocol: string) {
    super(
      `node ${node} answered "${protocol}" with something unreadable: check that both agents are of one release`,
    )
  }
}

/** What the asking side reads when this agent refuses its request. */
export class InboundRefusedError extends Error {
  readonly code = 'ERR_INBOUND_REFUSED'
  override name = 'InboundRefusedError'
}
