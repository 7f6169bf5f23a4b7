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
  it('a container killed by hand is replaced at once where no restart delay was given', async () => {
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
    // Swarm's delay, where none is given. Its figure is in `make bench`.
    expect(tookMs).toBeLessThan(5_000)
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

  it('a label has the agent ask a container whether it is ready, and whether it is well', async () => {
    const often = ['--replicas', '1', '--restart-delay', '0s']
    const probe = (what: string): string[] => ['--label', `moot.health.${what}`]
    await createService(
      hosts.host(1),
      'web',
      ...often,
      ...probe('http=80/index.html'),
      ...probe('interval=1s'),
      ...probe('retries=1'),
    )
    await createService(
      hosts.host(2),
      'api',
      ...often,
      ...probe('live.http=80/index.html'),
      ...probe('live.interval=1s'),
      ...probe('live.retries=1'),
    )
    const first = await Promise.all(['web', 'api'].map(running))
    const errorOf = async (): Promise<string | undefined> => {
      const now = (await tasks(hosts.host(3), 'web')).find(({ DesiredState }) => DesiredState === 'running')
      return now?.Status.State === 'running' ? (now.Status.Err ?? '') : undefined
    }
    // What breaks before it has been ready once is ill, and replaced.
    await hosts.waitFor('the one has been ready', async () => (await errorOf()) === '')
    const toBreak = 'mv /www/index.html /www/away'
    for (const { host, Id } of first) await hosts.host(host).engine('exec', Id, 'sh', '-c', toBreak)
    await hosts.waitFor('the one is told as not ready', async () =>
      /readiness.*404/.test((await errorOf()) ?? ''),
    )
    await hosts.waitFor('the other is replaced', async () => (await running('api')).Id !== first[1]?.Id)
    await hosts.host(first[0]!.host).engine('exec', first[0]!.Id, 'mv', '/www/away', '/www/index.html')
    await hosts.waitFor('the first is ready again', async () => (await errorOf()) === '')
    expect((await running('web')).Id).toBe(first[0]?.Id)
  })

  async function running(name: string): Promise<Awaited<ReturnType<typeof containersOf>>[number]> {
    await untilRuns(hosts, name, 1)
    const [container] = await containersOf(hosts, name)
    if (container === undefined) throw new Error(`nothing of ${name} runs`)
    return container
  }

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
