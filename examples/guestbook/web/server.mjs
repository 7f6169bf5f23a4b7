// The guestbook's web tier. Any number of these serve the same book, for all of it is in Redis, which they find by name.
import { createServer } from 'node:http'
import { Server as NetServer } from 'node:net'
import { hostname } from 'node:os'
import { page } from './page.mjs'
import { Redis } from './redis.mjs'

const port = Number(process.env.PORT ?? 8000)
const redis = new Redis(process.env.REDIS_HOST ?? 'redis', Number(process.env.REDIS_PORT ?? 6379))
const self = {
  version: process.env.VERSION ?? '1',
  hue: Number(process.env.HUE ?? 250),
  container: hostname(),
  replica: process.env.REPLICA ?? '',
  node: process.env.NODE ?? '',
}

const shownMax = 20
const keptMax = 1_000
const bodyMaxBytes = 4_096
/** Less than the stack's stop_grace_period, after which the rest is killed. */
const leaveWithinMs = 8_000
const stillAcceptMs = 500

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

async function book() {
  const [entries, count] = await Promise.all([
    redis.ask('LRANGE', 'entries', 0, shownMax - 1),
    redis.ask('GET', 'count'),
  ])
  return { entries: entries.map((entry) => JSON.parse(entry)), count: Number(count ?? 0) }
}

async function sign({ name, text }) {
  const words = String(text ?? '').trim()
  if (words === '') throw new Refused(400, 'Nothing is written there yet: send a `text`.')
  const entry = {
    name:
      String(name ?? '')
        .trim()
        .slice(0, 40) || 'Somebody',
    text: words.slice(0, 280),
    at: new Date().toISOString(),
    by: self.replica || self.container,
  }
  await Promise.all([
    redis.ask('LPUSH', 'entries', JSON.stringify(entry)),
    redis.ask('LTRIM', 'entries', 0, keptMax - 1),
    redis.ask('INCR', 'count'),
  ])
  return entry
}

async function bodyOf(request) {
  let text = ''
  request.setEncoding('utf8')
  for await (const part of request) {
    text += part
    if (text.length > bodyMaxBytes) throw new Refused(413, `At most ${bodyMaxBytes} bytes.`)
  }
  if (request.headers['content-type']?.includes('json') !== true) {
    return Object.fromEntries(new URLSearchParams(text))
  }
  try {
    return JSON.parse(text) ?? {}
  } catch (error) {
    throw new Refused(400, error.message)
  }
}

/** Of the connection itself, not of a header that anybody could write: nobody stands between, so it is the client's. */
function clientOf({ socket }) {
  return { address: socket.remoteAddress?.replace(/^::ffff:/, '') ?? '', port: socket.remotePort }
}

const json = { 'content-type': 'application/json' }
const text = { 'content-type': 'text/plain; charset=utf-8' }
const html = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'self'",
  // Connections are shared out, not requests: with a new one each time a reload shows who else answers.
  connection: 'close',
}

async function answer(request) {
  const client = clientOf(request)
  switch (`${request.method} ${request.url.split('?')[0]}`) {
    case 'GET /':
    case 'HEAD /': {
      const told = await book().catch((error) => ({ entries: [], count: 0, trouble: error.message }))
      return [told.trouble === undefined ? 200 : 503, html, page({ ...told, self, client, now: Date.now() })]
    }
    case 'POST /':
      await sign(await bodyOf(request))
      return [303, { location: '/', connection: 'close' }, '']
    case 'GET /api':
      return [200, json, `${JSON.stringify({ ...self, client, ...(await book()) })}\n`]
    case 'POST /api':
      return [201, json, `${JSON.stringify(await sign(await bodyOf(request)))}\n`]
    case 'GET /healthz':
      await redis.ask('PING')
      return [200, text, 'ok\n']
    default:
      throw new Refused(404, 'There are /, /api and /healthz.')
  }
}

let leaving = false

const server = createServer(async (request, response) => {
  const [status, headers, body] = await answer(request).catch((error) => [
    error.status ?? 503,
    text,
    `${error.message}\n`,
  ])
  response.writeHead(status, {
    'x-replica': self.container,
    'content-length': Buffer.byteLength(body),
    ...headers,
    ...(leaving ? { connection: 'close' } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
})

/**
 * Nobody's request is lost. Connections that were on their way are still taken for a moment; what is being answered is
 * answered in full; whoever keeps a connection is told with their next answer that it was the last on it. Closing the
 * idle ones instead, as http's own close() does, could meet a request that is on its way: they end by their own time
 * limit (5 s, Node's default). Then nothing is left to do, and this process ends.
 */
function leave(signal) {
  if (leaving) return
  leaving = true
  log(`${signal}: finishing what is open`)
  setTimeout(() => NetServer.prototype.close.call(server), stillAcceptMs)
  setTimeout(() => server.closeAllConnections(), leaveWithinMs).unref()
}

server.on('close', () => {
  redis.close()
  log('All is served')
})

function log(line) {
  process.stdout.write(`${line}\n`)
}

server.listen(port, () => log(`Guestbook ${self.version} in ${self.container}: listening on port ${port}`))
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, leave)
