import { setTimeout as delay } from 'node:timers/promises'
import { containerEventsOf } from '../e2e/container-events.ts'
import type { Hosts } from '../e2e/hosts.ts'
import { allReady, containersOf, createService, runsExactly, timed, untilRuns } from '../e2e/questions.ts'
import type { Random } from '../sim/random.ts'
import type { Row } from './row.ts'
import { freshHosts, inTurn, spreadAnew } from './turns.ts'
import { notExactly, untilWell, wrongNow } from './wanted.ts'

const stack = `
version: "3.8"
services:
  web:
    image: moot/test:1
    stop_grace_period: 1s
    deploy: { replicas: 0 }
`
const web = 'shop_web'
const replicas = 10
const own = 'own'
const ownReplicas = 2

/** For longer than any verdict takes, so that whatever the host would wrongly start has begun. */
const cutForMs = 20_000
/** From plugging in until exactly the wanted set runs; then it must stay so. */
const boundMs = 5_000
const restMs = 5_000
const giveUpMs = 60_000

export interface Turn {
  readonly had: number
  readonly replacedMs: number
  readonly deployedMs: number
  readonly healedMs: number
  readonly wrong: readonly string[]
}

/** Each host's cable is pulled `rounds` times in turn, for 20 s, while ten replicas must run. */
export async function cable(
  first: Hosts,
  rounds: number,
  random: Random,
  say: (line: string) => void,
): Promise<Row> {
  let hosts = first
  await deployShop(hosts)
  const turns: (Turn & { readonly victim: number })[] = []
  const wrong: string[] = []
  for (let round = 1; round <= rounds; round += 1) {
    // The third silence within ten minutes is believed after a minute (design/mesh.md, probation).
    if (round > 1 && round % 2 === 1) {
      hosts = await freshHosts()
      await deployShop(hosts)
    }
    for (const { index: victim } of inTurn(hosts, round)) {
      const deployAfterMs = random.between(500, cutForMs - 8_000)
      const turn = await pull(hosts, victim, { cutForMs, deployAfterMs })
      turns.push({ ...turn, victim })
      const where = `round ${round}, host ${victim}, deployed there ${deployAfterMs} ms after the cut`
      for (const each of turn.wrong) wrong.push(`${where}: ${each}`)
      say(
        `${where}: had ${turn.had}, replaced after ${turn.replacedMs} ms; its user's service ran after ${turn.deployedMs} ms; exact ${turn.healedMs} ms after plugging in${turn.wrong.length > 0 ? `: NOT well: ${turn.wrong.join('; ')}` : ''}`,
      )
    }
  }
  for (const { index } of hosts.all()) {
    // Whoever came back often is given work last.
    const tried = turns.some(({ victim, had }) => victim === index && had > 0)
    if (!tried)
      wrong.push(`host ${index} had nothing whenever its cable was pulled, so that nothing was tried`)
  }
  return {
    what: 'cable pulled for 20 s, in again',
    times: turns.length,
    tookMs: turns.map(({ healedMs }) => healedMs),
    hosts: turns.map(({ victim }) => victim),
    boundMs,
    wrong,
  }
}

/** The stack whose ten replicas a cable is pulled from; they begin with the first turn. */
export async function deployShop(hosts: Hosts): Promise<void> {
  await hosts.host(1).dockerWithInput(stack, 'stack', 'deploy', '-c', '-', 'shop')
}

/** One turn: spread anew, pulled for so long with a deploy by its own user meanwhile, plugged in, exact, cleared up. */
export async function pull(
  hosts: Hosts,
  victim: number,
  { cutForMs, deployAfterMs }: { readonly cutForMs: number; readonly deployAfterMs: number },
): Promise<Turn> {
  const host = hosts.host(victim)
  await spreadAnew(hosts, victim, web, replicas)
  const held = (await host.runningContainers()).map(({ Id }) => Id)
  const wrong: string[] = []

  const cutAtMs = Date.now()
  const begunAt = performance.now()
  await hosts.cut(victim)
  const carrier = (await host.inside('cat', '/sys/class/net/eth0/carrier')).trim()
  if (carrier !== '0') wrong.push(`its cable is pulled and its carrier is ${carrier}`)
  const [replacedMs, deployedMs] = await Promise.all([
    timed(() =>
      hosts.waitFor('the others run all ten', () => othersRun(hosts, victim), { timeoutMs: 60_000 }),
    ),
    deployOnIsland(hosts, victim, deployAfterMs),
  ])
  await delay(Math.max(0, cutForMs - (performance.now() - begunAt)))

  const kept = (await host.runningContainers()).map(({ Id }) => Id)
  const lost = held.filter((id) => !kept.includes(id))
  if (lost.length > 0) wrong.push(`it stopped ${lost.length} of the ${held.length} that it ran`)
  const begun = (await containerEventsOf(host, cutAtMs)).filter(({ action }) => action !== 'die')
  // Proof that the engine would have told.
  if (!begun.some(({ service }) => service === own)) wrong.push('its engine tells nothing of what it began')
  for (const { action, service, slot } of begun) {
    if (service !== own) wrong.push(`cut off, it did ${action} ${service}.${slot}`)
  }
  if (!(await othersRun(hosts, victim))) wrong.push('the others run all ten no more')

  const wanted = new Map([
    [web, replicas],
    [own, ownReplicas],
  ])
  const [healed] = await Promise.all([
    untilWell(hosts, giveUpMs, { look: () => notExactly(hosts, wanted), restMs, everyMs: 50 }),
    hosts.heal(victim),
  ])
  wrong.push(...healed.wrong)
  await allReady(hosts)
  wrong.push(...(await untilWell(hosts, giveUpMs, { look: () => wrongNow(hosts), restMs: 0 })).wrong)
  await host.docker('service', 'rm', own)
  await untilRuns(hosts, own, 0)
  return { had: held.length, replacedMs, deployedMs, healedMs: healed.tookMs, wrong }
}

/** Each slot once on the hosts that still have their cables. */
async function othersRun(hosts: Hosts, victim: number): Promise<boolean> {
  const running = (await containersOf(hosts, web)).filter(({ host }) => host !== victim)
  const slots = new Set(running.map(({ Labels }) => Labels['moot.slot']))
  return running.length === replicas && slots.size === replicas
}

/** Its user deploys through its own socket; gives how long it took until all of it ran there. */
async function deployOnIsland(hosts: Hosts, victim: number, afterMs: number): Promise<number> {
  await delay(afterMs)
  return timed(async () => {
    await createService(hosts.host(victim), own, '--replicas', String(ownReplicas))
    await hosts.waitFor('the service of the cut-off user runs there', async () => {
      const there = await hosts.host(victim).runningContainers()
      const running = there.filter(({ Labels }) => Labels['com.docker.swarm.service.name'] === own)
      return running.length === ownReplicas && (await runsExactly(hosts, own, ownReplicas))
    })
  })
}
