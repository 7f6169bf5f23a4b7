import { setTimeout as delay } from 'node:timers/promises'
import { defaults } from '../../packages/agent/src/defaults.ts'
import type { Hosts, TestHost } from '../e2e/hosts.ts'
import { allReady, createService, runsExactly, timed, untilRuns } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'
import type { Row } from './row.ts'
import { spreadAnew } from './turns.ts'

const replicas = 10
const web = 'web'
/** After the grace: claimed and started elsewhere as after a failover. */
const replacedWithinMs = defaults.engineDownGraceMs + 5_000
const toldWithinMs = 3_000
/** Longer than the grace of those whose processes have ended. */
const waitedMs = defaults.engineDownGraceMs + 10_000
const healsWithinMs = 20_000

/**
 * An engine dies under a living agent. Killed alone, its containers live on and nothing moves; stopped, they end with it and run
 * elsewhere after the grace. When it is back exactly the wanted set runs.
 */
export async function engines(
  hosts: Hosts,
  times: number,
  random: Random,
  say: (line: string) => void,
): Promise<Row> {
  await createService(hosts.host(1), web, '--replicas', '0')
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let turn = 1; turn <= times; turn += 1) {
    for (const how of ['killed', 'stopped'] as const) {
      const victim = random.between(1, hosts.count)
      await spreadAnew(hosts, victim, web, replicas)
      const where = `turn ${turn}, the engine of host ${victim} ${how}`
      const { toldMs, replacedMs, healedMs, wrong: here } = await fall(hosts, victim, how)
      tookMs.push(healedMs)
      for (const each of here) wrong.push(`${where}: ${each}`)
      say(
        `${where}: told after ${toldMs} ms, ${replacedMs === undefined ? 'nothing moved' : `elsewhere after ${replacedMs} ms`}, exact ${healedMs} ms after it was back`,
      )
    }
  }
  return { what: 'engine down, and up again', times: tookMs.length, tookMs, boundMs: healsWithinMs, wrong }
}

async function fall(
  hosts: Hosts,
  victim: number,
  how: 'killed' | 'stopped',
): Promise<{ toldMs: number; replacedMs: number | undefined; healedMs: number; wrong: readonly string[] }> {
  const wrong: string[] = []
  const others = hosts.all().filter(({ index }) => index !== victim)
  const had = replicas - (await slotsOn(others)).length
  if (had === 0) wrong.push('it had nothing, so that nothing was tried')
  const begunAt = performance.now()
  await (how === 'killed' ? hosts.engineKill(victim) : hosts.engineStop(victim))
  const downAt = performance.now()
  const toldMs = await timed(() =>
    hosts.waitFor('all others say that its engine is down', async () => {
      const said = await Promise.all(others.map((other) => messageAbout(other, hosts.host(victim).name)))
      return said.every((message) => message.includes('its Docker engine does not answer'))
    }),
  )
  if (toldMs > toldWithinMs) wrong.push(`that was told only after ${toldMs} ms`)
  let replacedMs: number | undefined
  if (how === 'killed') {
    await delay(waitedMs)
    if ((await slotsOn(others)).length !== replicas - had)
      wrong.push('what lived on without its engine was run elsewhere')
  } else {
    await hosts.waitFor('all ten run elsewhere', async () => (await slotsOn(others)).length === replicas, {
      timeoutMs: 2 * replacedWithinMs,
    })
    replacedMs = Math.round(performance.now() - downAt)
    if (performance.now() - begunAt < defaults.engineDownGraceMs)
      wrong.push('its tasks moved within the grace')
    if (replacedMs > replacedWithinMs) wrong.push(`its tasks ran elsewhere only after ${replacedMs} ms`)
  }
  await hosts.engineStart(victim)
  const healedMs = await timed(() => untilRuns(hosts, web, replicas, 60_000))
  await delay(3_000)
  if (!(await runsExactly(hosts, web, replicas))) wrong.push('not exactly ten run any more')
  await allReady(hosts)
  return { toldMs, replacedMs, healedMs, wrong }
}

async function slotsOn(hosts: readonly TestHost[]): Promise<readonly string[]> {
  const running = (await Promise.all(hosts.map((host) => host.runningContainers()))).flat()
  const own = running.filter(({ Labels }) => Labels['com.docker.swarm.service.name'] === web)
  return [...new Set(own.map(({ Labels }) => Labels['moot.slot'] ?? ''))]
}

async function messageAbout(host: TestHost, name: string): Promise<string> {
  const nodes = await host.api<
    { readonly Description: { readonly Hostname: string }; readonly Status: { readonly Message?: string } }[]
  >('GET', '/nodes')
  return nodes.find(({ Description }) => Description.Hostname === name)?.Status.Message ?? ''
}
