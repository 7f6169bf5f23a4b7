import { type IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { sendError } from '../reply.ts'
import { engineUnavailable } from './engine-client.ts'

/** The body of `exec start` and of an attach is a few flags. */
const maxHeadBodyBytes = 64 * 1024
const maxAnswerHeadBytes = 64 * 1024
const headEnd = Buffer.from('\r\n\r\n')

/**
 * Docker's hijacked streams (attach, exec, BuildKit sessions): the connection stops being HTTP and carries bytes both
 * ways. Each direction ends by itself: `echo x | docker run -i cat` ends its input and still wants the output.
 * Libraries upgrade only GET to a websocket; Docker's is a POST to `tcp` (moby `api/server/router/container`).
 */
export async function tunnelToEngine(options: {
  readonly req: IncomingMessage
  readonly client: Duplex
  /** Bytes that arrived behind the request's head: its body first. */
  readonly head: Buffer
  readonly enginePath: string
  readonly socketPath: string
  /** How long a client may go on talking to an engine that has finished. */
  readonly lingerMs: number
  readonly log: Logger
}): Promise<void> {
  const { req, client, log } = options
  client.on('error', (error) => log.debug({ err: error }, 'a hijacked connection broke'))
  const length = Number(req.headers['content-length'] ?? 0)
  if (req.headers['transfer-encoding'] !== undefined || !(length <= maxHeadBodyBytes)) {
    const limit = `a request that upgrades its connection needs a Content-Length of at most ${maxHeadBodyBytes}`
    return refuse(req, client, 400, limit)
  }
  const body = await readExactly(client, options.head, length)
  if (body === undefined) {
    client.destroy()
    return undefined
  }
  const engine = new EngineSocket({ allowHalfOpen: true })
  client.once('close', () => engine.destroy())
  engine.connect({ path: options.socketPath })
  engine.write(Buffer.concat([requestHead(req, options.enginePath), body]))
  let answer: AnswerHead
  try {
    answer = await readAnswerHead(engine)
  } catch (error) {
    engine.destroy()
    return refuse(req, client, 503, engineUnavailable(error).message)
  }
  join(client, engine, answer, options)
  return undefined
}

/**
 * Input that a finished process no longer takes is dropped, as Docker's CLI does; failing on it would throw away the
 * output that is still to be read.
 */
class EngineSocket extends Socket {
  override _write(chunk: unknown, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // oxlint-disable-next-line no-underscore-dangle -- Node's own name for what a stream overrides
    super._write(chunk, encoding, (error) => done(this.#withoutRefusal(error)))
  }
  override _writev(
    chunks: { chunk: unknown; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    // oxlint-disable-next-line no-underscore-dangle -- as above
    super._writev?.(chunks, (error) => done(this.#withoutRefusal(error)))
  }

  /** Input that is refused means that only output is still to come: after that, the connection is over. */
  #withoutRefusal(error: Error | null | undefined): Error | null {
    const code = error !== null && error !== undefined && 'code' in error ? error.code : undefined
    if (code !== 'EPIPE' && code !== 'ECONNRESET') return error ?? null
    if (this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
    return null
  }
}

function refuse(req: IncomingMessage, client: Duplex, status: number, message: string): void {
  if (!client.writable) return
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(client as Socket)
  res.once('finish', () => client.end(() => client.destroy()))
  sendError(res, status, message)
}

function requestHead(req: IncomingMessage, path: string): Buffer {
  const lines = [`${req.method} ${path} HTTP/1.1`]
  for (let at = 0; at + 1 < req.rawHeaders.length; at += 2) {
    lines.push(`${req.rawHeaders[at]}: ${req.rawHeaders[at + 1]}`)
  }
  // The parser gives header values as Latin-1; so they go on.
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}

interface AnswerHead {
  readonly lines: readonly string[]
  readonly hijacked: boolean
  /** What came behind the head. */
  readonly rest: Buffer
}

function readAnswerHead(engine: Socket): Promise<AnswerHead> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0)
    const settle = (): void => {
      engine.pause()
      engine.off('data', read)
      engine.off('error', reject)
      engine.off('end', ended)
    }
    const ended = (): void => reject(new Error('it closed the connection without an answer'))
    const read = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const end = bytes.indexOf(headEnd)
      if (end < 0) {
        if (bytes.length > maxAnswerHeadBytes) reject(new Error("its answer's head is too long"))
        return
      }
      settle()
      const lines = bytes.subarray(0, end).toString('latin1').split('\r\n')
      const status = Number(lines[0]?.split(' ')[1])
      const stream = lines.some((line) => /^content-type:\s*application\/vnd\.docker\./i.test(line))
      resolve({
        lines,
        hijacked: status === 101 || (status === 200 && stream),
        rest: bytes.subarray(end + headEnd.length),
      })
    }
    engine.on('data', read)
    engine.once('error', reject)
    engine.once('end', ended)
  })
}

function join(
  client: Duplex,
  engine: Socket,
  answer: AnswerHead,
  { log, lingerMs }: { readonly log: Logger; readonly lingerMs: number },
): void {
  engine.on('error', (error) => log.debug({ err: error }, 'the engine broke a hijacked connection'))
  engine.once('close', () => linger(client, lingerMs))
  const lines = answer.hijacked
    ? answer.lines
    : [...answer.lines.filter((line) => !/^connection:/i.test(line)), 'Connection: close']
  client.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
  if (answer.rest.length > 0) client.write(answer.rest)
  engine.pipe(client)
  if (answer.hijacked) client.pipe(engine)
  else endAfterAnswer(engine, answer)
}

/**
 * The engine is gone. What is buffered for the client goes out, and what it still says is dropped for a while: closed
 * at once, its next write would fail, and with it the reading of what we sent.
 */
function linger(client: Duplex, lingerMs: number): void {
  const timer = setTimeout(() => client.destroy(), lingerMs)
  client.once('close', () => clearTimeout(timer))
  client.once('end', () => client.end(() => client.destroy()))
  client.end()
  client.resume()
}

/** An ordinary answer ends where it says; one that does not say, when the engine closes for want of another request. */
function endAfterAnswer(engine: Socket, answer: AnswerHead): void {
  const [, text] = /^content-length:\s*(\d+)$/im.exec(answer.lines.join('\n')) ?? []
  let left = text === undefined ? Infinity : Number(text) - answer.rest.length
  engine.end()
  if (left <= 0) engine.destroy()
  engine.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left <= 0) engine.destroy()
  })
}

/** The first `length` bytes; what came after them is put back. `undefined` = the client went away first. */
async function readExactly(client: Duplex, head: Buffer, length: number): Promise<Buffer | undefined> {
  let bytes = head
  while (bytes.length < length) {
    const chunk = await new Promise<Buffer | undefined>((resolve) => {
      const ended = (): void => resolve(undefined)
      client.once('close', ended)
      client.once('end', ended)
      client.once('data', (data: Buffer) => {
        client.pause()
        client.off('close', ended)
        client.off('end', ended)
        resolve(data)
      })
    })
    if (chunk === undefined) return undefined
    bytes = Buffer.concat([bytes, chunk])
  }
  if (bytes.length > length) client.unshift(bytes.subarray(length))
  return bytes.subarray(0, length)
}
