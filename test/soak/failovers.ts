import type { Hosts } from '../e2e/hosts.ts'
import { allReady, containersOf, createService, runsExactly, timed, untilRuns } from '../e2e/questions.ts'
import type { Row } from './row.ts'

/** Each host is powered off `rounds` times in turn, and comes back, while ten replicas must run. */
export async function failovers(hosts: Hosts, rounds: number, say: (line: string) => void): Promise<Row> {
  await hosts.reset()
  await allReady(hosts)
  await createService(hosts.host(1), 'web', '--replicas', '10')
  await untilRuns(hosts, 'web', 10)
  const ids = async (): Promise<string> =>
    (await containersOf(hosts, 'web'))
      .map(({ Id }) => Id)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .join()
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let round = 1; round <= rounds; round += 1) {
    for (const { index: victim } of hosts.all()) {
      const had = (await containersOf(hosts, 'web')).filter(({ host }) => host === victim).length
      await hosts.kill(victim)
      const ms = await timed(() => untilRuns(hosts, 'web', 10, 60_000))
      tookMs.push(ms)
      const before = await ids()
      await hosts.start(victim)
      await allReady(hosts)
      await hosts.waitFor('the returned host is synced', async () => {
        const { synced } = await hosts.host(victim).api<{ synced?: boolean }>('GET', '/moot/v1/status')
        return synced
      })
      const where = `round ${round}, host ${victim}`
      if ((await ids()) !== before) wrong.push(`${where}: its return changed what runs`)
      if (!(await runsExactly(hosts, 'web', 10))) wrong.push(`${where}: not exactly ten run`)
      say(`${where}: had ${had}, all ten elsewhere after ${ms} ms`)
    }
  }
  return { what: 'power off a host, ten replicas', times: tookMs.length, tookMs, boundMs: 10_000, wrong }
}
