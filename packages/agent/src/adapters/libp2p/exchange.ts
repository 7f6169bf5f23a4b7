import type { Connection, Stream } from '@libp2p/interface'
import type { NodeId } from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import {
  MessageTooLargeError,
  PeerRefusedError,
  PeerUnreachableError,
  RequestFailedError,
} from '../../ports/mesh.errors.ts'
import type { ByteStream, JoinHandler, RequestHandler } from '../../ports/mesh.ts'
import { Channel, toError, within } from './channel.ts'
import type { Link } from './link.ts'

export const requestProtocol = '/moot/request/1'
export const streamProtocol = '/moot/stream/1'
export const joinProtocol = '/moot/join/1'

/** First byte of an answer. */
const status = { ok: 0, failed: 1, refused: 2, tooLarge: 3 } as const
const nameMaxBytes = 128
const wordsMaxBytes = 4_096
const encoder = new TextEncoder()
const decoder = new TextDecoder()

interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

function wordsOf(error: unknown): string {
  return toError(error, 'it failed').message
}

/**
 * Requests, byte streams and joining, each on a libp2p stream of its own: name and payload as frames, then a frame
 * with a status byte. A stream goes on as plain bytes after it.
 */
export class Exchange {
  readonly requestHandlers = new Map<string, RequestHandler>()
  readonly streamHandlers = new Map<string, (from: NodeId, stream: ByteStream) => void>()
  /** While set, strangers are heard. */
  joinHandler: JoinHandler | undefined
  /** For joiners that are members by now, and ask again because the answer was lost on its way. */
  #lastJoinHandler: JoinHandler | undefined
  readonly #settings: Defaults
  readonly #allowed: (node: NodeId) => boolean
  readonly #serving = new Map<NodeId, number>()

  constructor(settings: Defaults, allowed: (node: NodeId) => boolean) {
    this.#settings = settings
    this.#allowed = allowed
  }

  setJoinHandler(handler: JoinHandler | undefined): void {
    this.joinHandler = handler
    if (handler !== undefined) this.#lastJoinHandler = handler
  }

  // ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async request(link: Link, protocol: string, payload: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const answer = await this.#ask(link.node, link.connection, requestProtocol, signal, async (channel) => {
      const sent = this.#sendRequest(channel, protocol, payload)
      // The answer may come before all is sent (refused, too large); a broken connection fails both.
      sent.catch(() => undefined)
      return this.#readAnswer(channel, link.node)
    })
    if (answer.status === status.ok) return answer.body
    throw this.#refusal(link.node, protocol, answer, payload.length)
  }
  async #sendRequest(channel: Channel, protocol: string, payload: Uint8Array): Promise<void> {
    await channel.writeFrame(encoder.encode(protocol))
    await channel.writeFrame(payload)
    await channel.closeWrite()
  }
  #refusal(node: NodeId, protocol: string, answer: Answer, payloadBytes: number): Error {
    const words = decoder.decode(answer.body)
    if (answer.status === status.refused) return new PeerRefusedError(node, words)
    if (answer.status === status.tooLarge) {
      return new MessageTooLargeError(
        `the request "${protocol}"`,
        payloadBytes,
        this.#settings.maxMessageBytes,
      )
    }
    return new RequestFailedError(node, protocol, words)
  }

  async openStream(link: Link, protocol: string, signal: AbortSignal): Promise<ByteStream> {
    let opened: Channel | undefined
    const answer = await this.#ask(
      link.node,
      link.connection,
      streamProtocol,
      signal,
      async (channel) => {
        opened = channel
        await channel.writeFrame(encoder.encode(protocol))
        return this.#readAnswer(channel, link.node)
      },
      'keep',
    )
    if (answer.status === status.ok && opened !== undefined) return opened
    opened?.abort(new Error('refused'))
    throw this.#refusal(link.node, protocol, answer, 0)
  }

  async join(
    node: NodeId,
    connection: Connection,
    request: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const answer = await this.#ask(node, connection, joinProtocol, signal, async (channel) => {
      await channel.writeFrame(request)
      await channel.closeWrite()
      return this.#readAnswer(channel, node)
    })
    if (answer.status === status.ok) return answer.body
    throw new PeerRefusedError(node, decoder.decode(answer.body))
  }

  async #ask(
    node: NodeId,
    connection: Connection,
    protocol: string,
    signal: AbortSignal,
    talk: (channel: Channel) => Promise<Answer>,
    after: 'close' | 'keep' = 'close',
  ): Promise<Answer> {
    let channel: Channel | undefined
    const giveUp = (): void => channel?.abort(toError(signal.reason, 'aborted'))
    const work = async (): Promise<Answer> => {
      const stream = await connection.newStream(protocol, { signal })
      channel = new Channel(stream, this.#settings.meshStreamBufferBytes)
      if (signal.aborted) giveUp()
      return talk(channel)
    }
    try {
      const answer = await within(work(), signal, giveUp)
      if (after === 'close') this.#release(channel)
      return answer
    } catch (error) {
      giveUp()
      if (signal.aborted) throw toError(signal.reason, 'aborted')
      if (error instanceof MessageTooLargeError || error instanceof RequestFailedError) throw error
      const why = toError(error, 'the connection broke')
      if (why.name === 'TooManyOutboundProtocolStreamsError') {
        throw new RequestFailedError(node, protocol, 'too many requests to it are under way: try again later')
      }
      throw new PeerUnreachableError(node, [connection.remoteAddr.toString()], why.message, why)
    }
  }
  /** Answered: whatever of the request is still unsent is of no use. */
  #release(channel: Channel | undefined): void {
    if (channel !== undefined && channel.stream.writeStatus === 'writable')
      channel.abort(new Error('answered'))
  }
  async #readAnswer(channel: Channel, node: NodeId): Promise<Answer> {
    const frame = await channel.readFrame(`the answer of node ${node}`, this.#settings.maxMessageBytes + 1)
    const first = frame?.[0]
    if (frame === undefined || first === undefined) throw new Error('it closed without an answer')
    return { status: first, body: frame.subarray(1) }
  }

  // ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────

  serveRequest(stream: Stream, node: NodeId): void {
    this.#serve(stream, async (channel) => {
      if (!this.#allowed(node)) return this.#answer(channel, status.refused, 'this node is not a member')
      const under = this.#serving.get(node) ?? 0
      if (under >= this.#settings.meshRequestsPerPeer) {
        return this.#answer(channel, status.failed, 'too many requests are under way: try again later')
      }
      this.#serving.set(node, under + 1)
      try {
        await this.#handleRequest(channel, node)
      } finally {
        const left = (this.#serving.get(node) ?? 1) - 1
        if (left === 0) this.#serving.delete(node)
        else this.#serving.set(node, left)
      }
    })
  }
  async #handleRequest(channel: Channel, node: NodeId): Promise<void> {
    const { maxMessageBytes } = this.#settings
    const name = await this.#readName(channel)
    const handler = this.requestHandlers.get(name)
    if (handler === undefined) {
      return this.#answer(channel, status.failed, 'it does not speak this protocol: is its agent older?')
    }
    let body: Uint8Array
    try {
      const payload = await channel.readFrame(`the request "${name}"`, maxMessageBytes)
      if (payload === undefined) throw new Error('no payload')
      body = await handler(node, payload)
      if (body.length > maxMessageBytes) {
        throw new Error(`its answer of ${body.length} bytes is larger than the ${maxMessageBytes} allowed`)
      }
    } catch (error) {
      const kind = error instanceof MessageTooLargeError ? status.tooLarge : status.failed
      return this.#answer(channel, kind, wordsOf(error))
    }
    return this.#answer(channel, status.ok, body)
  }

  serveStream(stream: Stream, node: NodeId): void {
    this.#serve(stream, async (channel) => {
      if (!this.#allowed(node)) return this.#answer(channel, status.refused, 'this node is not a member')
      const handler = this.streamHandlers.get(await this.#readName(channel))
      if (handler === undefined) {
        return this.#answer(channel, status.failed, 'it does not speak this protocol: is its agent older?')
      }
      await channel.writeFrame(Uint8Array.of(status.ok))
      handler(node, channel)
    })
  }

  serveJoin(stream: Stream, joiner: { readonly node: NodeId; readonly publicKey: Uint8Array }): void {
    this.#serve(stream, async (channel) => {
      const handler = this.joinHandler ?? (this.#allowed(joiner.node) ? this.#lastJoinHandler : undefined)
      if (handler === undefined) {
        return this.#answer(
          channel,
          status.refused,
          'no join token is outstanding on this node: make one there with "moot token" and use that',
        )
      }
      const request = await channel.readFrame('a join request', this.#settings.meshControlMaxBytes)
      if (request === undefined) throw new Error('no request')
      try {
        await this.#answer(channel, status.ok, await handler(joiner, request))
      } catch (error) {
        await this.#answer(channel, status.refused, wordsOf(error))
      }
    })
  }

  async #readName(channel: Channel): Promise<string> {
    return decoder.decode((await channel.readFrame('a protocol name', nameMaxBytes)) ?? new Uint8Array())
  }
  #serve(stream: Stream, work: (channel: Channel) => Promise<void>): void {
    const channel = new Channel(stream, this.#settings.meshStreamBufferBytes)
    // What goes wrong here is the other side's connection or its garbage; it is told by the reset.
    work(channel).catch((error: unknown) => channel.abort(toError(error, 'the connection broke')))
  }
  async #answer(channel: Channel, kind: number, body: string | Uint8Array): Promise<void> {
    const bytes = typeof body === 'string' ? encoder.encode(body).subarray(0, wordsMaxBytes) : body
    await channel.writeFrame(Uint8Array.of(kind), bytes)
    await channel.closeWrite()
  }
}
