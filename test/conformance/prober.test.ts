import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { networkProber } from '../../packages/agent/src/adapters/prober.ts'
import type { HealthCheck, ProbeAnswer } from '../../packages/agent/src/core/health/probe.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import { type Listener, memoryProber } from '../../packages/agent/src/ports/prober.memory.ts'
import type { Prober } from '../../packages/agent/src/ports/prober.ts'

interface ProberBed {
  readonly prober: Prober
  /** Something that listens so at 127.0.0.1; its port. */
  listen(listener: Listener): Promise<number>
  /** Lets time pass while a question is under way. */
  during<T>(work: Promise<T>): Promise<T>
  close(): Promise<void>
}

const timeoutMs = 300

function memoryBed(): ProberBed {
  const clock = memoryClock()
  const listeners: Listener[] = []
  return {
    prober: memoryProber(clock, (address, { port }) => {
      expect(address).toBe('127.0.0.1')
      return listeners[port - 1] ?? { kind: 'refuses' }
    }),
    listen(listener) {
      listeners.push(listener)
      return Promise.resolve(listeners.length)
    },
    async during(work) {
      await clock.advance(2 * timeoutMs)
      return work
    },
    close: () => Promise.resolve(),
  }
}

const open: (Server | HttpServer)[] = []
const sockets = new Set<Socket>()

async function portOf(server: Server | HttpServer): Promise<number> {
  open.push(server)
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

async function closeAll(): Promise<void> {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  for (const server of open.splice(0)) {
    await new Promise((resolve) => {
      server.close(resolve)
    })
  }
}

function networkBed(): ProberBed {
  return {
    prober: networkProber(defaults),
    async listen(listener) {
      switch (listener.kind) {
        case 'refuses': {
          const port = await portOf(createServer())
          await closeAll()
          return port
        }
        case 'silent':
          return portOf(createServer((socket) => socket.on('error', () => undefined)))
        case 'answers':
          return portOf(
            createHttpServer((_request, response) => {
              setTimeout(() => response.writeHead(listener.status).end('a body'), listener.afterMs ?? 0)
            }),
          )
      }
    },
    during: (work) => work,
    close: closeAll,
  }
}

const http = (port: number): HealthCheck => ({ kind: 'http', port, path: '/ready' })
const tcp = (port: number): HealthCheck => ({ kind: 'tcp', port })

describe.each([
  ['in memory', memoryBed],
  ['over the network', networkBed],
])('a prober: %s', (_, bedOf) => {
  let bed: ProberBed | undefined
  afterEach(() => bed?.close())

  const ask = async (
    listener: Listener,
    checkOf: (port: number) => HealthCheck,
    signal = new AbortController().signal,
  ): Promise<ProbeAnswer & { readonly port: number }> => {
    bed = bedOf()
    const port = await bed.listen(listener)
    const question = { address: '127.0.0.1', check: checkOf(port), timeoutMs }
    return { ...(await bed.during(bed.prober.probe(question, signal))), port }
  }

  it.each([200, 204, 301, 399])('HTTP passes with status %i', async (status) => {
    expect(await ask({ kind: 'answers', status }, http)).toMatchObject({ kind: 'passed' })
  })

  it.each([400, 404, 500, 503])('HTTP fails with status %i, and says so', async (status) => {
    const answer = await ask({ kind: 'answers', status }, http)
    expect(answer).toMatchObject({ kind: 'failed', why: `GET :${answer.port}/ready → ${status}` })
  })

  it('a connection that is accepted passes TCP, whatever is said on it', async () => {
    expect(await ask({ kind: 'silent' }, tcp)).toMatchObject({ kind: 'passed' })
    expect(await ask({ kind: 'answers', status: 503 }, tcp)).toMatchObject({ kind: 'passed' })
  })

  it('where nobody listens it is refused', async () => {
    const answer = await ask({ kind: 'refuses' }, http)
    expect(answer).toMatchObject({ kind: 'failed', why: `GET :${answer.port}/ready → connection refused` })
    const other = await ask({ kind: 'refuses' }, tcp)
    expect(other).toMatchObject({ kind: 'failed', why: `TCP :${other.port} → connection refused` })
  })

  it('whoever says nothing in time has failed', async () => {
    const answer = await ask({ kind: 'silent' }, http)
    expect(answer).toMatchObject({
      kind: 'failed',
      why: `GET :${answer.port}/ready → no answer within ${timeoutMs} ms`,
    })
  })

  it('an answer that takes a while is an answer', async () => {
    expect(await ask({ kind: 'answers', status: 200, afterMs: 50 }, http)).toMatchObject({ kind: 'passed' })
  })

  it('a question that nobody wants an answer to any more rejects', async () => {
    bed = bedOf()
    const abort = new AbortController()
    const check = http(await bed.listen({ kind: 'silent' }))
    const asked = bed.prober.probe({ address: '127.0.0.1', check, timeoutMs }, abort.signal)
    abort.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
  })
})

describe('over the network', () => {
  afterEach(closeAll)
  const prober = networkProber({ healthBodyMaxBytes: 10_000, healthBodyTimeoutMs: 100 })
  const { signal } = new AbortController()
  const ask = (port: number, path = '/', ms = timeoutMs): Promise<ProbeAnswer> =>
    prober.probe({ address: '127.0.0.1', check: { kind: 'http', port, path }, timeoutMs: ms }, signal)

  it('no redirect is followed, and each question has a connection of its own', async () => {
    const asked: (string | undefined)[] = []
    let connections = 0
    const server = createHttpServer((request, response) => {
      asked.push(request.url)
      response.writeHead(302, { Location: '/elsewhere' }).end()
    })
    server.on('connection', () => {
      connections += 1
    })
    const port = await portOf(server)
    expect(await ask(port, '/first?a=%20b')).toEqual({ kind: 'passed' })
    expect(await ask(port, '/second')).toEqual({ kind: 'passed' })
    expect(asked).toEqual(['/first?a=%20b', '/second'])
    expect(connections).toBe(2)
  })

  it('a body without an end is not read to its end', async () => {
    let sent = 0
    const server = createHttpServer((_request, response) => {
      const pump = (): void => {
        while (!response.destroyed && sent < 1e9 && response.write(Buffer.alloc(1_000))) sent += 1_000
      }
      response.on('drain', pump)
      pump()
    })
    expect(await ask(await portOf(server))).toEqual({ kind: 'passed' })
    expect(sent).toBeLessThan(100e6)
  })

  it('a body that never ends is not waited for, and its status counts', async () => {
    const server = createHttpServer((_request, response) => {
      response.writeHead(503).write('wait')
    })
    const port = await portOf(server)
    expect(await ask(port, '/', 20_000)).toEqual({ kind: 'failed', why: `GET :${port}/ → 503` })
  })

  it.each([
    ['speaks no HTTP', 'SSH-2.0-OpenSSH\r\n'],
    ['hangs up', ''],
    ['switches protocols', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
  ])('whoever %s has failed', async (_, words) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(words))
    })
    const port = await portOf(server)
    expect(await ask(port)).toMatchObject({
      kind: 'failed',
      why: expect.stringContaining(`GET :${port}/ → `),
    })
  })
})
