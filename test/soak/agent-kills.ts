import { setTimeout as delay } from 'node:timers/promises'
import type { Hosts } from '../e2e/hosts.ts'
import { containersOf, services, untilRuns } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'
import { newService } from './edits.ts'
import type { Row } from './row.ts'
import { untilWell } from './wanted.ts'

const settleBoundMs = 60_000

/** SIGKILL to all agents at a random moment of a deploy: what was acknowledged is there, what ran runs on untouched. */
export async function agentKills(
  hosts: Hosts,
  times: number,
  random: Random,
  say: (line: string) => void,
): Promise<Row> {
  await hosts.host(1).api('POST', '/services/create', newService('steady', 5))
  await untilRuns(hosts, 'steady', 5)
  const steady = async (): Promise<string> =>
    (await containersOf(hosts, 'steady'))
      .map(({ Id }) => Id)
      .toSorted((a, b) => (a < b ? -1 : 1))
      .join()
  const before = await steady()
  const tookMs: number[] = []
  const wrong: string[] = []
  for (let turn = 1; turn <= times; turn += 1) {
    const name = `deployed-${turn}`
    const acknowledged: string[] = []
    const from = random.pick(hosts.all()) ?? hosts.host(1)
    const deploy = from.api('POST', '/services/create', newService(name, 6)).then(
      () => acknowledged.push(name),
      () => undefined,
    )
    const afterMs = random.between(0, 2_500)
    await delay(afterMs)
    await hosts.agentKill(1, 2, 3, 4, 5)
    await deploy
    await hosts.agentStart(1, 2, 3, 4, 5)
    const { tookMs: ms, wrong: left } = await untilWell(hosts, settleBoundMs)
    tookMs.push(ms)
    const where = `kill ${turn} (${afterMs} ms after the deploy began)`
    for (const each of left) wrong.push(`${where}: ${each}`)
    if ((await steady()) !== before) wrong.push(`${where}: containers that ran were touched`)
    const known = (await services(hosts.host(1))).map(({ Spec }) => Spec.Name)
    for (const each of acknowledged) if (!known.includes(each)) wrong.push(`${where}: ${each} is lost`)
    say(
      `${where}: ${acknowledged.length === 1 ? 'acknowledged' : 'not acknowledged'}, well ${ms} ms after the start`,
    )
    if (known.includes(name)) await hosts.host(2).docker('service', 'rm', name)
  }
  return { what: 'SIGKILL of all agents in a deploy', times, tookMs, boundMs: settleBoundMs, wrong }
}
