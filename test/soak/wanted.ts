import { setTimeout as delay } from 'node:timers/promises'
import type { Hosts } from '../e2e/hosts.ts'
import { type ServiceRow, services } from '../e2e/questions.ts'

/** What is not as it must be at rest, by the agents' and the engines' own words; empty = all is well. */
export async function wrongNow(hosts: Hosts): Promise<string[]> {
  const known = await Promise.all(hosts.on().map(async (host) => specsOf(await services(host))))
  const [first = ''] = known
  if (known.some((each) => each !== first)) return ['the hosts do not say the same services']
  const [asked] = hosts.on()
  if (asked === undefined) return ['no host is on']
  const wanted = await services(asked)
  const running = await hosts.runningContainers()
  const wrong: string[] = []
  for (const { Spec } of wanted) {
    const own = running.filter(({ Labels }) => Labels['com.docker.swarm.service.name'] === Spec.Name)
    const slots = new Set(own.map(({ Labels }) => Labels['moot.slot']))
    const replicas = Spec.Mode.Replicated?.Replicas ?? 0
    const image = Spec.TaskTemplate.ContainerSpec.Image
    if (own.length !== replicas || slots.size !== replicas) {
      wrong.push(`${Spec.Name}: ${own.length} containers in ${slots.size} slots instead of ${replicas}`)
    } else if (own.some((container) => container.Image !== image)) {
      wrong.push(`${Spec.Name}: not all run ${image}`)
    }
  }
  const names = new Set(wanted.map(({ Spec }) => Spec.Name))
  const strays = running.filter(({ Labels }) => !names.has(Labels['com.docker.swarm.service.name'] ?? ''))
  if (strays.length > 0) wrong.push(`${strays.length} containers of no service`)
  return wrong
}

function specsOf(list: readonly ServiceRow[]): string {
  const rows = list.map(({ ID, Version, Spec }) => ({ ID, Version, Spec }))
  return JSON.stringify(rows.toSorted((a, b) => (a.ID < b.ID ? -1 : 1)))
}

/** By the engines' words alone: exactly so many containers of each service, each slot once, and no others. */
export async function notExactly(hosts: Hosts, wanted: ReadonlyMap<string, number>): Promise<string[]> {
  const running = await hosts.runningContainers()
  const wrong: string[] = []
  for (const [service, count] of wanted) {
    const own = running.filter(({ Labels }) => Labels['com.docker.swarm.service.name'] === service)
    const slots = new Set(own.map(({ Labels }) => Labels['moot.slot']))
    if (own.length === count && slots.size === count) continue
    const where = own.map(({ Labels, host }) => `${Labels['moot.slot']} on ${host}`).toSorted()
    wrong.push(`${service}: ${own.length} in ${slots.size} slots instead of ${count} (${where.join(', ')})`)
  }
  const strays = running.filter(({ Labels }) => !wanted.has(Labels['com.docker.swarm.service.name'] ?? ''))
  if (strays.length > 0) wrong.push(`${strays.length} containers of no service`)
  return wrong
}

/** How long all must stay well before it counts: longer than a detector's round. */
const restMs = 3_000

/** Waits until all is well and stays so; `tookMs` is when that began. Gives what is wrong at the bound. */
export async function untilWell(
  hosts: Hosts,
  timeoutMs: number,
  options: {
    readonly look?: () => Promise<string[]>
    readonly restMs?: number
    readonly everyMs?: number
  } = {},
): Promise<{ readonly tookMs: number; readonly wrong: readonly string[] }> {
  const look = options.look ?? (() => wrongNow(hosts))
  const begunAt = performance.now()
  let wellSince: number | undefined
  for (;;) {
    const wrong = await look().catch((error: unknown) => [
      error instanceof Error ? error.message : String(error),
    ])
    const now = performance.now()
    if (wrong.length > 0) wellSince = undefined
    else wellSince ??= now
    if (wellSince !== undefined && now - wellSince >= (options.restMs ?? restMs)) {
      return { tookMs: Math.round(wellSince - begunAt), wrong: [] }
    }
    if (wrong.length > 0 && now - begunAt > timeoutMs) return { tookMs: Math.round(now - begunAt), wrong }
    await delay(options.everyMs ?? 200)
  }
}
