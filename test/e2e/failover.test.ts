import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import {
  allReady,
  containersOf,
  createService,
  runsExactly,
  service,
  services,
  untilRuns,
} from './questions.ts'

describe('hosts that die', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  // Done when, line 2. Two of the five here; `make soak` powers each of them off many times, and measures: 10 s at most.
  for (const victim of [1, 4]) {
    it(`ten replicas run on the other four soon after host ${victim} is powered off, and its return disturbs nothing`, async () => {
      await createService(hosts.host(2), 'web', '--replicas', '10')
      await untilRuns(hosts, 'web', 10)
      await hosts.kill(victim)
      await untilRuns(hosts, 'web', 10)
      const before = (await containersOf(hosts, 'web')).map((container) => container.Id).toSorted()
      await hosts.start(victim)
      await allReady(hosts)
      await hosts.waitFor('the returned host is synced', async () => {
        const status = await hosts.host(victim).api<{ synced?: boolean }>('GET', '/moot/v1/status')
        return status.synced === true
      })
      expect((await containersOf(hosts, 'web')).map((container) => container.Id).toSorted()).toEqual(before)
      // What it ran before it lost its power counts until it has looked at its engine.
      await hosts.waitFor('the returned host counts ten of ten', async () => {
        const { ServiceStatus } = await service(hosts.host(victim), 'web')
        return ServiceStatus?.RunningTasks === 10 && ServiceStatus.DesiredTasks === 10
      })
    })
  }

  // Done when, line 3.
  it('the last of five hosts accepts a deploy and a scale and runs them; when the others return all five agree', async () => {
    await createService(hosts.host(2), 'web', '--replicas', '4')
    await untilRuns(hosts, 'web', 4)
    await hosts.kill(1, 2, 3, 4)
    const last = hosts.host(5)
    await createService(last, 'alone', '--replicas', '2')
    await last.docker('service', 'scale', '--detach', 'web=6')
    await untilRuns(hosts, 'alone', 2)
    await untilRuns(hosts, 'web', 6)
    await hosts.start(1, 2, 3, 4)
    await allReady(hosts)
    await hosts.waitFor('all five agree on both services', async () => {
      const lists = await Promise.all(hosts.all().map(services))
      const texts = lists.map((list) =>
        JSON.stringify(list.map(({ ID, Spec, ServiceStatus }) => ({ ID, Spec, ServiceStatus }))),
      )
      return lists[0]?.length === 2 && texts.every((text) => text === texts[0])
    })
    expect((await service(hosts.host(1), 'web')).Spec.Mode.Replicated?.Replicas).toBe(6)
    await untilRuns(hosts, 'web', 6)
    await untilRuns(hosts, 'alone', 2)
  })

  // Done when, line 5.
  it('after all hosts lost power at once the cluster comes back by itself to the same specs and replica counts', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '7')
    await createService(hosts.host(3), 'each', '--mode', 'global')
    await untilRuns(hosts, 'web', 7)
    await untilRuns(hosts, 'each', 5)
    const before = (await services(hosts.host(4))).map(({ ID, Spec }) => ({ ID, Spec }))
    await hosts.kill(1, 2, 3, 4, 5)
    await hosts.start(1, 2, 3, 4, 5)
    await allReady(hosts)
    await untilRuns(hosts, 'web', 7)
    await untilRuns(hosts, 'each', 5)
    for (const host of hosts.all()) {
      expect((await services(host)).map(({ ID, Spec }) => ({ ID, Spec }))).toEqual(before)
    }
    expect(await runsExactly(hosts, 'web', 7)).toBe(true)
  })
})
