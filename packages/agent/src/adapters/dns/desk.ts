import type { NameIndex } from '../../core/network/name-index.ts'
import type { Address } from '../../core/network/plane.ts'
import { type Counting, nothingCounted } from '../../ports/name-server.ts'
import { limitOf, writeCode, writeTruncated } from './answer.ts'
import { codes } from './codes.ts'
import { Forwarder, type ForwarderParts } from './forwarder.ts'
import { respond, type Response } from './respond.ts'

/** A message, and where it came from. */
export interface Incoming {
  readonly message: Buffer
  readonly asker: Address
  readonly port: number
  readonly transport: 'udp' | 'tcp'
}

/** Where every question arrives, whichever socket it came by, and where it is counted. */
export class Desk {
  /** Undefined: it has been told nothing yet, and says nothing, so that whoever asks asks again. Replaced where a whole table comes. */
  index: NameIndex | undefined
  readonly counters: Counting = { ...nothingCounted }
  readonly forwarder: Forwarder

  constructor(index: NameIndex | undefined, parts: ForwarderParts) {
    this.index = index
    this.forwarder = new Forwarder(parts)
  }

  /**
   * @param send is called once; later where another name server is asked.
   * @returns false: nothing is to be said.
   */
  receive(incoming: Incoming, send: (answer: Buffer) => void): boolean {
    const { message, asker, port, transport } = incoming
    const { index } = this
    if (index === undefined || this.forwarder.isOwn(message, port)) {
      this.counters.dropped++
      return false
    }
    const response = respond(message, { asker, transport, index, random: Math.random })
    switch (response.kind) {
      case 'silence':
        this.counters.dropped++
        return false
      case 'answer':
        this.counters[response.outcome]++
        if (response.isTruncated === true) this.counters.truncated++
        send(response.bytes)
        return true
      case 'forward':
        void this.#forward(incoming, response).then(send)
        return true
    }
  }

  async #forward(
    incoming: Incoming,
    { reply, nameservers }: Response & { kind: 'forward' },
  ): Promise<Buffer> {
    const { message: question, asker, transport } = incoming
    const result = await this.forwarder.ask({ question, asker, transport, nameservers })
    switch (result.kind) {
      case 'full':
        this.counters.forwardsFull++
        return writeCode(reply, codes.failed)
      case 'failed':
        this.counters.forwardFailed++
        return writeCode(reply, codes.failed)
      case 'answer':
        this.counters.forwarded++
        if (result.bytes.length <= limitOf(transport, reply.edns)) return result.bytes
        this.counters.truncated++
        return writeTruncated(reply)
    }
  }
}
