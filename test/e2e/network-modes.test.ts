import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ensureGuestbookImages } from '../../scripts/bed/guestbook-images.ts'
import { Hosts, type TestHost } from './hosts.ts'
import type { RunningLoad } from './load-process.ts'
import { allReady, containersOf, createService, service, untilRuns } from './questions.ts'

/** The client is no member: the switch's own address. */
const clientAddress = '10.99.0.254'
const port = 8_070

interface Where {
  readonly host: number
  readonly Id: string
}

/** What `moot/echo:1` says of whoever speaks to it. */
interface Echoed {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly host: string
  readonly said: string
}

describe('how a service is reached', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
    await hosts.load(await ensureGuestbookImages())
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  /** Once, from outside; what did not come within two seconds is an error. */
  async function echo(protocol: 'tcp' | 'udp', address: string, at = port): Promise<Echoed> {
    const program = `
      const [protocol, host, port] = process.argv.slice(1)
      const end = (text) => { process.stdout.write(text); process.exit() }
      setTimeout(() => process.exit(1), 2_000)
      if (protocol === 'udp') {
        const socket = require('node:dgram').createSocket('udp4')
        socket.on('message', (message) => end(message.toString()))
        socket.send('hello', port, host)
      } else {
        require('node:net').connect(port, host).on('data', (part) => end(part.toString())).on('error', () => process.exit(1))
      }`
    const told = await hosts.fromClient(process.execPath, '-e', program, protocol, address, String(at))
    return JSON.parse(told) as Echoed
  }

  function inside(where: Where, ...command: string[]): Promise<string> {
    return hosts
      .host(where.host)
      .engine('exec', where.Id, 'timeout', '2', ...command)
      .catch(() => '')
  }

  async function lookUp(where: Where, name: string): Promise<readonly string[]> {
    const [, ...answers] = (await inside(where, 'nslookup', '-type=a', name)).split(/^Name:/m)
    return answers.flatMap((answer) =>
      [...answer.matchAll(/^Address:\s+([\d.]+)$/gm)].map(([, address]) => address ?? ''),
    )
  }

  async function virtualIp(name: string): Promise<string> {
    return hosts.waitFor(`${name} has its virtual IP`, async () => {
      const { Endpoint } = (await service(hosts.host(1), name)) as unknown as {
        Endpoint: { VirtualIPs?: { Addr: string }[] }
      }
      return Endpoint.VirtualIPs?.[0]?.Addr.split('/')[0]
    })
  }

  async function untilAllAnswer(protocol: 'tcp' | 'udp', at = port): Promise<void> {
    await hosts.waitFor(`every host answers over ${protocol}`, async () => {
      const answers = await Promise.allSettled(hosts.on().map(({ address }) => echo(protocol, address, at)))
      return answers.every(({ status }) => status === 'fulfilled')
    })
  }

  const urls = (): readonly string[] => hosts.all().map(({ address }) => `http://${address}:${port}/`)

  async function untilAllServe(): Promise<void> {
    await hosts.waitFor('every host serves', async () => {
      const asked = urls().map((url) =>
        hosts.fromClient('curl', '--silent', '--fail', '--max-time', '2', url),
      )
      return (await Promise.allSettled(asked)).every(({ status }) => status === 'fulfilled')
    })
  }

  /** Requests through all hosts. The test image's server ends each connection. */
  function pressAll(): Promise<RunningLoad> {
    return hosts.loadFromClient({
      targets: urls(),
      connections: 10,
      keepAlive: false,
      ratePerSecond: 60,
      forMs: 120_000,
      atLeastRequests: 250,
    })
  }

  const create = (host: TestHost, name: string, ...options: string[]): Promise<void> =>
    createService(host, name, ...options, 'moot/echo:1')

  it('TCP and UDP: the container sees the client’s address, through whichever host it came', async () => {
    const published = ['tcp', 'udp'].flatMap((protocol) => [
      '--publish',
      `published=${port},target=7000,protocol=${protocol}`,
    ])
    await create(hosts.host(1), 'echo', '--replicas', '2', ...published)
    await untilRuns(hosts, 'echo', 2)
    for (const protocol of ['tcp', 'udp'] as const) {
      await untilAllAnswer(protocol)
      for (const { address } of hosts.all())
        expect(await echo(protocol, address)).toMatchObject({ protocol, address: clientAddress })
    }
    const logs = await hosts.host(4).docker('service', 'logs', '--raw', 'echo')
    const seen = new Set(
      logs
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Echoed)
        .map(({ protocol, address }) => `${protocol} ${address}`),
    )
    expect([...seen].toSorted()).toEqual([`tcp ${clientAddress}`, `udp ${clientAddress}`])
  })

  it('UDP: a client whose task goes is answered by another from its next datagram on', async () => {
    await create(
      hosts.host(1),
      'echo',
      '--replicas',
      '1',
      '--publish',
      `published=${port},target=7000,protocol=udp`,
    )
    await untilRuns(hosts, 'echo', 1)
    await untilAllAnswer('udp')
    // One socket all along: only the kernel's memory of it decides where it goes. It talks until a second task has answered for a while.
    const program = `
      const socket = require('node:dgram').createSocket('udp4')
      const tell = (what) => process.stdout.write(JSON.stringify(what) + '\\n')
      const by = []
      let sent = 0
      const end = () => { tell({ sent }); process.exit() }
      socket.on('message', (message) => {
        const { host } = JSON.parse(message)
        tell({ host })
        if (by.includes(host)) return
        by.push(host)
        if (by.length === 2) setTimeout(end, 2_000)
      })
      setInterval(() => { sent += 1; socket.send('again', ${port}, '${hosts.host(2).address}') }, 100)
      setTimeout(end, 60_000)`
    const talking = hosts.fromClient(process.execPath, '-e', program)
    await delay(1_000)
    const [before] = await containersOf(hosts, 'echo')
    await hosts
      .host(3)
      .docker('service', 'update', '--detach', '--force', '--update-order', 'start-first', 'echo')
    await hosts.waitFor('another task has taken over', async () => {
      const running = await containersOf(hosts, 'echo')
      return running.length === 1 && running[0]?.Id !== before?.Id
    })
    const lines = (await talking).trim().split('\n')
    const { sent } = JSON.parse(lines.pop() ?? '') as { sent: number }
    const answered = lines.map((line) => (JSON.parse(line) as Echoed).host)
    const by = [...new Set(answered)]
    expect(by).toHaveLength(2)
    expect(new Set(answered.slice(answered.indexOf(by[1]!))), 'from then on').toEqual(new Set([by[1]]))
    expect(sent - answered.length, 'datagrams without an answer').toBeLessThanOrEqual(5)
  })

  it('dnsrr: the name is the tasks, on every host, and there is no virtual IP', async () => {
    await hosts.host(2).docker('network', 'create', '--driver', 'overlay', 'back')
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '3',
      '--network',
      'back',
      '--endpoint-mode',
      'dnsrr',
    )
    await createService(hosts.host(1), 'asker', '--mode', 'global', '--network', 'back')
    await untilRuns(hosts, 'web', 3)
    await untilRuns(hosts, 'asker', 5)
    for (const asker of await containersOf(hosts, 'asker')) {
      await hosts.waitFor(
        `host ${asker.host} knows three tasks`,
        async () => (await lookUp(asker, 'web')).length === 3,
      )
      expect(await lookUp(asker, 'web')).toHaveLength(3)
      expect((await lookUp(asker, 'tasks.web')).toSorted()).toEqual((await lookUp(asker, 'web')).toSorted())
    }
    const { Endpoint } = (await service(hosts.host(4), 'web')) as unknown as {
      Endpoint: { VirtualIPs?: object[] }
    }
    expect(Endpoint.VirtualIPs ?? []).toEqual([])
    // A task that goes is no answer any more within the second.
    await hosts.host(5).docker('service', 'scale', '--detach', 'web=1')
    await untilRuns(hosts, 'web', 1)
    for (const asker of await containersOf(hosts, 'asker')) expect(await lookUp(asker, 'web')).toHaveLength(1)
  })

  it('hairpin: a task reaches itself by its service’s virtual IP and by the published port of its own host', async () => {
    await hosts.host(2).docker('network', 'create', '--driver', 'overlay', 'back')
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '1',
      '--network',
      'back',
      '--publish',
      `${port}:80`,
    )
    await untilRuns(hosts, 'web', 1)
    const address = await virtualIp('web')
    const [web] = await containersOf(hosts, 'web')
    const own = hosts.host(web!.host).address
    for (const to of [`http://${address}/`, 'http://web/', `http://${own}:${port}/`]) {
      await hosts.waitFor(`it reaches itself at ${to}`, async () =>
        (await inside(web!, 'wget', '-qO-', to)).startsWith('v1 '),
      )
    }
    // And from the host itself, by each of its addresses.
    for (const to of ['127.0.0.1', own])
      expect(
        await hosts.host(web!.host).inside('curl', '--silent', '--max-time', '2', `http://${to}:${port}/`),
      ).toMatch(/^v1 /)
  })

  it('host mode: the port is answered where the task is, and nowhere else', async () => {
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '2',
      '--publish',
      `mode=host,published=${port},target=80`,
    )
    await untilRuns(hosts, 'web', 2)
    const on = new Set((await containersOf(hosts, 'web')).map(({ host }) => host))
    expect(on.size).toBe(2)
    for (const host of hosts.all()) {
      const answer = await hosts
        .fromClient('curl', '--silent', '--max-time', '2', `http://${host.address}:${port}/`)
        .catch(() => '')
      expect([host.index, answer.startsWith('v1 ')]).toEqual([host.index, on.has(host.index)])
    }
  })

  it('a network that comes and goes under load costs others no request; one in use stays', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '3', '--publish', `${port}:80`)
    await untilRuns(hosts, 'web', 3)
    await untilAllServe()
    const load = await pressAll()
    const by = hosts.host(2)
    await by.docker('network', 'create', '--driver', 'overlay', 'passing')
    await createService(by, 'guest', '--replicas', '5', '--network', 'passing')
    await untilRuns(hosts, 'guest', 5)
    await expect(by.docker('network', 'rm', 'passing')).rejects.toThrow(/in use/)
    await by.docker('service', 'rm', 'guest')
    await untilRuns(hosts, 'guest', 0)
    await by.docker('network', 'rm', 'passing')
    const { requests, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(requests).toBeGreaterThan(200)
    await hosts.waitFor('no engine has it left', async () => {
      const left = await Promise.all(
        hosts.all().map((host) => host.engine('network', 'ls', '--format', '{{.Labels}} {{.Name}}')),
      )
      return left.every((text) => !text.includes('passing'))
    })
  })

  it('agents that restart under load lose no request', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '5', '--publish', `${port}:80`)
    await untilRuns(hosts, 'web', 5)
    await untilAllServe()
    const load = await pressAll()
    for (const index of [2, 4]) {
      await hosts.agentKill(index)
      await hosts.agentStart(index)
      await allReady(hosts)
    }
    const { requests, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(requests).toBeGreaterThan(200)
  })

  it('partition and heal: each side answers with what it has; afterwards all have one view, and every address once', async () => {
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'back')
    await createService(
      hosts.host(1),
      'web',
      '--replicas',
      '5',
      '--network',
      'back',
      '--publish',
      `${port}:80`,
    )
    await untilRuns(hosts, 'web', 5)
    const address = await virtualIp('web')
    await hosts.partition([
      [1, 2],
      [3, 4, 5],
    ])
    const answers = async (index: number): Promise<boolean> => {
      const each = Array.from({ length: 6 }, () =>
        hosts
          .host(index)
          .inside('curl', '--silent', '--fail', '--max-time', '1', `http://127.0.0.1:${port}/`),
      )
      return (await Promise.allSettled(each)).every(({ status }) => status === 'fulfilled')
    }
    for (const index of [1, 3])
      await hosts.waitFor(`host ${index} sends to its own side alone`, () => answers(index))
    // Each side makes a network and a service of its own meanwhile.
    for (const index of [2, 4]) {
      await hosts.host(index).docker('network', 'create', '--driver', 'overlay', `side${index}`)
      await createService(hosts.host(index), `of${index}`, '--replicas', '2', '--network', `side${index}`)
    }
    await hosts.waitFor('both sides run theirs', async () => {
      const counts = await Promise.all(
        ['of2', 'of4'].map(async (name) => (await containersOf(hosts, name)).length),
      )
      return counts.every((count) => count >= 2)
    })
    await hosts.heal()
    await allReady(hosts)
    await untilRuns(hosts, 'web', 5)
    await untilRuns(hosts, 'of2', 2)
    await untilRuns(hosts, 'of4', 2)
    expect(await virtualIp('web')).toBe(address)
    for (const { index } of hosts.all()) await hosts.waitFor(`host ${index} answers`, () => answers(index))
    const subnets = await Promise.all(
      ['back', 'side2', 'side4'].map(async (name) => {
        const format = '{{(index .IPAM.Config 0).Subnet}}'
        const told = await Promise.all(
          hosts.all().map((host) => host.docker('network', 'inspect', '--format', format, name)),
        )
        expect(new Set(told).size).toBe(1)
        return told[0]
      }),
    )
    expect(new Set(subnets).size).toBe(3)
    const rows = await hosts
      .host(5)
      .api<{ NetworksAttachments?: { Addresses: string[] }[] }[]>(
        'GET',
        `/tasks?filters=${encodeURIComponent(JSON.stringify({ 'desired-state': ['running'] }))}`,
      )
    const addresses = rows.flatMap(({ NetworksAttachments = [] }) =>
      NetworksAttachments.flatMap(({ Addresses }) => Addresses),
    )
    expect(new Set(addresses).size).toBe(addresses.length)
    expect(addresses.length).toBeGreaterThanOrEqual(9)
  })
})
