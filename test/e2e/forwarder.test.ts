import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Hosts, type TestHost } from './hosts.ts'
import { allReady, containersOf, createService, service, untilRuns } from './questions.ts'

const webPort = '8080'
/** As in a container that was not given it, or on Docker Desktop. */
const withoutKernel = { through: ['setpriv', '--bounding-set=-net_admin'] }

/** The first two hosts may not touch their kernel's networks; the third may. */
describe('published ports where the kernel cannot be used', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(3, { fresh: true, agent: withoutKernel })
    await hosts.agentKill(3)
    await hosts.agentStartAs({}, 3)
  })
  afterAll(() => hosts?.down())
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  function ask(host: TestHost, port = webPort): Promise<string> {
    const url = `http://${host.address}:${port}/`
    return hosts.fromClient('curl', '--silent', '--show-error', '--max-time', '2', url)
  }

  /** Which containers answered so many questions. */
  async function answering(host: TestHost, count: number): Promise<ReadonlySet<string>> {
    const answers: string[] = []
    for (let turn = 0; turn < count; turn += 1) answers.push((await ask(host)).trim().split(' ')[1] ?? '')
    return new Set(answers)
  }

  async function untilAllAnswer(): Promise<void> {
    await hosts.waitFor('every host answers', async () => {
      const answers = await Promise.all(hosts.all().map((host) => ask(host).catch(() => '')))
      return answers.every((answer) => answer.startsWith('v1 '))
    })
  }

  async function warnings(host: TestHost): Promise<string> {
    const { Warnings } = await host.api<{ Warnings: readonly string[] | null }>('GET', '/info')
    return (Warnings ?? []).join('\n')
  }

  it('the forwarder is chosen by itself, and said', async () => {
    for (const host of [hosts.host(1), hosts.host(2)]) {
      expect(await warnings(host)).toContain(
        'WARNING: published ports are passed on in userland, and networks reach one node: this process may not set up networks',
      )
      expect(await host.api('GET', '/moot/v1/status')).toMatchObject({ network: { kind: 'userland' } })
    }
    expect(await hosts.host(3).api('GET', '/moot/v1/status')).toMatchObject({ network: { kind: 'kernel' } })
  })

  it.each(['node1', 'node3'])('every host answers where the only task is on %s', async (node) => {
    await createService(
      hosts.host(2),
      'web',
      '--publish',
      `${webPort}:80`,
      '--constraint',
      `node.hostname == ${node}`,
    )
    await untilRuns(hosts, 'web', 1)
    await untilAllAnswer()
    for (const host of hosts.all())
      for (let turn = 0; turn < 4; turn += 1) expect(await ask(host)).toMatch(/^v1 /)
    expect(await hosts.host(1).inside('curl', '--silent', `http://127.0.0.1:${webPort}/`)).toMatch(/^v1 /)
  })

  it('a host without a kernel shares out among all tasks; one with a kernel among those that it reaches', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '3', '--publish', `${webPort}:80`)
    await untilRuns(hosts, 'web', 3)
    await untilAllAnswer()
    const containers = await containersOf(hosts, 'web')
    expect(new Set(containers.map(({ host }) => host)).size).toBe(3)
    const idOf = (index: number): string =>
      containers.find(({ host }) => host === index)?.Id.slice(0, 12) ?? ''
    await hosts.waitFor('one host sends to all', async () => (await answering(hosts.host(1), 24)).size === 3)
    expect((await answering(hosts.host(2), 24)).size).toBe(3)
    expect(await answering(hosts.host(3), 8)).toEqual(new Set([idOf(3)]))
  })

  it('while its agent restarts no request is lost, nor while the service is updated', async () => {
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '3',
      '--publish',
      `${webPort}:80`,
      '--update-delay',
      '1s',
    )
    await untilRuns(hosts, 'web', 3)
    await untilAllAnswer()
    const load = await hosts.loadFromClient({
      targets: [1, 2].map((index) => `http://${hosts.host(index).address}:${webPort}/`),
      connections: 8,
      keepAlive: false,
      ratePerSecond: 40,
      forMs: 120_000,
      atLeastRequests: 150,
    })
    await hosts.agentKill(1)
    await hosts.agentStart(1)
    await allReady(hosts)
    await hosts.host(2).docker('service', 'update', '--detach', '--env-add', 'A=1', 'web')
    await hosts.waitFor(
      'the service is updated',
      async () => (await service(hosts.host(2), 'web')).UpdateStatus?.State === 'completed',
      { timeoutMs: 90_000 },
    )
    const { requests, failed, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(failed).toBe(0)
    expect(requests).toBeGreaterThan(100)
  })

  it('a port that another program has is said, and the other hosts answer', async () => {
    const first = hosts.host(1)
    const other = first.inside('timeout', '60', 'busybox', 'nc', '-l', '-p', webPort).catch(() => '')
    await createService(hosts.host(2), 'web', '--publish', `${webPort}:80`)
    await untilRuns(hosts, 'web', 1)
    await hosts.waitFor('it is said', async () =>
      (await warnings(first)).includes(
        `port ${webPort}/tcp is not answered here: another program of this host has it`,
      ),
    )
    // Each opens the port once it has heard of the service.
    for (const host of [hosts.host(2), hosts.host(3)]) {
      let answer = ''
      await hosts.waitFor(
        `${host.name} answers`,
        async () => (answer = await ask(host).catch(() => '')) !== '',
      )
      expect(answer).toMatch(/^v1 /)
    }
    // It ends with the first connection.
    await ask(first).catch(() => '')
    await other
    await hosts.waitFor('it answers once the port is free', async () =>
      (await ask(first).catch(() => '')).startsWith('v1 '),
    )
  })
})
