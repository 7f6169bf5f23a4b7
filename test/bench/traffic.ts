/**
 * Requests per second and their 99th percentile through the network, each way beside a direct connection to the container on the same path:
 * `node test/bench/traffic.ts [--json] [--seconds 5] [--rounds 3]` (Linux, root; two real hosts). The client is wrk: 16 connections that are kept, or a
 * connection for each request, which the server ends.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { ensureGuestbookImages } from '../../scripts/bed/guestbook-images.ts'
import { run } from '../../scripts/bed/shell.ts'
import { Hosts, type TestHost } from '../e2e/hosts.ts'
import { allReady, containersOf, createService, service, untilRuns } from '../e2e/questions.ts'
import { percentile } from '../percentile.ts'

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
  },
})
const seconds = Number(options.seconds)
const rounds = Number(options.rounds)

const ways = ['direct', 'virtual IP', 'ingress', 'HAProxy', 'forwarder'] as const
type Way = (typeof ways)[number]
/** One process serves all ways, each by a port of its own: what one way leaves in TIME_WAIT is in no other's way (design/network.md). */
const targetOf = (way: Way): number => 8_000 + ways.indexOf(way)
const publishedPort = 8_100
const proxiedPort = 8_101
const forwardedPort = 8_102
const serving = `for (const port of ${JSON.stringify(ways.map(targetOf))})
  require('node:http').createServer((_, answer) => answer.end('ok')).listen(port)`
const kinds = ['kept', 'single'] as const
type Kind = (typeof kinds)[number]
/** Where the client is, in relation to the server. */
const paths = ['container to container on another host', 'host to container on another host'] as const
type Path = (typeof paths)[number]

interface Measured {
  readonly path: Path
  readonly kind: Kind
  readonly way: Way
  readonly requestsPerSecond: number
  readonly p99Ms: number
}

interface Server {
  readonly address: string
  readonly virtualIp: string
}

async function main(): Promise<void> {
  const hosts = await Hosts.up(2, { fresh: true })
  try {
    await allReady(hosts)
    await hosts.load(await ensureGuestbookImages())
    const [near, far] = [hosts.host(1), hosts.host(2)]
    await near.docker('network', 'create', '--driver', 'overlay', 'bench')
    await createService(near, 'client', '--network', 'bench', '--constraint', `node.hostname==${near.name}`)
    const server = await serve(hosts, far)
    await untilRuns(hosts, 'client', 1)
    const forwarder = await startForwarder(near, server)
    const proxy = await startProxy(near, server)
    try {
      print(await measure(hosts, near, server))
    } finally {
      await proxy.end()
      await forwarder.end()
    }
  } finally {
    await hosts.down()
  }
}

async function serve(hosts: Hosts, on: TestHost): Promise<Server> {
  const name = 'server'
  const placed = ['--network', 'bench', '--constraint', `node.hostname==${on.name}`]
  const published = ['--publish', `${publishedPort}:${targetOf('ingress')}`]
  await createService(on, name, ...placed, ...published, 'moot/guestbook:1', 'node', '-e', serving)
  await untilRuns(hosts, name, 1)
  return hosts.waitFor(`${name} has its addresses`, async () => {
    const { Endpoint } = (await service(on, name)) as unknown as {
      Endpoint: { VirtualIPs?: readonly { Addr: string }[] }
    }
    const filters = encodeURIComponent(JSON.stringify({ service: [name] }))
    const tasks = await on.api<
      readonly { NetworksAttachments?: readonly { Addresses: readonly string[] }[] }[]
    >('GET', `/tasks?filters=${filters}`)
    const virtualIp = Endpoint.VirtualIPs?.[0]?.Addr.split('/')[0]
    const address = tasks[0]?.NetworksAttachments?.[0]?.Addresses[0]?.split('/')[0]
    return virtualIp !== undefined && address !== undefined && { address, virtualIp }
  })
}

/** HAProxy on the client's host, passing TCP on to the container, as the published port does. */
async function startProxy(host: TestHost, { address }: Server): Promise<{ end(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'moot-haproxy-'))
  const file = join(directory, 'haproxy.cfg')
  await writeFile(
    file,
    `global
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind :${proxiedPort}
  server one ${address}:${targetOf('HAProxy')}
`,
  )
  const proxy = spawn('nsenter', [networkOf(host), 'haproxy', '-db', '-f', file], { stdio: 'ignore' })
  const ended = new Promise((resolve) => proxy.once('exit', resolve))
  await delay(500)
  if (proxy.exitCode !== null)
    throw new Error('HAProxy did not start: is it installed (apt-get install haproxy)?')
  return {
    async end() {
      proxy.kill()
      await ended
      await rm(directory, { recursive: true })
    },
  }
}

/** As a node without kernel networking has it; the address of a container on another host is as good as one here. */
async function startForwarder(host: TestHost, { address }: Server): Promise<{ end(): Promise<void> }> {
  const told = JSON.stringify({ port: forwardedPort, target: targetOf('forwarder'), address })
  const script = join(import.meta.dirname, 'forwarding.ts')
  const forwarder = spawn('nsenter', [networkOf(host), process.execPath, script, told], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => forwarder.once('exit', resolve))
  await once(forwarder.stdout, 'data')
  return {
    async end() {
      forwarder.stdin.end()
      await ended
    },
  }
}

function networkOf(host: TestHost): string {
  if (host.agentPid === undefined) throw new Error(`${host.name} has no agent`)
  return `--net=/proc/${host.agentPid}/ns/net`
}

async function measure(hosts: Hosts, near: TestHost, server: Server): Promise<readonly Measured[]> {
  const [client] = await containersOf(hosts, 'client')
  const pid = (await near.engine('inspect', '--format', '{{.State.Pid}}', client!.Id)).trim()
  const found: Measured[] = []
  for (let round = 1; round <= rounds; round += 1) {
    for (const kind of kinds) {
      for (const path of paths) {
        for (const way of ways) {
          const url = urlOf(way, server, path, near)
          if (url === undefined) continue
          const inside = path === paths[0] ? await namespaceIn(near, pid) : networkOf(near)
          found.push({ path, kind, way, ...(await wrk(inside, url, kind)) })
          progress(`round ${round}: ${path}, ${kind}, ${way}`)
        }
      }
    }
  }
  return found
}

/** Undefined: no way of this path. */
function urlOf(way: Way, { address, virtualIp }: Server, path: Path, near: TestHost): string | undefined {
  const isInside = path === paths[0]
  switch (way) {
    case 'direct':
      return `http://${address}:${targetOf(way)}/`
    case 'virtual IP':
      return isInside ? `http://${virtualIp}:${targetOf(way)}/` : undefined
    case 'ingress':
      return isInside ? undefined : `http://${near.address}:${publishedPort}/`
    case 'HAProxy':
      return isInside ? undefined : `http://${near.address}:${proxiedPort}/`
    case 'forwarder':
      return isInside ? undefined : `http://${near.address}:${forwardedPort}/`
  }
}

/** Of a process in the host's own process namespace, as seen from outside. */
async function namespaceIn(host: TestHost, pid: string): Promise<string> {
  return `--net=/proc/${host.agentPid}/root/proc/${pid}/ns/net`
}

async function wrk(
  network: string,
  url: string,
  kind: Kind,
): Promise<{ requestsPerSecond: number; p99Ms: number }> {
  const header = kind === 'single' ? ['-H', 'Connection: close'] : []
  const told = await run(
    'nsenter',
    [network, 'wrk', '-t1', '-c16', `-d${seconds}s`, '--latency', ...header, url],
    { timeoutMs: (seconds + 30) * 1_000 },
  )
  if (/Socket errors: (?!connect 0, read 0, write 0, timeout 0)|Non-2xx/.test(told)) throw new Error(told)
  const [, rate = '0'] = /Requests\/sec:\s+([\d.]+)/.exec(told) ?? []
  const [, value = '0', unit = 'ms'] = /99%\s+([\d.]+)(us|ms|s)/.exec(told) ?? []
  const inMs = { us: 0.001, ms: 1, s: 1_000 }[unit] ?? 1
  return { requestsPerSecond: Number(rate), p99Ms: Number(value) * inMs }
}

function print(found: readonly Measured[]): void {
  const lines = paths.flatMap((path) =>
    kinds.flatMap((kind) =>
      ways.flatMap((way) => {
        const each = found.filter((one) => one.path === path && one.kind === kind && one.way === way)
        if (each.length === 0) return []
        const median = (of: (one: Measured) => number): number => percentile(each.map(of), 0.5) ?? 0
        const requestsPerSecond = Math.round(median((one) => one.requestsPerSecond))
        return [{ path, kind, way, requestsPerSecond, p99Ms: median((one) => one.p99Ms) }]
      }),
    ),
  )
  const directOf = ({ path, kind }: Measured): number =>
    lines.find((line) => line.path === path && line.kind === kind && line.way === 'direct')
      ?.requestsPerSecond ?? 0
  const rows = lines.map((line) => ({ ...line, ofDirect: line.requestsPerSecond / directOf(line) }))
  if (options.json) {
    for (const row of rows) console.log(JSON.stringify(row))
    return
  }
  const table = new Table({
    head: ['path', 'connections', 'way', 'requests/s', '× direct', 'p99 ms'],
    style: { head: [], border: [] },
  })
  for (const { path, kind, way, requestsPerSecond, ofDirect, p99Ms } of rows)
    table.push([path, kind, way, requestsPerSecond, ofDirect.toFixed(2), p99Ms.toFixed(1)])
  console.log(table.toString())
}

function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`)
}

await main()
