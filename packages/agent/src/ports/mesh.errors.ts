import type { NodeId } from '@moot/crdt-state'

/** Nobody answered, or the connection broke before an answer came. A request may have been carried out. */
export class PeerUnreachableError extends Error {
  readonly code = 'ERR_PEER_UNREACHABLE'
  override name = 'PeerUnreachableError'
  readonly node: NodeId
  readonly tried: readonly string[]
  constructor(node: NodeId, tried: readonly string[], why: string, cause?: unknown) {
    const where = tried.length === 0 ? 'no address is known' : `tried ${tried.join(', ')}`
    super(
      `node ${node} cannot be reached (${where}): ${why}; check that its agent runs and that its mesh port is open`,
      cause === undefined ? undefined : { cause },
    )
    this.node = node
    this.tried = tried
  }
}

/** The other side is there and wants nothing to do with us, in its own `words`. */
export class PeerRefusedError extends Error {
  readonly code = 'ERR_PEER_REFUSED'
  override name = 'PeerRefusedError'
  readonly node: NodeId
  readonly words: string
  constructor(node: NodeId, words: string) {
    super(`node ${node} refused: ${words}`)
    this.node = node
    this.words = words
  }
}

export class MessageTooLargeError extends Error {
  readonly code = 'ERR_MESSAGE_TOO_LARGE'
  override name = 'MessageTooLargeError'
  constructor(what: string, bytes: number, maxBytes: number) {
    super(`${what} has ${bytes} bytes, and a mesh message at most ${maxBytes}: send it in parts`)
  }
}

/** The request arrived and its handler failed, or there is none; `words` are the other side's. */
export class RequestFailedError extends Error {
  readonly code = 'ERR_REQUEST_FAILED'
  override name = 'RequestFailedError'
  readonly node: NodeId
  readonly protocol: string
  readonly words: string
  constructor(node: NodeId, protocol: string, words: string) {
    super(`node ${node} could not answer "${protocol}": ${words}`)
    this.node = node
    this.protocol = protocol
    this.words = words
  }
}
