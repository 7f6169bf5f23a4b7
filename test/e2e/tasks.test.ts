import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Hosts } from './hosts.ts'
import { allReady, containersOf, createService, service, tasks, timed, untilRuns } from './questions.ts'

describe('tasks', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  // Done when, line 7.
  it('a container killed by hand is replaced within a second where no restart delay was given', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '1')
    await untilRuns(hosts, 'web', 1)
    const [victim] = await containersOf(hosts, 'web')
    if (victim === undefined) throw new Error('nothing runs')
    await hosts.host(victim.host).engine('kill', victim.Id)
    const tookMs = await timed(() =>
      hosts.waitFor(
        'another container runs',
        async () => {
          const now = await containersOf(hosts, 'web')
          return now.length === 1 && now[0]?.Id !== victim.Id
        },
        { intervalMs: 20 },
      ),
    )
    expect(tookMs).toBeLessThanOrEqual(1_000)
  })

  it('an explicit restart delay is honoured', async () => {
    await createService(hosts.host(1), 'slow', '--replicas', '1', '--restart-delay', '3s')
    await untilRuns(hosts, 'slow', 1)
    const [victim] = await containersOf(hosts, 'slow')
    if (victim === undefined) throw new Error('nothing runs')
    await hosts.host(victim.host).engine('kill', victim.Id)
    const tookMs = await timed(() =>
      hosts.waitFor('another container runs', async () => {
        const now = await containersOf(hosts, 'slow')
        return now.length === 1 && now[0]?.Id !== victim.Id
      }),
    )
    expect(tookMs).toBeGreaterThanOrEqual(3_000)
    expect(tookMs).toBeLessThan(5_000)
  })

  it('a task that always exits backs off, and stops at its maximum of attempts', async () => {
    await createService(hosts.host(2), 'crash', '--replicas', '1', 'moot/test:bad')
    await createService(
      hosts.host(2),
      'thrice',
      '--replicas',
      '1',
      '--restart-max-attempts',
      '2',
      '--restart-delay',
      '0s',
      'moot/test:bad',
    )
    const failedOf = async (name: string): Promise<number> =>
      (await tasks(hosts.host(3), name)).filter((task) => task.Status.State === 'failed').length
    await hosts.waitFor('the second has failed three times', async () => (await failedOf('thrice')) === 3)
    await hosts.waitFor('the first backs off: a task waits', async () =>
      (await tasks(hosts.host(3), 'crash')).some(
        (task) => task.DesiredState === 'ready' && task.Status.State === 'ready',
      ),
    )
    // Still three: the policy allows two restarts and no more.
    expect(await failedOf('thrice')).toBe(3)
  })

  // Done when, line 8.
  it('draining a node empties it, replacement first: never fewer than the wanted replicas run', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '8')
    await untilRuns(hosts, 'web', 8)
    let fewest = 8
    const watching = new AbortController()
    const watch = (async () => {
      while (!watching.signal.aborted) fewest = Math.min(fewest, (await containersOf(hosts, 'web')).length)
    })()
    await hosts.host(4).docker('node', 'update', '--availability', 'drain', hosts.host(2).name)
    await hosts.waitFor('host 2 is empty and eight run elsewhere', async () => {
      const running = await containersOf(hosts, 'web')
      return running.length === 8 && running.every((container) => container.host !== 2)
    })
    watching.abort()
    await watch
    expect(fewest).toBe(8)
    expect((await service(hosts.host(5), 'web')).ServiceStatus).toMatchObject({ RunningTasks: 8 })
  })

  // Done when, line 9.
  it('a service that fits nowhere stays pending with an explanation for each node', async () => {
    await createService(hosts.host(1), 'huge', '--reserve-memory', '900g')
    const text = await hosts.waitFor('docker service ps shows it pending', async () => {
      const shown = await hosts.host(3).docker('service', 'ps', '--no-trunc', 'huge')
      return shown.includes('Pending') && shown
    })
    for (const host of hosts.all()) expect(text).toContain(host.name)
    expect(text).toMatch(/memory/i)
    const told = await hosts.host(2).api<{ lines: string[] }[]>('GET', '/moot/v1/explain/huge')
    const lines = [told].flat().flatMap((each) => each.lines)
    for (const host of hosts.all()) {
      expect(lines.some((line) => line.includes(host.name) && /memory/i.test(line))).toBe(true)
    }
  })
})
