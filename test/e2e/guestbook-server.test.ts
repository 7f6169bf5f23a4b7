import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { repository } from '../../scripts/bed/place.ts'
import { waitUntil } from '../../scripts/bed/shell.ts'
import { type Failure, load } from './load.ts'

const program = join(repository, 'examples/guestbook/web/server.mjs')

/** As much of a Redis as the guestbook asks for. The real one is in guestbook.test.ts. */
class SmallRedis {
  readonly server: Server
  readonly #sockets = new Set<Socket>()
  #entries: string[] = []
  #count = 0
  waitMs = 0
  #isAsked = (): void => undefined

  nextQuestion(): Promise<void> {
    return new Promise((resolve) => (this.#isAsked = resolve))
  }

  constructor() {
    this.server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      // One after the other: answers come in the order of the questions.
      let answered = Promise.resolve()
      socket.on('data', (part) => {
        answered = answered.then(() => this.#answer(socket, part.toString()))
      })
    })
  }

  async start(port = 0): Promise<number> {
    this.server.listen(port, '127.0.0.1')
    await once(this.server, 'listening')
    return (this.server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(this.server, 'close')
  }

  async #answer(socket: Socket, text: string): Promise<void> {
    this.#isAsked()
    // Small questions come whole; several may come at once.
    const questions = text
      .split(/(?=\*\d+\r\n\$)/)
      .map((one) => one.split('\r\n').filter((_, i) => i % 2 === 0))
    const replies = questions.map(([, name = '', ...words]) => this.#reply(name, words)).join('')
    if (this.waitMs > 0) await delay(this.waitMs)
    // In two pieces, at a place that is no reply's end.
    socket.write(replies.slice(0, 3))
    await delay(1)
    socket.write(replies.slice(3))
  }

  #reply(name: string, words: readonly string[]): string {
    switch (name) {
      case 'PING':
        return '+PONG\r\n'
      case 'LPUSH':
        return `:${this.#entries.unshift(words[1] ?? '')}\r\n`
      case 'LTRIM':
        this.#entries = this.#entries.slice(0, Number(words[2]) + 1)
        return '+OK\r\n'
      case 'INCR':
        return `:${(this.#count += 1)}\r\n`
      case 'GET':
        return this.#count === 0 ? '$-1\r\n' : bulk(String(this.#count))
      case 'LRANGE': {
        const shown = this.#entries.slice(0, Number(words[2]) + 1)
        return `*${shown.length}\r\n${shown.map(bulk).join('')}`
      }
      default:
        return `-ERR unknown command '${name}'\r\n`
    }
  }
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`
}

const running: { stop: () => Promise<unknown> }[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop()))
})

async function startRedis(): Promise<{ redis: SmallRedis; redisPort: number }> {
  const redis = new SmallRedis()
  running.push(redis)
  return { redis, redisPort: await redis.start() }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

interface Web {
  readonly url: string
  readonly child: ChildProcess
  readonly exited: Promise<unknown[]>
}

async function startWeb(redisPort: number, replica = '1'): Promise<Web> {
  const port = await freePort()
  const own = { PORT: String(port), REDIS_PORT: String(redisPort), REDIS_HOST: '127.0.0.1' }
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, ...own, REPLICA: replica },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  running.push({
    stop: () => {
      child.kill('SIGKILL')
      return exited
    },
  })
  await waitUntil('the guestbook listens', async () => (await once(child.stdout, 'data')).length > 0, {
    timeoutMs: 10_000,
  })
  return { url: `http://127.0.0.1:${port}`, child, exited }
}

interface Book {
  readonly replica: string
  readonly count: number
  readonly client: { readonly address: string; readonly port: number }
  readonly entries: readonly { readonly name: string; readonly text: string; readonly by: string }[]
}

const bookAt = async ({ url }: Web): Promise<Book> => (await fetch(`${url}/api`)).json() as Promise<Book>

function sign({ url }: Web, entry: { name: string; text: string }): Promise<Response> {
  return fetch(`${url}/`, { method: 'POST', body: new URLSearchParams(entry), redirect: 'manual' })
}

describe('the guestbook’s web server', () => {
  it('shows through each replica what was written through another, and who asks', async () => {
    const { redisPort } = await startRedis()
    const [one, two] = await Promise.all([startWeb(redisPort, '1'), startWeb(redisPort, '2')])
    expect(await bookAt(one)).toMatchObject({ replica: '1', entries: [], count: 0 })
    expect((await sign(one, { name: 'Ada', text: 'Grüße & <b>more</b> 🙂' })).status).toBe(303)
    const book = await bookAt(two)
    expect(book).toMatchObject({
      replica: '2',
      count: 1,
      client: { address: '127.0.0.1' },
      entries: [{ name: 'Ada', text: 'Grüße & <b>more</b> 🙂', by: '1' }],
    })
    const page = await (await fetch(two.url)).text()
    expect(page).toContain('Grüße &amp; &lt;b&gt;more&lt;/b&gt; 🙂')
    expect(page).not.toContain('<b>more')
  })

  it('is healthy while Redis answers, and again as soon as it is back', async () => {
    const { redis, redisPort } = await startRedis()
    const web = await startWeb(redisPort)
    const health = async (): Promise<number> => (await fetch(`${web.url}/healthz`)).status
    expect(await health()).toBe(200)
    await redis.stop()
    expect(await health()).toBe(503)
    const page = await fetch(web.url)
    expect(page.status).toBe(503)
    expect(await page.text()).toContain('The book cannot be opened')
    await redis.start(redisPort)
    expect(await health()).toBe(200)
    redis.waitMs = 1_500
    expect(await health()).toBe(503)
  })

  it('reads what has come while it stood still before it takes it for no answer', async () => {
    const { redis, redisPort } = await startRedis()
    const web = await startWeb(redisPort)
    await bookAt(web)
    const isAsked = redis.nextQuestion()
    const book = bookAt(web)
    await isAsked
    web.child.kill('SIGSTOP')
    // Longer than it waits for an answer.
    await delay(1_500)
    web.child.kill('SIGCONT')
    expect(await book).toMatchObject({ count: 0 })
  })

  it('answers in full what is under way when it is told to stop, then ends', async () => {
    const { redis, redisPort } = await startRedis()
    redis.waitMs = 400
    const web = await startWeb(redisPort)
    const answered = new Promise<{ connection: string | undefined; text: string }>((resolve, reject) => {
      const message = httpRequest(`${web.url}/api`, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.on('end', () => resolve({ connection: response.headers.connection, text }))
      })
      message.on('error', reject)
      message.end()
    })
    await delay(100)
    web.child.kill('SIGTERM')
    const { connection, text } = await answered
    expect(connection).toBe('close')
    expect(JSON.parse(text)).toMatchObject({ count: 0 })
    expect(await web.exited).toEqual([0, null])
  })

  it('answers once more on a connection that was idle when it was told to stop, and says that it was the last', async () => {
    const { redisPort } = await startRedis()
    const web = await startWeb(redisPort)
    const socket = connect(Number(new URL(web.url).port), '127.0.0.1')
    let received = ''
    socket.setEncoding('utf8').on('data', (part: string) => (received += part))
    const ask = async (): Promise<string> => {
      received = ''
      socket.write('GET /healthz HTTP/1.1\r\nhost: guestbook\r\n\r\n')
      return waitUntil('an answer', async () => received.endsWith('ok\n') && received, { timeoutMs: 3_000 })
    }
    expect(await ask()).toMatch(/connection: keep-alive/i)
    web.child.kill('SIGTERM')
    await delay(700)
    const ended = once(socket, 'end')
    expect(await ask()).toMatch(/connection: close/i)
    await ended
    expect(await web.exited).toEqual([0, null])
  })

  it('loses no request on a connection that it has taken when it is stopped under load', async () => {
    const { redisPort } = await startRedis()
    for (const keepAlive of [true, false]) {
      const web = await startWeb(redisPort)
      const connections = 20
      const loading = load({ targets: [`${web.url}/api`], connections, keepAlive, forMs: 1_800 })
      await delay(500)
      web.child.kill('SIGTERM')
      const { failures, requests, failed } = await loading
      // Who comes when it no longer listens is refused, or reset by the kernel where it had not been taken yet: a balancer has stopped sending by then.
      const comesLate = ({ cause, keptConnection }: Failure): boolean =>
        cause === 'refused' || (cause === 'reset' && !keptConnection)
      expect(failures.filter((failure) => !comesLate(failure))).toEqual([])
      // All of them may be in the kernel's queue in that moment, and each only once: from then on they are refused.
      expect(failures.filter(({ cause }) => cause === 'reset').length).toBeLessThanOrEqual(connections)
      expect(requests - failed).toBeGreaterThan(200)
      expect(await web.exited).toEqual([0, null])
    }
  })
})
