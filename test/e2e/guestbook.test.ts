import { beforeAll, describe, expect, it } from 'vitest'
import { book, deployGuestbook, powerOffUnderLoad, updateAndDrain, web } from './guestbook-trials.ts'
import { Hosts } from './hosts.ts'
import { allReady, containersOf } from './questions.ts'

/** As in test/soak/guestbook.ts, and less: two cores carry five hosts, their tunnels and the clients. */
const pressure = { kept: 60, single: 40, atLeast: 2_000 }

describe('the guestbook on five hosts', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
    await deployGuestbook(hosts)
  })

  it('finds Redis by its name from every host, and every host answers for it', async () => {
    const lookUp = "require('node:dns').lookup('redis', (_, address) => console.log(address))"
    const found = await containersOf(hosts, web)
    expect(new Set(found.map(({ host }) => host)).size).toBe(hosts.count)
    for (const { host, Id } of found)
      expect(await hosts.host(host).engine('exec', Id, 'node', '-e', lookUp)).toMatch(/^10\./)
    for (const host of hosts.all()) {
      const { client, count } = await book(hosts, host)
      expect(client.address).toBe('10.99.0.254')
      expect(count).toBeGreaterThanOrEqual(0)
    }
  })

  it('loses no request in a rolling update, nor when a host is drained', async () => {
    const reports = await updateAndDrain(hosts, pressure)
    expect(reports.flatMap(({ failures }) => failures)).toEqual([])
    const requests = reports.reduce((sum, report) => sum + report.requests, 0)
    expect(requests).toBeGreaterThanOrEqual(pressure.atLeast)
  })

  it('loses only what a host that dies was answering, and what went to it until the others knew', async () => {
    const { failures, lastedMs, healedMs } = await powerOffUnderLoad(hosts, { ...pressure, atLeast: 1_000 })
    // How soon is what `make soak` measures, where nothing else runs.
    expect(failures.filter(({ cause }) => cause.startsWith('status'))).toEqual([])
    expect(lastedMs).toBeLessThan(healedMs)
  })
})
