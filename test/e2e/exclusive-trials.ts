import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Hosts, TestHost } from './hosts.ts'
import { containersOf, createService, untilRuns } from './questions.ts'

/** Trials of an `exclusive` service on real hosts. Its one task writes down, twenty times a second, that it lives. */
export const exclusiveName = 'leader'

/** What the tasks themselves wrote, each line with one write: all hosts are on one kernel, so there is one clock. */
const beats = (hosts: Hosts): string => join(hosts.host(1).directory, '..', 'exclusive-beats')

export interface Beat {
  /** Since the machine's boot, in steps of 10 ms. */
  readonly atMs: number
  readonly fence: number
  /** The container's id, its first twelve digits. */
  readonly container: string
}

export async function deployExclusive(hosts: Hosts): Promise<void> {
  const { voters } = await votersOf(hosts.host(1))
  // Of fewer than three the one that is to be cut off must be none, else it is the majority.
  const elsewhere = voters.length < 3 ? voters.flatMap(({ id }) => ['--constraint', `node.id!=${id}`]) : []
  const directory = beats(hosts)
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'log'), '')
  const beat = 'read up idle < /proc/uptime; echo "$up $MOOT_FENCE $(hostname)" >> /beats/log'
  await createService(
    hosts.host(1),
    exclusiveName,
    '--replicas',
    '1',
    '--label',
    'moot.partition=exclusive',
    '--restart-delay',
    '0s',
    ...elsewhere,
    '--mount',
    `type=bind,src=${directory},dst=/beats`,
    'moot/test:1',
    'sh',
    '-c',
    `trap "exit 0" TERM; while :; do ${beat}; sleep 0.05; done`,
  )
  await untilRuns(hosts, exclusiveName, 1, 60_000)
}

export function clearBeats(hosts: Hosts): void {
  rmSync(beats(hosts), { recursive: true, force: true })
}

export function beatsOf(hosts: Hosts): readonly Beat[] {
  const file = join(beats(hosts), 'log')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [up, fence, container = ''] = line.split(' ')
      return { atMs: Math.round(Number(up) * 1_000), fence: Number(fence), container }
    })
}

/** What is wrong with what was written: two that lived at one time, or a later one with a fence that is not higher. */
export function judge(all: readonly Beat[]): readonly string[] {
  const lives = [...Map.groupBy(all, ({ container }) => container)].map(([container, own]) => ({
    container,
    fence: own[0]?.fence ?? Number.NaN,
    fromMs: Math.min(...own.map(({ atMs }) => atMs)),
    untilMs: Math.max(...own.map(({ atMs }) => atMs)),
  }))
  const inOrder = lives.toSorted((a, b) => a.fromMs - b.fromMs)
  return inOrder.flatMap((life, index) => {
    const next = inOrder[index + 1]
    if (Number.isNaN(life.fence)) return [`${life.container} has no fence`]
    if (next === undefined) return []
    const told = `${life.container} (fence ${life.fence}) and ${next.container} (fence ${next.fence})`
    return [
      ...(next.fromMs <= life.untilMs ? [`${told} lived at once for ${life.untilMs - next.fromMs} ms`] : []),
      // A new container on the same host may go on with the lease of the one before it.
      ...(next.fence < life.fence ? [`${told}: the later fence is lower`] : []),
    ]
  })
}

function votersOf(host: TestHost): Promise<{ readonly voters: readonly { readonly id: string }[] }> {
  return host.api('GET', '/moot/v1/voters')
}

/** Voters take their seats a minute after they have joined, one epoch after the other. */
export async function untilVoters(hosts: Hosts, count: number): Promise<void> {
  await hosts.waitFor(
    `there are ${count} voters, and each host says so`,
    async () => {
      const seen = await Promise.all(
        hosts
          .all()
          .map((host) => host.api<{ readonly voters: readonly unknown[] }>('GET', '/moot/v1/voters')),
      )
      return seen.every(({ voters }) => voters.length === count)
    },
    { timeoutMs: 180_000, intervalMs: 500 },
  )
}

export async function holderOf(hosts: Hosts): Promise<number> {
  return hosts.waitFor('one host runs the exclusive task', async () => {
    const running = await containersOf(hosts, exclusiveName)
    return running.length === 1 && running[0]?.host
  })
}

export const cuts = [
  'cable pulled',
  'cable pulled, agent stopped',
  'cable pulled, agent killed',
  'two of five cut off',
  'power lost',
] as const
export type Cut = (typeof cuts)[number]

export interface Moved {
  readonly where: string
  /** From the cut until the last sign of life on the side that lost. */
  readonly goneAfterMs: number
  /** From the cut until the first sign of life on the other: who was away lately is given up more slowly (design/membership.md). */
  readonly movedAfterMs: number
  /** From healing until exactly one runs, and all hosts say so. */
  readonly wellAfterMs: number
  readonly wrong: readonly string[]
}

/** The task's host is cut off from the majority, in one of the ways; the other side takes over; then all is healed. */
export async function cutTheHolder(hosts: Hosts, how: Cut, other: number): Promise<Moved> {
  const holder = await holderOf(hosts)
  const before = beatsOf(hosts).at(-1)
  if (before === undefined) throw new Error('the exclusive task has never written anything')
  const cutAtMs = uptimeMs()
  const second = ((holder + 1 + (other % (hosts.count - 1)) - 1) % hosts.count) + 1
  const minority = [holder, second]
  if (how === 'power lost') await hosts.kill(holder)
  else if (how === 'two of five cut off') {
    await hosts.partition([
      minority,
      hosts
        .all()
        .map(({ index }) => index)
        .filter((index) => !minority.includes(index)),
    ])
  } else {
    if (how === 'cable pulled, agent stopped') hosts.agentStop(holder)
    if (how === 'cable pulled, agent killed') await hosts.agentKill(holder)
    await hosts.cut(holder)
  }
  const next = await hosts.waitFor(
    'the other side runs it',
    async () => beatsOf(hosts).find(({ fence }) => fence > before.fence),
    { timeoutMs: 120_000, intervalMs: 50 },
  )
  // For long enough that one that was not stopped would show.
  await delay(3_000)
  const healedAt = performance.now()
  if (how === 'power lost') await hosts.start(holder)
  else if (how === 'two of five cut off') await hosts.heal()
  else {
    await hosts.heal(holder)
    if (how === 'cable pulled, agent stopped') hosts.agentContinue(holder)
    if (how === 'cable pulled, agent killed') await hosts.agentStart(holder)
  }
  await untilRuns(hosts, exclusiveName, 1, 60_000)
  const wellAfterMs = Math.round(performance.now() - healedAt)
  const all = beatsOf(hosts)
  const last = all.filter(({ fence }) => fence <= before.fence).at(-1) ?? before
  return {
    where: `${how}, host ${holder}`,
    goneAfterMs: last.atMs - cutAtMs,
    movedAfterMs: next.atMs - cutAtMs,
    wellAfterMs,
    wrong: judge(all),
  }
}

function uptimeMs(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000)
}
