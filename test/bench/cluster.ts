/**
 * Figures on five real hosts, Moot's and then Docker Swarm's on the same engines in the same run: deploy times, scaling,
 * healing of one container, failover of a host; and what an idle agent costs.
 *
 *     node test/bench/cluster.ts [--json] [--without-swarm]
 */
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { Hosts } from '../e2e/hosts.ts'
import { allReady, containersOf, createService, timed } from '../e2e/questions.ts'
import { badUpdates } from '../e2e/update-trials.ts'

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    'without-swarm': { type: 'boolean', default: false },
  },
})

const hostCount = 5
const deploySizes = [10, 50, 100] as const
/** What was just asked for, and a host that was just switched on, are over by then. */
const restSeconds = 10
const idleSeconds = 30
const badUpdateRounds = 3
/** USER_HZ: the unit of utime and stime in /proc/PID/stat (proc(5)). */
const ticksPerSecond = 100

/** One orchestrator on the hosts: how it is spoken to, and how a container is recognised as its own. */
interface Orchestrator {
  readonly name: string
  docker(...args: string[]): Promise<string>
  /** Hosts that may be powered off: not the one that is spoken to. */
  readonly victims: readonly number[]
}

type Figures = Map<string, number>

async function main(): Promise<void> {
  // What is shipped is measured: the bundle.
  const hosts = await Hosts.up(hostCount, { agent: { main: 'dist/agent.mjs' } })
  const results: { name: string; figures: Figures }[] = []
  try {
    await hosts.reset()
    await allReady(hosts)
    const moot: Orchestrator = {
      name: 'moot',
      docker: (...args) => hosts.host(2).docker(...args),
      victims: [3, 4, 5],
    }
    const figures = await measure(hosts, moot)
    for (const [name, value] of await idle(hosts)) figures.set(name, value)
    results.push({ name: 'moot', figures })
    if (!options['without-swarm']) results.push({ name: 'swarm', figures: await withSwarm(hosts) })
  } finally {
    await hosts.down()
  }
  print(results)
}

async function measure(hosts: Hosts, orchestrator: Orchestrator): Promise<Figures> {
  const figures: Figures = new Map()
  for (const size of deploySizes) {
    progress(`${orchestrator.name}: ${size} replicas`)
    figures.set(
      `create ${size} replicas, s`,
      await seconds(async () => {
        await createService(orchestrator, 'bench', '--replicas', String(size))
        await untilRunning(hosts, 'bench', size)
      }),
    )
    await remove(hosts, orchestrator, 'bench')
  }
  progress(`${orchestrator.name}: scaling`)
  await createService(orchestrator, 'bench', '--replicas', '10')
  await untilRunning(hosts, 'bench', 10)
  figures.set(
    'scale 10 to 50, s',
    await seconds(async () => {
      await orchestrator.docker('service', 'scale', '--detach', 'bench=50')
      await untilRunning(hosts, 'bench', 50)
    }),
  )
  figures.set(
    'scale 50 to 10, s',
    await seconds(async () => {
      await orchestrator.docker('service', 'scale', '--detach', 'bench=10')
      await untilRunning(hosts, 'bench', 10)
    }),
  )
  progress(`${orchestrator.name}: a container killed`)
  const [first] = await containersOf(hosts, 'bench')
  if (first === undefined) throw new Error('nothing runs')
  figures.set(
    'container killed to replaced, s',
    await seconds(async () => {
      await hosts.host(first.host).engine('kill', first.Id)
      await hosts.waitFor(
        'another runs',
        async () => {
          const now = await containersOf(hosts, 'bench')
          return now.length === 10 && now.every(({ Id }) => Id !== first.Id)
        },
        { timeoutMs: 60_000, intervalMs: 20 },
      )
    }),
  )
  for (const [name, value] of await badUpdatesOf(hosts, orchestrator)) figures.set(name, value)
  progress(`${orchestrator.name}: a host powered off`)
  const spread = await containersOf(hosts, 'bench')
  const victim = orchestrator.victims.find((index) => spread.some(({ host }) => host === index))
  if (victim === undefined) throw new Error(`none of the hosts ${orchestrator.victims.join()} runs anything`)
  const killed = hosts.kill(victim)
  const [detectedAfter, replacedAfter] = await Promise.all([
    seconds(async () => {
      await killed
      await untilDown(hosts, orchestrator, hosts.host(victim).name)
    }),
    seconds(async () => {
      await killed
      await untilRunning(hosts, 'bench', 10)
    }),
  ])
  figures.set('host off to shown as down, s', detectedAfter)
  figures.set('host off to all running elsewhere, s', replacedAfter)
  await hosts.start(victim)
  await remove(hosts, orchestrator, 'bench')
  return figures
}

/**
 * Updates that cannot come to a good end: from the first task that failed until all ten are what they were. The middle one of
 * some: most of it are the five seconds for which what has gone back is watched.
 */
async function badUpdatesOf(hosts: Hosts, orchestrator: Orchestrator): Promise<Figures> {
  const figures: Figures = new Map()
  const onFailure = ['--update-failure-action', 'rollback', '--update-order', 'stop-first']
  const pace = ['--update-parallelism', '2', '--update-monitor', '5s', '--rollback-parallelism', '2']
  await updateService(orchestrator, [...onFailure, ...pace])
  for (const [what, change] of Object.entries(badUpdates)) {
    progress(`${orchestrator.name}: an update to an image ${what}`)
    const rounds: GoneBack[] = []
    while (rounds.length < badUpdateRounds) rounds.push(await goneBack(hosts, orchestrator, change))
    const seconds = rounds.map(({ afterSeconds }) => afterSeconds).toSorted((a, b) => a - b)
    figures.set(`image ${what}: failed to gone back, s`, seconds[badUpdateRounds >> 1] ?? NaN)
    figures.set(`image ${what}: fewest of ten that ran`, Math.min(...rounds.map(({ fewest }) => fewest)))
  }
  return figures
}

interface GoneBack {
  readonly afterSeconds: number
  readonly fewest: number
}

async function goneBack(
  hosts: Hosts,
  orchestrator: Orchestrator,
  change: readonly string[],
): Promise<GoneBack> {
  const before = await badlyEnded(orchestrator)
  await updateService(orchestrator, change)
  await hosts.waitFor(
    'a task has failed',
    async () => (await badlyEnded(orchestrator)).some((task) => !before.includes(task)),
    { timeoutMs: 60_000, intervalMs: 20 },
  )
  let fewest = 10
  const afterSeconds = await seconds(() =>
    hosts.waitFor(
      'all ten are what they were',
      async () => {
        const running = await containersOf(hosts, 'bench')
        const good = running.filter((each) => each.Image === 'moot/test:1').length
        fewest = Math.min(fewest, good)
        const state = '{{.UpdateStatus.State}}'
        const shown = await orchestrator.docker('service', 'inspect', 'bench', '--format', state)
        return good === 10 && running.length === 10 && shown.trim() === 'rollback_completed'
      },
      { timeoutMs: 180_000, intervalMs: 20 },
    ),
  )
  return { afterSeconds, fewest }
}

async function updateService(orchestrator: Orchestrator, change: readonly string[]): Promise<void> {
  await orchestrator.docker('service', 'update', '--detach', '--no-resolve-image', ...change, 'bench')
}

/** Ids of tasks. Swarm calls an ill one that ends well when it is told to `Complete`. */
async function badlyEnded(orchestrator: Orchestrator): Promise<readonly string[]> {
  const format = ['--no-trunc', '--format', '{{.ID}} {{.CurrentState}}']
  const tasks = (await orchestrator.docker('service', 'ps', ...format, 'bench')).split('\n')
  return tasks
    .filter((line) => /^\S+ (?:Failed|Rejected|Complete)/.test(line))
    .map((line) => line.split(' ')[0] ?? '')
}

async function remove(hosts: Hosts, orchestrator: Orchestrator, name: string): Promise<void> {
  await orchestrator.docker('service', 'rm', name)
  await untilRunning(hosts, name, 0)
}

async function untilRunning(hosts: Hosts, service: string, count: number): Promise<void> {
  await hosts.waitFor(
    `${count} of ${service} run`,
    async () => (await containersOf(hosts, service)).length === count,
    {
      timeoutMs: 180_000,
      intervalMs: 50,
    },
  )
}

async function untilDown(hosts: Hosts, orchestrator: Orchestrator, name: string): Promise<void> {
  await hosts.waitFor(
    `${name} is shown as down`,
    async () => {
      const nodes = await orchestrator.docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}}')
      return nodes.split('\n').includes(`${name} Down`)
    },
    { timeoutMs: 180_000, intervalMs: 100 },
  )
}

/** An agent's share of a core and its memory, per host, while nothing happens. */
async function idle(hosts: Hosts): Promise<Figures> {
  progress(`moot: idle for ${idleSeconds} s`)
  await allReady(hosts)
  await new Promise((resolve) => setTimeout(resolve, restSeconds * 1000))
  const pids = hosts.all().map((host) => {
    if (host.agentPid === undefined) throw new Error(`${host.name} has no agent`)
    return host.agentPid
  })
  const before = pids.map(cpuTicks)
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1000))
  const shares = pids.map(
    (pid, index) => (cpuTicks(pid) - (before[index] ?? 0)) / ticksPerSecond / idleSeconds,
  )
  return new Map([
    ['idle agent, % of a core (worst)', Math.max(...shares) * 100],
    ['idle agent, MB RSS (worst)', Math.max(...pids.map(residentMegabytes))],
  ])
}

function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** The same on the same engines, with Swarm: three managers and two workers, spoken to at a manager. */
async function withSwarm(hosts: Hosts): Promise<Figures> {
  progress('swarm: forming')
  await hosts.agentKill(1, 2, 3, 4, 5)
  const first = hosts.host(1)
  try {
    await first.engine('swarm', 'init', '--advertise-addr', first.address)
    const [managers, workers] = await Promise.all(
      ['manager', 'worker'].map(async (role) =>
        (await first.engine('swarm', 'join-token', '-q', role)).trim(),
      ),
    )
    for (const index of [2, 3, 4, 5]) {
      const token = (index <= 3 ? managers : workers) ?? ''
      await hosts.host(index).engine('swarm', 'join', '--token', token, `${first.address}:2377`)
    }
    return await measure(hosts, {
      name: 'swarm',
      docker: (...args) => hosts.host(2).engine(...args),
      victims: [4, 5],
    })
  } finally {
    for (const host of hosts.on()) await host.engine('swarm', 'leave', '--force').catch(() => undefined)
  }
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  return (await timed(work)) / 1000
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`)
}

function print(results: readonly { name: string; figures: Figures }[]): void {
  const [processor] = cpus()
  const machine = `${cpus().length} × ${processor?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}, ${hostCount} hosts`
  if (options.json) {
    const figures = Object.fromEntries(
      results.map(({ name, figures }) => [name, Object.fromEntries(figures)]),
    )
    process.stdout.write(`${JSON.stringify({ machine, ...figures }, null, 2)}\n`)
    return
  }
  const table = new Table({ head: ['', ...results.map(({ name }) => name)], style: { head: [], border: [] } })
  const names = new Set(results.flatMap(({ figures }) => [...figures.keys()]))
  for (const name of names) {
    table.push([name, ...results.map(({ figures }) => figures.get(name)?.toFixed(2) ?? '')])
  }
  process.stdout.write(`${machine}\n${table.toString()}\n`)
}

await import('../../scripts/build.ts')
await main()
