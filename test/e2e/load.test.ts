import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { beginLoad } from './load-process.ts'
import { load, outageOf, type LoadOptions } from './load.ts'

const servers: (Server | HttpServer)[] = []
const sockets = new Set<Socket>()

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  await Promise.all(servers.splice(0).map((server) => closed(server)))
})

async function closed(server: Server | HttpServer): Promise<void> {
  if (!server.listening) return
  server.close()
  if ('closeAllConnections' in server) server.closeAllConnections()
  await once(server, 'close')
}

async function listening<S extends Server | HttpServer>(server: S, port = 0): Promise<S> {
  servers.push(server)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const portOf = (server: Server | HttpServer): number => (server.address() as AddressInfo).port
const urlOf = (server: Server | HttpServer): string => `http://127.0.0.1:${portOf(server)}/`

/** A server that does this with a connection as soon as something is asked on it. */
function onAsked(misbehave: (socket: Socket, asked: number) => void): Promise<Server> {
  return listening(
    createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      let asked = 0
      socket.on('data', () => misbehave(socket, (asked += 1)))
    }),
  )
}

const whole = 'HTTP/1.1 200 OK\r\nx-replica: one\r\ncontent-length: 2\r\n\r\nok'

function wellBehaved(): Promise<HttpServer> {
  return listening(
    createHttpServer((_, response) => {
      response.setHeader('x-replica', String(response.socket?.localPort)).end('ok')
    }),
  )
}

function options(server: Server | HttpServer, more: Partial<LoadOptions> = {}): LoadOptions {
  return {
    targets: [urlOf(server)],
    connections: 1,
    keepAlive: true,
    requests: 4,
    forMs: 10_000,
    timeoutMs: 200,
    ...more,
  }
}

describe('a failed request is counted with its cause', () => {
  const half = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly so much'
  const misbehaviours: readonly (readonly [string, (socket: Socket) => void])[] = [
    ['reset', (socket) => socket.resetAndDestroy()],
    ['closed without an answer', (socket) => socket.end()],
    ['no answer in time', () => {}],
    ['cut off in the middle', (socket) => socket.end(half)],
    ['stopped in the middle', (socket) => socket.write(half)],
    ['not HTTP', (socket) => socket.end('220 mail.example ESMTP\r\n')],
    ['status 503', (socket) => socket.write('HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno')],
  ]
  for (const [cause, misbehave] of misbehaviours) {
    for (const keepAlive of [true, false]) {
      it(`${cause}, ${keepAlive ? 'connections kept' : 'a connection each'}`, async () => {
        const report = await load(options(await onAsked(misbehave), { keepAlive }))
        expect(report).toMatchObject({ requests: 4, failed: 4, failedBy: { [cause]: 4 } })
        expect(report.failures.map((failure) => failure.cause)).toEqual([cause, cause, cause, cause])
        expect(report.failures.every(({ begunAtMs, failedAtMs }) => begunAtMs <= failedAtMs)).toBe(true)
      })
    }
  }

  it('refused', async () => {
    const server = await wellBehaved()
    const asked = options(server)
    await closed(server)
    expect(await load(asked)).toMatchObject({ failed: 4, failedBy: { refused: 4 } })
  })

  it('and none of the good ones is', async () => {
    const server = await onAsked((socket, asked) =>
      asked % 3 === 0 ? socket.resetAndDestroy() : socket.write(whole),
    )
    const report = await load(options(server, { requests: 9 }))
    expect(report).toMatchObject({ requests: 9, failed: 3, connectionsOpened: 3, answeredBy: { one: 6 } })
    // Each failed on a connection on which that replica had answered.
    expect(report.failures).toMatchObject([
      { cause: 'reset', keptConnection: true, replica: 'one' },
      { cause: 'reset', keptConnection: true, replica: 'one' },
      { cause: 'reset', keptConnection: true, replica: 'one' },
    ])
  })
})

describe('an outage', () => {
  it('of 300 ms is told by the times of its failures', async () => {
    const server = await wellBehaved()
    const port = portOf(server)
    const loading = load(
      options(server, { keepAlive: false, connections: 4, requests: undefined, forMs: 1_500 }),
    )
    await delay(400)
    await closed(server)
    const downAtMs = performance.timeOrigin + performance.now()
    await delay(300)
    await listening(
      createHttpServer((_, response) => response.end('ok')),
      port,
    )
    const upAtMs = performance.timeOrigin + performance.now()
    const report = await loading
    const refused = report.failures.filter(({ cause }) => cause === 'refused')
    const { fromMs = 0, lastedMs = 0 } = outageOf(refused) ?? {}
    expect(Math.abs(fromMs - downAtMs)).toBeLessThan(100)
    expect(Math.abs(lastedMs - (upAtMs - downAtMs))).toBeLessThan(100)
    expect(report.requests).toBeGreaterThan(report.failed)
  })

  it('that did not happen is none', () => {
    expect(outageOf([])).toBeUndefined()
  })

  it('of one of two targets is told as that one’s', async () => {
    const well = await wellBehaved()
    const sick = await onAsked((socket) => socket.resetAndDestroy())
    const report = await load(
      options(well, { targets: [urlOf(well), urlOf(sick)], connections: 4, requests: 40 }),
    )
    expect(new Set(report.failures.map(({ target }) => target))).toEqual(new Set([urlOf(sick)]))
    expect(report.answeredAt).toEqual({ [urlOf(well)]: report.requests - report.failed })
  })
})

describe('connections', () => {
  it('are kept for all requests, or are one for each', async () => {
    const server = await wellBehaved()
    const kept = await load(options(server, { connections: 3, requests: 60 }))
    expect(kept).toMatchObject({ requests: 60, failed: 0, connectionsOpened: 3 })
    const each = await load(options(server, { connections: 3, requests: 60, keepAlive: false }))
    expect(each).toMatchObject({ requests: 60, failed: 0, connectionsOpened: 60 })
  })

  it('that the server ends after an answer cost nothing', async () => {
    const server = await listening(
      createHttpServer((_, response) => response.setHeader('connection', 'close').end('ok')),
    )
    expect(await load(options(server, { requests: 20 }))).toMatchObject({ failed: 0, connectionsOpened: 20 })
  })

  it('go to all targets alike', async () => {
    const targets = (await Promise.all([wellBehaved(), wellBehaved(), wellBehaved()])).map(urlOf)
    const report = await load({
      targets,
      connections: 6,
      keepAlive: true,
      ratePerSecond: 600,
      forMs: 9_000,
      requests: 300,
    })
    expect(report.answeredAt).toEqual(Object.fromEntries(targets.map((target) => [target, 100])))
    expect(Object.values(report.answeredBy)).toEqual([100, 100, 100])
  })
})

describe('a run', () => {
  it('holds its rate, and a request that had to wait for one that stalled is as late as it is', async () => {
    let stalled = false
    const server = await listening(
      createHttpServer((_, response) => {
        const waitMs = stalled ? 0 : 300
        stalled = true
        setTimeout(() => response.end('ok'), waitMs)
      }),
    )
    const report = await load(options(server, { ratePerSecond: 100, requests: 100, timeoutMs: 2_000 }))
    expect(report).toMatchObject({ requests: 100, failed: 0 })
    expect(report.lastedMs).toBeGreaterThan(950)
    // Those that were due during the stall were late, though each was answered at once when it was sent.
    expect(report.latencyMs.max).toBeGreaterThan(290)
    expect(report.latencyMs.p99).toBeGreaterThan(250)
    expect(report.latencyMs.p50).toBeLessThan(200)
  })

  it('ends after its time, or when it is told to, but not before so many were made', async () => {
    const server = await wellBehaved()
    const inTime = await load(options(server, { ratePerSecond: 100, requests: undefined, forMs: 300 }))
    expect(inTime.lastedMs).toBeLessThan(1_000)
    expect(inTime.requests).toBeLessThan(60)
    const stopped = await load(
      options(server, { requests: undefined, atLeastRequests: 150, connections: 2 }),
      AbortSignal.abort(),
    )
    expect(stopped.requests).toBeGreaterThanOrEqual(150)
    expect(stopped.requests).toBeLessThan(155)
  })

  it('in a process of its own is the same, and says why where it cannot begin', async () => {
    const server = await wellBehaved()
    const running = await beginLoad(undefined, options(server, { requests: undefined, atLeastRequests: 50 }))
    const report = await running.stop()
    expect(report.requests).toBeGreaterThanOrEqual(50)
    expect(report).toMatchObject({ failed: 0, connectionsOpened: 1 })
    const nothing = { targets: [], connections: 1, keepAlive: true, forMs: 1 }
    await expect((await beginLoad(undefined, nothing)).report).rejects.toThrow('Load needs a target')
  })
})
