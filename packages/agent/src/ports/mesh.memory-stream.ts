import type { ByteStream } from './mesh.ts'

/** What one direction of a stream holds before its writer waits: like a socket's send buffer. */
export const memoryStreamBufferBytes = 64 * 1024

/** One direction: chunks in order, a bounded buffer, an end or an error. */
class Pipe {
  #chunks: Uint8Array[] = []
  #bytes = 0
  #ended = false
  #error: Error | undefined
  #wake: (() => void)[] = []

  #wakeAll(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
  #changed(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    if (this.#ended) throw new Error('write after closeWrite')
    if (chunk.length === 0) return
    this.#chunks.push(chunk.slice())
    this.#bytes += chunk.length
    this.#wakeAll()
    while (this.#bytes > memoryStreamBufferBytes && this.#error === undefined) await this.#changed()
    if (this.#error !== undefined) throw this.#error
  }

  end(): void {
    this.#ended = true
    this.#wakeAll()
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#chunks = []
    this.#bytes = 0
    this.#wakeAll()
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.length
        this.#wakeAll()
        yield chunk
      } else if (this.#ended) return
      else await this.#changed()
    }
  }
}

export interface MemoryStreamPair {
  readonly near: ByteStream
  readonly far: ByteStream
  /** The connection under it broke. */
  fail(error: Error): void
}

/** Both ends of one stream, with half-close and back-pressure. */
export function memoryStreamPair(): MemoryStreamPair {
  const there = new Pipe()
  const back = new Pipe()
  const fail = (error: Error): void => {
    there.fail(error)
    back.fail(error)
  }
  const end = (out: Pipe, into: Pipe): ByteStream => ({
    source: into.read(),
    write: (chunk) => out.write(chunk),
    closeWrite: () => {
      out.end()
      return Promise.resolve()
    },
    abort: fail,
  })
  return { near: end(there, back), far: end(back, there), fail }
}
