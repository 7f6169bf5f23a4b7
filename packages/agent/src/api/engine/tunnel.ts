import { type IncomingMessage, request, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { sendError } from '../reply.ts'
import { engineUnavailable } from './engine-client.ts'
import { withoutHops } from './proxy.ts'

/** The body of `exec start` and of an attach is a few flags. */
const maxHeadBodyBytes = 64 * 1024

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
  readonly log: Logger
}): Promise<void> {
  const { req, client, log } = options
  client.on('error', (error) => log.debug({ err: error }, 'a hijacked connection broke'))
  const refuse = (status: number, message: string): void => {
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(client as Socket)
    sendError(res, status, message)
    client.end()
  }
  const length = Number(req.headers['content-length'] ?? 0)
  if (req.headers['transfer-encoding'] !== undefined || !(length <= maxHeadBodyBytes)) {
    refuse(
      400,
      `a request that upgrades its connection needs a Content-Length of at most ${maxHeadBodyBytes}`,
    )
    return
  }
  const body = await readExactly(client, options.head, length)
  if (body === undefined) {
    client.destroy()
    return
  }
  const upstream = request({
    method: req.method ?? 'POST',
    path: options.enginePath,
    // Half-close needs a socket that stays open for writing once the engine has finished, and the other way round.
    createConnection: () => connect({ path: options.socketPath, allowHalfOpen: true }),
    headers: {
      ...withoutHops(req.headers),
      Connection: 'Upgrade',
      Upgrade: req.headers.upgrade ?? 'tcp',
      ...(length > 0 ? { 'Content-Length': String(length) } : {}),
    },
  })
  client.once('close', () => upstream.destroy())
  upstream.once('error', (error) => {
    if (client.writable && !upgraded) refuse(503, engineUnavailable(error).message)
  })
  let upgraded = false
  upstream.once('upgrade', (answer, engine, first) => {
    upgraded = true
    client.write(statusLine(answer))
    if (first.length > 0) client.write(first)
    join(client, engine, log)
  })
  // The engine said no (404, 409), or streams without an upgrade: an ordinary answer, then the connection ends.
  upstream.once('response', (answer) => {
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(client as Socket)
    res.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers))
    res.once('finish', () => client.end())
    answer.once('error', () => client.destroy())
    answer.pipe(res)
  })
  upstream.end(body)
}

function join(client: Duplex, engine: Duplex, log: Logger): void {
  engine.on('error', (error) => {
    log.debug({ err: error }, 'the engine broke a hijacked connection')
    client.destroy()
  })
  client.once('close', () => engine.destroy())
  engine.once('close', () => {
    // Both directions have ended, or it broke: what is still buffered for the client goes out first. Nobody is left
    // to hear what the client would still say.
    client.end(() => client.destroy())
  })
  client.pipe(engine)
  engine.pipe(client)
}

function statusLine(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`]
  for (let at = 0; at + 1 < answer.rawHeaders.length; at += 2) {
    lines.push(`${answer.rawHeaders[at]}: ${answer.rawHeaders[at + 1]}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** The first `length` bytes; what came after them is put back. `undefined` = the client went away first. */
async function readExactly(client: Duplex, head: Buffer, length: number): Promise<Buffer | undefined> {
  let bytes = head
  while (bytes.length < length) {
    const chunk = await new Promise<Buffer | undefined>((resolve) => {
      const ended = (): void => resolve(undefined)
      client.once('close', ended)
      client.once('data', (data: Buffer) => {
        client.pause()
        client.off('close', ended)
        resolve(data)
      })
    })
    if (chunk === undefined) return undefined
    bytes = Buffer.concat([bytes, chunk])
  }
  if (bytes.length > length) client.unshift(bytes.subarray(length))
  return bytes.subarray(0, length)
}
