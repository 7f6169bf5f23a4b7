import type { Hosts } from '../e2e/hosts.ts'
import { allReady, containersOf, createService, runsExactly } from '../e2e/questions.ts'
import { containerEvents } from '../e2e/container-events.ts'
import type { Row } from './row.ts'
import { freshHosts, inTurn, spreadAnew } from './turns.ts'

const replicas = 10
const giveUpMs = 60_000
/** How often it is asked whether all run. To ask costs the engines what they need for starting. */
const lookIntervalMs = 500

/** Each host is powered off `rounds` times in turn, and comes back, while ten replicas must run. */
export async function failovers(rounds: number, say: (line: string) => void): Promise<Row> {
  const tookMs: number[] = []
  const victims: number[] = []
  const wrong: string[] = []
  for (let round = 1; round <= rounds; round += 1) {
    // Nobody has been away before: whoever comes back often is given work last, and the hosts would not be alike.
    const hosts = await freshHosts()
    await createService(hosts.host(1), 'web', '--replicas', '0')
    for (const { index: victim } of inTurn(hosts, round)) {
      const { had, ms, wrong: here } = await failover(hosts, victim)
      tookMs.push(ms)
      victims.push(victim)
      const where = `round ${round}, host ${victim}`
      for (const each of here) wrong.push(`${where}: ${each}`)
      say(`${where}: had ${had}, all ten elsewhere after ${ms} ms`)
    }
  }
  return {
    what: 'power off a host, ten replicas',
    times: tookMs.length,
    tookMs,
    hosts: victims,
    medianBoundMs: 3_000,
    boundMs: 5_000,
    wrong,
  }
}

async function failover(
  hosts: Hosts,
  victim: number,
): Promise<{ readonly had: number; readonly ms: number; readonly wrong: readonly string[] }> {
  const wrong: string[] = []
  await spreadAnew(hosts, victim, 'web', replicas)
  const had = (await containersOf(hosts, 'web')).filter(({ host }) => host === victim).length
  if (had === 0) wrong.push('it had nothing, so that nothing was tried')
  // From before its cable goes dead until, by the engines' own word, the last replica has started elsewhere.
  const offAtMs = Date.now()
  await hosts.kill(victim)
  await hosts.waitFor('ten run elsewhere', () => runsExactly(hosts, 'web', replicas), {
    timeoutMs: giveUpMs,
    intervalMs: lookIntervalMs,
  })
  const started = (await containerEvents(hosts, offAtMs)).filter(({ action }) => action === 'start')
  const ms = Math.max(offAtMs, ...started.map(({ atMs }) => atMs)) - offAtMs
  if (started.length !== had) wrong.push(`it had ${had}, and ${started.length} were started elsewhere`)
  const ids = async (): Promise<string> =>
    (await containersOf(hosts, 'web'))
      .map(({ Id }) => Id)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .join()
  const before = await ids()
  await hosts.start(victim)
  await allReady(hosts)
  await hosts.waitFor('the returned host is synced', async () => {
    const { synced } = await hosts.host(victim).api<{ synced?: boolean }>('GET', '/moot/v1/status')
    return synced
  })
  if ((await ids()) !== before) wrong.push('its return changed what runs')
  if (!(await runsExactly(hosts, 'web', replicas))) wrong.push('not exactly ten run')
  return { had, ms, wrong }
}
