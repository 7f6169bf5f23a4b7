import { beforeAll, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, containersOf, createService, service, services, untilRuns } from './questions.ts'

describe('agents that die', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.reset()
    await allReady(hosts)
  })

  // Done when, line 4.
  it('SIGKILL to every agent at once restarts no container, loses no acknowledged write and changes no state', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '10')
    await untilRuns(hosts, 'web', 10)
    const containers = (await containersOf(hosts, 'web')).map((container) => container.Id).toSorted()
    // Acknowledged just before the kill.
    await hosts.host(3).docker('service', 'update', '--detach', '--label-add', 'told=just-now', 'web')
    await createService(
      hosts.host(5),
      'late',
      '--replicas',
      '1',
      '--constraint',
      'node.labels.nowhere == here',
    )
    await hosts.agentKill(1, 2, 3, 4, 5)
    await hosts.agentStart(1, 2, 3, 4, 5)
    await allReady(hosts)
    for (const host of hosts.all()) {
      expect((await services(host)).map(({ Spec }) => Spec.Name).toSorted()).toEqual(['late', 'web'])
      expect((await service(host, 'web')).Spec).toMatchObject({ Labels: { told: 'just-now' } })
    }
    await hosts.waitFor('all ten are seen running again', async () => {
      const seen = await Promise.all(hosts.all().map((host) => service(host, 'web')))
      return seen.every(({ ServiceStatus }) => ServiceStatus?.RunningTasks === 10)
    })
    expect((await containersOf(hosts, 'web')).map((container) => container.Id).toSorted()).toEqual(containers)
  })

  it('a removed member stops its tasks, is told why, and goes inactive', async () => {
    await untilRuns(hosts, 'web', 10)
    const gone = hosts.host(5)
    await hosts.host(1).docker('node', 'rm', '--force', gone.name)
    await hosts.waitFor('the removed node is inactive', async () => {
      const { state } = await gone.api<{ state: { kind: string } }>('GET', '/moot/v1/status')
      return state.kind === 'removed'
    })
    expect(await gone.runningContainers()).toEqual([])
    await untilRuns(hosts, 'web', 10)
    const { state } = await gone.api<{ state: unknown }>('GET', '/moot/v1/status')
    expect(state).toMatchObject({ kind: 'removed' })
    await hosts.formCluster([1, 5])
    await allReady(hosts)
  })

  it('a member removed while it was off is handed its removal when it returns', async () => {
    await hosts.kill(4)
    await hosts.waitFor('host 4 is seen down', async () =>
      (await hosts.host(1).docker('node', 'ls')).includes('Down'),
    )
    await hosts.host(1).docker('node', 'rm', '--force', hosts.host(4).name)
    await hosts.start(4)
    await hosts.waitFor('the returned node is inactive', async () => {
      const { state } = await hosts.host(4).api<{ state: { kind: string } }>('GET', '/moot/v1/status')
      return state.kind === 'removed'
    })
    expect(await hosts.host(4).runningContainers()).toEqual([])
    await hosts.formCluster([1, 4])
    await allReady(hosts)
  })
})
