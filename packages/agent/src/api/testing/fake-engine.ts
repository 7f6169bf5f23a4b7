import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** A pretended Docker engine (API 1.41) on a unix socket, for tests of what is passed through. */
export interface FakeEngine {
  readonly socketPath: string
  /** `METHOD path` of every request. */
  readonly requests: readonly string[]
  /** Answers before the built-in ones; `false` = not mine. */
  answer: (req: IncomingMessage, res: ServerResponse) => boolean
  upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void
  sockets(): number
  stop(): Promise<void>
}

const localNetworks = [
  { Name: 'bridge', Id: 'f'.repeat(64), Created: '2026-01-01T00:00:00Z', Scope: 'local', Driver: 'bridge' },
]

export async function startFakeEngine(socketPath: string): Promise<FakeEngine> {
  const requests: string[] = []
  const open = new Set<Duplex>()
  const server = createServer((req, res) => {
    requests.push(`${req.method} ${req.url}`)
    if (!engine.answer(req, res)) builtIn(req, res)
  })
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  server.on('upgrade', (req, socket: Duplex, head: Buffer) => {
    requests.push(`${req.method} ${req.url}`)
    engine.upgrade(req, socket, head)
  })
  const engine: FakeEngine = {
    socketPath,
    requests,
    answer: () => false,
    upgrade: (_req, socket) => socket.destroy(),
    sockets: () => open.size,
    async stop() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
  server.listen(socketPath)
  await once(server, 'listening')
  return engine
}

function builtIn(req: IncomingMessage, res: ServerResponse): void {
  const path = (req.url ?? '').replace(/^\/v(\d+\.\d+)/, '').replace(/\?.*$/, '')
  const version = /^\/v(\d+)\.(\d+)/.exec(req.url ?? '')
  if (version !== null && Number(version[2]) > 41) {
    json(res, 400, { message: 'client version is too new. Maximum supported API version is 1.41' })
    return
  }
  if (path === '/_ping') {
    res.writeHead(200, {
      'Api-Version': '1.41',
      'Docker-Experimental': 'false',
      Ostype: 'linux',
      'Builder-Version': '',
    })
    res.end('OK')
    return
  }
  if (path === '/info') {
    json(res, 200, {
      ID: 'ENGINE',
      Name: 'host-1',
      ServerVersion: '20.10.24',
      OSType: 'linux',
      Swarm: { LocalNodeState: 'inactive' },
    })
    return
  }
  if (path === '/version') {
    json(res, 200, {
      Version: '20.10.24',
      ApiVersion: '1.41',
      MinAPIVersion: '1.12',
      Os: 'linux',
      Arch: 'amd64',
      Components: [{ Name: 'Engine', Version: '20.10.24' }],
    })
    return
  }
  if (path === '/networks' && req.method === 'GET') {
    // A real engine filters; none of its own networks has a label.
    return json(res, 200, (req.url ?? '').includes('label') ? [] : localNetworks)
  }
  if (path === '/events') {
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.flushHeaders()
    return
  }
  json(res, 404, { message: `no such thing: ${path}` })
}

function json(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'Content-Type': 'application/json' })
  res.end(JSON.stringify(value))
}
