import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ensureGuestbookImages } from '../../scripts/bed/guestbook-images.ts'
import { repository } from '../../scripts/bed/place.ts'
import type { Hosts, TestHost } from './hosts.ts'
import type { RunningLoad } from './load-process.ts'
import { type Failure, outageOf, type Report } from './load.ts'
import { containersOf, service, untilRuns } from './questions.ts'

/** examples/guestbook on real hosts: a web tier, which finds its Redis by name, published on every host. */
const stack = 'guestbook'
export const web = `${stack}_web`
export const redis = `${stack}_redis`
export const replicas = 5
const port = 8_000

export async function deployGuestbook(hosts: Hosts): Promise<void> {
  await hosts.load(await ensureGuestbookImages())
  const file = join(repository, 'examples/guestbook/stack.yml')
  const first = hosts.host(1)
  await first.docker('stack', 'deploy', '--detach', '--resolve-image', 'never', '--compose-file', file, stack)
  await first.docker('service', 'scale', '--detach', `${web}=${replicas}`)
  await untilRuns(hosts, redis, 1)
  await untilRuns(hosts, web, replicas)
  await hosts.waitFor('every host answers', async () => {
    const answers = await Promise.all(hosts.all().map((host) => book(hosts, host).catch(() => undefined)))
    return answers.every((answer) => answer !== undefined)
  })
}

export interface Book {
  readonly version: string
  readonly container: string
  readonly node: string
  readonly client: { readonly address: string }
  readonly count: number
}

/** What a client outside the cluster is told at this host's address. */
export async function book(hosts: Hosts, host: TestHost): Promise<Book> {
  const told = await hosts.fromClient(
    'curl',
    '--silent',
    '--show-error',
    '--fail',
    '--max-time',
    '2',
    urlOf(host),
  )
  return JSON.parse(told) as Book
}

function urlOf(host: TestHost): string {
  return `http://${host.address}:${port}/api`
}

/** Requests per second of each client, and how many it makes at least. */
export interface Pressure {
  readonly kept: number
  readonly single: number
  readonly atLeast: number
}

/**
 * Two clients at these hosts: one keeps 30 connections for as long as the servers let it, the other has a connection
 * for each request. (It has few: what closes first keeps the port for a minute, and that is the server.)
 */
async function press(
  hosts: Hosts,
  at: readonly TestHost[],
  pressure: Pressure,
): Promise<readonly RunningLoad[]> {
  const common = { targets: at.map(urlOf), forMs: 600_000 }
  return Promise.all([
    hosts.loadFromClient({
      ...common,
      connections: 30,
      keepAlive: true,
      ratePerSecond: pressure.kept,
      atLeastRequests: Math.ceil((pressure.atLeast * pressure.kept) / (pressure.kept + pressure.single)),
    }),
    hosts.loadFromClient({
      ...common,
      connections: 10,
      keepAlive: false,
      ratePerSecond: pressure.single,
      atLeastRequests: Math.ceil((pressure.atLeast * pressure.single) / (pressure.kept + pressure.single)),
    }),
  ])
}

/** A rolling update of the web tier and then a drain of one of its hosts, while requests come in through all hosts. */
export async function updateAndDrain(hosts: Hosts, pressure: Pressure): Promise<readonly Report[]> {
  const loads = await press(hosts, hosts.all(), pressure)
  await hosts
    .host(2)
    .docker('service', 'update', '--detach', '--no-resolve-image', '--image', 'moot/guestbook:2', web)
  await hosts.waitFor(
    'all of the web tier is new, and nothing is left of the old',
    async () => {
      const running = await containersOf(hosts, web)
      return running.length === replicas && running.every(({ Image }) => Image === 'moot/guestbook:2')
    },
    { timeoutMs: 120_000 },
  )
  const drained = await webHostWithoutRedis(hosts)
  await hosts.host(3).docker('node', 'update', '--availability', 'drain', drained.name)
  await hosts.waitFor(
    'the drained host has nothing any more, and the others all',
    async () => {
      const running = await containersOf(hosts, web)
      return running.length === replicas && running.every(({ host }) => host !== drained.index)
    },
    { timeoutMs: 60_000 },
  )
  const reports = await Promise.all(loads.map((load) => load.stop()))
  await hosts.host(1).docker('node', 'update', '--availability', 'active', drained.name)
  return reports
}

export interface PowerOff {
  readonly victim: TestHost
  readonly reports: readonly Report[]
  /** Requests through the other hosts that failed. */
  readonly failures: readonly Failure[]
  /** From the power-off until the last of these was begun, ms; 0: none failed. */
  readonly lastedMs: number
  /** From the power-off until the others ran all of the web tier, ms. */
  readonly healedMs: number
}

/** A host with a part of the web tier dies while requests come in through the others. */
export async function powerOffUnderLoad(hosts: Hosts, pressure: Pressure): Promise<PowerOff> {
  const victim = await webHostWithoutRedis(hosts)
  const others = hosts.all().filter(({ index }) => index !== victim.index)
  const loads = await press(hosts, others, pressure)
  await delay(2_000)
  const offAtMs = performance.timeOrigin + performance.now()
  await hosts.kill(victim.index)
  await untilRuns(hosts, web, replicas)
  const healedMs = performance.timeOrigin + performance.now() - offAtMs
  const reports = await Promise.all(loads.map((load) => load.stop()))
  const failures = reports.flatMap((report) => report.failures)
  const outage = outageOf(failures)
  return {
    victim,
    reports,
    failures,
    healedMs,
    lastedMs: outage === undefined ? 0 : outage.fromMs + outage.lastedMs - offAtMs,
  }
}

async function webHostWithoutRedis(hosts: Hosts): Promise<TestHost> {
  const [holder] = await containersOf(hosts, redis)
  const found = (await containersOf(hosts, web)).find(({ host }) => host !== holder?.host)
  if (found === undefined)
    throw new Error(`${(await service(hosts.host(1), web)).Spec.Name} has no task apart from Redis's host`)
  return hosts.host(found.host)
}
