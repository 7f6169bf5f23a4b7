import type { Hosts, TestHost } from '../e2e/hosts.ts'
import { untilRuns } from '../e2e/questions.ts'

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
