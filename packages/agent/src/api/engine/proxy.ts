import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Api, Call } from '../call.ts'
import { sendError } from '../reply.ts'
import { compareVersions, engineUnavailable } from './engine-client.ts'

/** Headers that concern one connection only (RFC 9110 section 7.6.1). */
const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/**
 * Passes the request to the local engine and its answer back, both as streams: an image build goes up while its
 * output comes down. Either side's end ends the other; a slow reader slows the writer.
 */
export async function passToEngine(api: Api, call: Call, body?: Buffer): Promise<void> {
  const { req, res } = call
  const upstream = request({
    socketPath: api.engine.socketPath,
    agent: false,
    method: req.method ?? 'GET',
    path: enginePath(api, call),
    // Asked to close, a fast engine answers and closes while the last (empty) write of the request is still to be made,
    // and its answer is lost to an EPIPE. The connection is closed here, after the answer.
    headers: {
      ...withoutHops(req.headers),
      ...(body !== undefined && { 'content-length': String(body.length) }),
      Connection: 'keep-alive',
    },
    signal: call.signal,
  })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    upstream.once('response', resolve)
    upstream.once('error', reject)
  })
  // An upload that the engine cuts short is told by its answer; without an answer, by `answered`.
  upstream.on('error', (error) => call.log.debug({ err: error }, 'a request passed to the engine broke'))
  if (body === undefined) upload(req, upstream)
  else upstream.end(body)
  let answer: IncomingMessage
  try {
    answer = await answered
  } catch (error) {
    if (!call.signal.aborted) sendError(res, 503, engineUnavailable(error).message)
    return
  }
  res.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', withoutHops(answer.headers))
  // `docker logs -f` of a silent container: the client waits for the head before anything is written.
  res.flushHeaders()
  try {
    await pipeline(answer, res)
  } catch (error) {
    if (!call.signal.aborted) call.log.debug({ err: error }, 'the engine ended its answer early')
  }
  upstream.destroy()
}

/** Not `pipeline`: it would destroy the client's connection, over which the engine's refusal is still to be told. */
function upload(req: IncomingMessage, upstream: ClientRequest): void {
  req.pipe(upstream)
  upstream.once('close', () => {
    req.unpipe(upstream)
    req.resume()
  })
}

/** The path with a version that the engine speaks: Engine 20.10 refuses `/v1.50/`. */
export function enginePath(api: Api, call: Pick<Call, 'path' | 'query' | 'version'>): string {
  const newest = api.engine.engineApiVersion()
  const prefix =
    call.version === undefined ? '' : `/v${compareVersions(call.version, newest) > 0 ? newest : call.version}`
  const query = call.query.toString()
  return `${prefix}${call.path}${query === '' ? '' : `?${query}`}`
}

export function withoutHops(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !hopByHop.includes(name)) kept[name] = value
  }
  return kept
}
