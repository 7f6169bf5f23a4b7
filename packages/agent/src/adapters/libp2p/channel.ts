import type { Stream } from '@libp2p/interface'
import { MessageTooLargeError } from '../../ports/mesh.errors.ts'
import type { ByteStream } from '../../ports/mesh.ts'

const lengthBytes = 4

/** A rejection inside libp2p may be an event (`StreamCloseEvent`) and not an error. */
export function toError(reason: unknown, otherwise: string): Error {
  if (reason instanceof Error) return reason
  const inner = (reason as { readonly error?: unknown } | undefined)?.error
  return inner instanceof Error ? inner : new Error(otherwise)
}

/**
 * One libp2p stream with back-pressure both ways, read as bytes or as length-prefixed frames. libp2p's own iterator
 * queues without a bound and its `onDrain` waits only once, so this listens to the events itself.
 */
export class Channel implements ByteStream {
  readonly stream: Stream
  readonly source: AsyncIterable<Uint8Array>
  readonly #bufferBytes: number
  #chunks: Uint8Array[] = []
  #bytes = 0
  #state: { kind: 'open' } | { kind: 'ended' } | { kind: 'failed'; error: Error } = { kind: 'open' }
  /** The other side said that it has finished; without this an end is a broken connection. */
  #finished: boolean
  #wake: (() => void) | undefined

  constructor(stream: Stream, bufferBytes: number) {
    this.stream = stream
    this.#bufferBytes = bufferBytes
    this.source = this.#read()
    this.#finished = stream.remoteWriteStatus === 'closed' && stream.status !== 'aborted'
    stream.addEventListener('message', (event) => this.#received(event.data.subarray()))
    stream.addEventListener('remoteCloseWrite', () => {
      this.#finished = true
    })
    stream.addEventListener('end', () => this.#end())
    stream.addEventListener('close', (event) => {
      if (event.error === undefined) this.#end()
      else this.#fail(event.error)
    })
    if (stream.readableEnded) this.#end()
  }

  #received(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes >= this.#bufferBytes && this.stream.readStatus === 'readable') this.stream.pause()
    this.#wake?.()
  }
  #end(): void {
    // Paused bytes are still to come: `end` follows once they are read.
    if (this.#state.kind !== 'open' || this.stream.readBufferLength > 0) return
    if (this.#finished) this.#state = { kind: 'ended' }
    else this.#state = { kind: 'failed', error: new Error('the connection broke') }
    this.#wake?.()
  }
  #fail(error: Error): void {
    if (this.#state.kind !== 'open') return
    // What arrived whole before is still read: an answer may stand in front of the reset.
    this.#state = { kind: 'failed', error }
    this.#wake?.()
  }
  #resume(): void {
    if (this.stream.readStatus !== 'paused' || this.#bytes >= this.#bufferBytes / 2) return
    try {
      this.stream.resume()
    } catch (error) {
      this.#fail(toError(error, 'the connection broke'))
    }
  }

  /** The next bytes; undefined at the end. One reader at a time. */
  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.length
        this.#resume()
        return chunk
      }
      if (this.#state.kind === 'failed') throw this.#state.error
      if (this.#state.kind === 'ended') return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = await this.#next()
      if (chunk === undefined) return
      yield chunk
    }
  }

  async #exactly(count: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = []
    let have = 0
    while (have < count) {
      const chunk = await this.#next()
      if (chunk === undefined) {
        if (have === 0) return undefined
        throw new Error('the stream ended in the middle of a frame')
      }
      const part = chunk.subarray(0, count - have)
      parts.push(part)
      have += part.length
      if (part.length < chunk.length) {
        this.#chunks.unshift(chunk.subarray(part.length))
        this.#bytes += chunk.length - part.length
      }
    }
    const only = parts.length === 1 ? parts[0] : undefined
    return only ?? Buffer.concat(parts)
  }

  /** One length-prefixed frame; undefined at the end. A longer one is refused before it is read. */
  async readFrame(what: string, maxBytes: number): Promise<Uint8Array | undefined> {
    const head = await this.#exactly(lengthBytes)
    if (head === undefined) return undefined
    const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
    if (length > maxBytes) throw new MessageTooLargeError(what, length, maxBytes)
    if (length === 0) return new Uint8Array()
    const body = await this.#exactly(length)
    if (body === undefined) throw new Error('the stream ended in the middle of a frame')
    return body
  }

  writeFrame(...parts: readonly Uint8Array[]): Promise<void> {
    const head = Buffer.alloc(lengthBytes)
    head.writeUInt32BE(parts.reduce((sum, part) => sum + part.length, 0))
    return this.write(Buffer.concat([head, ...parts]))
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#throwFailure()
    if (chunk.length === 0) return
    this.stream.send(chunk)
    while (this.stream.writeBufferLength > 0) await this.#drained()
    this.#throwFailure()
  }
  #throwFailure(): void {
    if (this.#state.kind === 'failed') throw this.#state.error
  }
  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = (): void => {
        this.stream.removeEventListener('drain', drained)
        this.stream.removeEventListener('idle', drained)
        this.stream.removeEventListener('close', closed)
      }
      const drained = (): void => {
        off()
        resolve()
      }
      const closed = (event: unknown): void => {
        off()
        reject(toError(event, 'the connection broke'))
      }
      this.stream.addEventListener('drain', drained)
      this.stream.addEventListener('idle', drained)
      this.stream.addEventListener('close', closed)
    })
  }

  async closeWrite(): Promise<void> {
    try {
      await this.stream.close()
    } catch (error) {
      throw toError(error, 'the connection broke')
    }
  }
  abort(error: Error): void {
    this.#fail(error)
    this.#chunks = []
    this.#bytes = 0
    this.stream.abort(error)
  }
}

/** Rejects with the signal's reason as soon as it aborts; then `onAbort` frees what the work holds. */
export async function within<T>(work: Promise<T>, signal: AbortSignal, onAbort: () => void): Promise<T> {
  let aborted: () => void = () => undefined
  const abort = new Promise<never>((_, reject) => {
    aborted = () => {
      onAbort()
      reject(toError(signal.reason, 'aborted'))
    }
    if (signal.aborted) aborted()
    else signal.addEventListener('abort', aborted, { once: true })
  })
  try {
    return await Promise.race([work, abort])
  } finally {
    signal.removeEventListener('abort', aborted)
    // Whichever lost the race must not become an unhandled rejection.
    work.catch(() => undefined)
    abort.catch(() => undefined)
  }
}
