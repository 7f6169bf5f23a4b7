import { Hosts, type TestHost } from '../e2e/hosts.ts'
import { allReady, untilRuns } from '../e2e/questions.ts'

/** Of which nobody has been away before: whoever comes back often is given up more slowly, and gets less. */
export async function freshHosts(): Promise<Hosts> {
  const hosts = await Hosts.up(5, { fresh: true })
  await allReady(hosts)
  return hosts
}

/** All hosts, each round beginning with another one: which turn a host has must not make it special. */
export function inTurn(hosts: Hosts, round: number): TestHost[] {
  const all = hosts.all()
  return all.map((_, position) => hosts.host(((position + round - 1) % all.length) + 1))
}

/** All replicas stopped and placed anew by a neighbour of `victim`, so that it has its share whatever the last turn left. */
export async function spreadAnew(
  hosts: Hosts,
  victim: number,
  service: string,
  replicas: number,
): Promise<void> {
  const neighbour = hosts.host((victim % hosts.count) + 1)
  for (const count of [0, replicas]) {
    await neighbour.docker('service', 'scale', '--detach', `${service}=${count}`)
    await untilRuns(hosts, service, count)
  }
}
