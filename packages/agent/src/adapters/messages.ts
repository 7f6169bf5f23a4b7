/** Datagrams over a stream, as DNS has it over TCP: two bytes of length, then the message (RFC 1035, 4.2.2), one after another. */
export class Messages {
  readonly #callback: (message: Buffer) => void
  readonly #maxBytes: number
  #rest: Buffer = Buffer.alloc(0)

  constructor(maxBytes: number, callback: (message: Buffer) => void) {
    this.#maxBytes = maxBytes
    this.#callback = callback
  }

  /** False: what comes next is too long, and is not waited for. */
  push(chunk: Buffer): boolean {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0)
      this.#callback(rest.subarray(2, end))
      rest = rest.subarray(end)
    }
    this.#rest = rest
    return rest.length < 2 || rest.readUInt16BE(0) <= this.#maxBytes
  }
}

export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}
