import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../sim/random.ts'
import { dockerCli, type Hosts } from './hosts.ts'
import { containersOf, createService, service, timed, untilRuns } from './questions.ts'

/** Trials of updates on real hosts: ten replicas, two at a time. */
export const replicas = 10
export const parallelism = 2
const name = 'web'
const good = 'moot/test:1'
const newer = 'moot/test:2'

/** Why an update cannot come to a good end, and how it is asked for. */
export const badUpdates = {
  'that exits': ['--image', 'moot/test:bad'],
  'that fails its health check': ['--image', 'moot/test:sick'],
  'that cannot be had': ['--image', 'moot/test:no-such-tag'],
  'that cannot start': ['--entrypoint', '/no/such/program'],
} as const
export type BadUpdate = keyof typeof badUpdates
export type Order = 'stop-first' | 'start-first'

/** `monitor`: Docker's default is 5s. */
export async function deployTen(hosts: Hosts, order: Order, monitor = '5s'): Promise<void> {
  await createService(
    hosts.host(1),
    name,
    '--replicas',
    String(replicas),
    '--update-parallelism',
    String(parallelism),
    '--update-order',
    order,
    '--update-failure-action',
    'rollback',
    '--update-monitor',
    monitor,
    '--rollback-parallelism',
    String(parallelism),
    '--rollback-order',
    order,
  )
  await untilRuns(hosts, name, replicas)
}

export interface BadOutcome {
  /** Of the good ones, at any moment at which all engines were asked. */
  readonly fewest: number
  readonly looks: number
  /** From the first task that ended badly until the service says that it has gone back and ten good ones run, ms. */
  readonly backAfterMs: number
  readonly message: string
}

/** Updates the ten to something that is bad, and watches all engines until the service has gone back by itself. */
export async function badUpdate(hosts: Hosts, what: BadUpdate): Promise<BadOutcome> {
  let fewest = replicas
  let looks = 0
  let failedAtMs: number | undefined
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      const running = await containersOf(hosts, name)
      fewest = Math.min(fewest, running.filter(isGood).length)
      looks += 1
    }
  })()
  const failing = (async () => {
    while (!over.signal.aborted && failedAtMs === undefined) {
      const found = await hosts
        .host(2)
        .api<{ readonly Status: { readonly State: string } }[]>('GET', '/tasks')
      if (found.some(({ Status }) => Status.State === 'failed' || Status.State === 'rejected'))
        failedAtMs = performance.now()
    }
  })()
  try {
    await hosts
      .host(1)
      .docker('service', 'update', '--detach', '--no-resolve-image', ...badUpdates[what], name)
    const message = await hosts.waitFor(
      'the service has gone back by itself',
      async () => {
        const { UpdateStatus } = await service(hosts.host(3), name)
        const running = await containersOf(hosts, name)
        return (
          UpdateStatus?.State === 'rollback_completed' &&
          running.length === replicas &&
          running.every(isGood) &&
          UpdateStatus.Message
        )
      },
      { timeoutMs: 120_000, intervalMs: 50 },
    )
    const endedAtMs = performance.now()
    return { fewest, looks, backAfterMs: Math.round(endedAtMs - (failedAtMs ?? endedAtMs)), message }
  } finally {
    over.abort()
    await Promise.all([watching, failing])
  }
}

function isGood({
  Image,
  Labels,
}: {
  readonly Image: string
  readonly Labels: Readonly<Record<string, string>>
}): boolean {
  return Image === good && Labels['moot.slot'] !== undefined
}

export const interruptions = ['client killed', 'accepting agent killed', 'host powered off'] as const
export type Interruption = (typeof interruptions)[number]

export interface Interrupted {
  readonly where: string
  /** From the interruption until exactly ten of the new ones run on the hosts that are on, ms. */
  readonly wellAfterMs: number
}

/** An update of the ten in the middle of which something dies: in the end all is new on every live host. */
export async function interruptedUpdate(
  hosts: Hosts,
  what: Interruption,
  random: Random,
): Promise<Interrupted> {
  const accepting = hosts.host(random.between(1, hosts.count))
  const victim = what === 'host powered off' ? random.between(1, hosts.count) : accepting.index
  const from = await service(accepting, name)
  const image = from.Spec.TaskTemplate.ContainerSpec.Image.startsWith(newer) ? good : newer
  // As a person sees it: a command that shows the progress until all is done.
  const client = spawn(
    dockerCli,
    [
      '-H',
      `unix://${accepting.agentSocket}`,
      'service',
      'update',
      '--no-resolve-image',
      '--image',
      image,
      name,
    ],
    { stdio: 'ignore' },
  )
  const ended = new Promise((resolve) => client.once('exit', resolve))
  try {
    // Asked for and accepted: what is not, nobody promised.
    await hosts.waitFor(
      'the update has been accepted',
      async () => (await service(accepting, name)).Spec.TaskTemplate.ContainerSpec.Image === image,
      { intervalMs: 10 },
    )
    const afterMs = random.between(0, 6_000)
    await delay(afterMs)
    const wellAfterMs = await timed(async () => {
      if (what === 'client killed') client.kill('SIGKILL')
      else if (what === 'accepting agent killed') {
        await hosts.agentKill(victim)
        // As whatever supervises it would.
        await delay(random.between(0, 3_000))
        await hosts.agentStart(victim)
      } else await hosts.kill(victim)
      await hosts.waitFor(
        `exactly ten of ${image} run`,
        async () => {
          const running = await containersOf(hosts, name)
          const slots = new Set(running.map(({ Labels }) => Labels['moot.slot']))
          return (
            running.length === replicas &&
            slots.size === replicas &&
            running.every(({ Image }) => Image === image)
          )
        },
        { timeoutMs: 120_000 },
      )
    })
    return { where: `${what} (${hosts.host(victim).name}, ${afterMs} ms after it was accepted)`, wellAfterMs }
  } finally {
    client.kill('SIGKILL')
    await ended
  }
}
