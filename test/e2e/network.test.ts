import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../scripts/bed/shell.ts'
import { Hosts, type TestHost } from './hosts.ts'
import { allReady, containersOf, createService, service, untilRuns } from './questions.ts'

const main = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))
/** The client is no member: the switch's own address. */
const clientAddress = '10.99.0.254'
const webPort = '8080'

interface Inspected {
  readonly Containers: Readonly<
    Record<string, { readonly Name: string; readonly IPv4Address: string }>
  > | null
}

interface StatusAnswer {
  readonly encryption?: {
    readonly by: string
    readonly sealed: readonly string[]
    readonly open: readonly string[]
  }
}

interface OverviewAnswer {
  readonly tunnel: { readonly port: number; readonly mtuBytes: number }
  readonly peers: readonly {
    readonly name: string
    readonly packets?: 'sealed' | 'open'
    readonly address: string
    readonly liveness: string
    readonly inTunnel: boolean
    readonly roundTripMs?: number
  }[]
}

interface NetworkAnswer {
  readonly network: { readonly bridge?: { readonly name: string; readonly address: string } }
  readonly services: readonly {
    readonly endpoints: readonly {
      readonly nodeName: string
      readonly address: string
      readonly answers: boolean
    }[]
  }[]
}

/** `moot net … --json`, as a process of its own. */
async function moot<Answer>(host: TestHost, ...words: readonly string[]): Promise<Answer> {
  const env = { ...process.env, MOOT_HOST: `unix://${host.agentSocket}` }
  return JSON.parse(await run(process.execPath, [main, 'net', ...words, '--json'], { env })) as Answer
}

async function encryptionOf(host: TestHost): Promise<StatusAnswer['encryption']> {
  return (await host.api<StatusAnswer>('GET', '/moot/v1/status')).encryption
}

describe('networks over hosts', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.up(5)
  })
  /** Containers that a test puts on networks itself. */
  const guests = ['box', 'second', 'closed']
  afterEach(async () => {
    for (const host of hosts.on()) await host.engine('rm', '--force', ...guests)
  })
  beforeEach(async () => {
    await hosts.reset()
    await allReady(hosts)
  })

  function ask(host: TestHost, port = webPort): Promise<string> {
    return hosts.fromClient(
      'curl',
      '--silent',
      '--show-error',
      '--max-time',
      '2',
      `http://${host.address}:${port}/`,
    )
  }

  /** From inside a container: the answer, or nothing. */
  async function askFrom(
    container: { readonly host: number; readonly Id: string },
    to: string,
  ): Promise<string> {
    const host = hosts.host(container.host)
    return host.engine('exec', container.Id, 'timeout', '2', 'wget', '-qO-', `http://${to}/`).catch(() => '')
  }

  /** What a name means in there: addresses, none where it is nobody's. */
  async function lookUp(
    container: { readonly host: number; readonly Id: string },
    name: string,
  ): Promise<readonly string[]> {
    const host = hosts.host(container.host)
    const told = await host.engine('exec', container.Id, 'nslookup', '-type=a', name).catch(() => '')
    const [, ...answers] = told.split(/^Name:/m)
    return answers.flatMap((answer) =>
      [...answer.matchAll(/^Address:\s+([\d.]+)$/gm)].map(([, address]) => address ?? ''),
    )
  }

  async function addressesOf(name: string): Promise<readonly string[]> {
    const rows = await hosts
      .host(1)
      .api<{ DesiredState: string; NetworksAttachments?: { Addresses: string[] }[] }[]>(
        'GET',
        `/tasks?filters=${encodeURIComponent(JSON.stringify({ service: [name], 'desired-state': ['running'] }))}`,
      )
    return rows.flatMap(({ NetworksAttachments }) =>
      (NetworksAttachments ?? []).flatMap(({ Addresses }) =>
        Addresses.map((text) => text.split('/')[0] ?? ''),
      ),
    )
  }

  async function virtualIpOf(name: string): Promise<string> {
    const { Endpoint } = (await service(hosts.host(2), name)) as unknown as {
      Endpoint: { VirtualIPs?: { Addr: string }[] }
    }
    return Endpoint.VirtualIPs?.[0]?.Addr.split('/')[0] ?? ''
  }

  it('every host answers on a published port, whichever hosts run the tasks, and they see the client’s address', async () => {
    await createService(hosts.host(3), 'web', '--replicas', '2', '--publish', `${webPort}:80`)
    await untilRuns(hosts, 'web', 2)
    await hosts.waitFor('every host answers', async () => {
      const answers = await Promise.all(hosts.all().map((host) => ask(host).catch(() => '')))
      return answers.every((answer) => answer.startsWith('v1 '))
    })
    for (const host of hosts.all())
      for (let turn = 0; turn < 4; turn += 1) expect(await ask(host)).toMatch(/^v1 /)
    const logs = await hosts.host(5).docker('service', 'logs', '--raw', 'web')
    const clients = new Set([...logs.matchAll(/\[::ffff:([\d.]+)\]/g)].map(([, address]) => address))
    expect([...clients]).toEqual([clientAddress])
    const container = (await containersOf(hosts, 'web'))[0]!
    expect(hosts.all().some(({ index }) => index !== container.host)).toBe(true)
  })

  it('containers reach each other over hosts, and a service by its virtual IP; another network is another world', async () => {
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'back')
    await hosts.host(4).docker('network', 'create', '--driver', 'overlay', 'other')
    await createService(hosts.host(2), 'web', '--replicas', '5', '--network', 'back')
    await createService(hosts.host(3), 'stranger', '--replicas', '5', '--network', 'other')
    await untilRuns(hosts, 'web', 5)
    await untilRuns(hosts, 'stranger', 5)
    await hosts.waitFor('the service has its virtual IP', async () => (await virtualIpOf('web')) !== '')
    const virtualIp = await virtualIpOf('web')
    const [web, strangers] = await Promise.all([containersOf(hosts, 'web'), containersOf(hosts, 'stranger')])
    const addresses = await addressesOf('web')
    expect(new Set(addresses).size).toBe(5)
    await hosts.waitFor('one reaches all', async () => {
      const answers = await Promise.all(addresses.map((address) => askFrom(web[0]!, address)))
      return new Set(answers.filter(Boolean)).size === 5
    })
    for (const container of web) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => askFrom(container, virtualIp)))
      expect(answers.filter((answer) => !answer.startsWith('v1 '))).toEqual([])
    }
    const stranger = strangers.find(({ host }) => host === web[0]!.host) ?? strangers[0]!
    for (const to of [...addresses, virtualIp]) expect(await askFrom(stranger, to)).toBe('')
  })

  it('a service has a name on every host of its network, also while the agent is gone, and none on another', async () => {
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'back')
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'other')
    await createService(hosts.host(2), 'web', '--replicas', '5', '--network', 'name=back,alias=www')
    await createService(hosts.host(3), 'stranger', '--replicas', '1', '--network', 'other')
    await untilRuns(hosts, 'web', 5)
    await untilRuns(hosts, 'stranger', 1)
    await hosts.waitFor('the service has its virtual IP', async () => (await virtualIpOf('web')) !== '')
    const [virtualIp, addresses] = await Promise.all([virtualIpOf('web'), addressesOf('web')])
    const web = await containersOf(hosts, 'web')
    for (const container of web) {
      await hosts.waitFor(`host ${container.host} knows the name`, async () =>
        (await lookUp(container, 'web')).includes(virtualIp),
      )
      for (const name of ['www', 'WEB.', 'web.moot.internal'])
        expect(await lookUp(container, name)).toEqual([virtualIp])
      expect((await lookUp(container, 'tasks.web')).toSorted()).toEqual(addresses.toSorted())
    }
    const [stranger] = await containersOf(hosts, 'stranger')
    expect(await lookUp(stranger!, 'web')).toEqual([])
    await hosts.agentKill(web[0]!.host)
    expect(await lookUp(web[0]!, 'web')).toEqual([virtualIp])
    await hosts.agentStart(web[0]!.host)
  })

  it('moot net tells of the tunnel, of the way to each host, and of who answers for a service', async () => {
    await hosts.host(1).docker('network', 'create', '--driver', 'overlay', 'back')
    const publish = ['--publish', `${webPort}:80`]
    await createService(hosts.host(2), 'web', '--replicas', '5', '--network', 'back', ...publish)
    await untilRuns(hosts, 'web', 5)
    await hosts.waitFor('the service has its virtual IP', async () => (await virtualIpOf('web')) !== '')
    const [virtualIp, addresses] = await Promise.all([virtualIpOf('web'), addressesOf('web')])
    const [asked, killed] = [hosts.host(3), hosts.host(5)]
    const endpoints = async () => (await moot<NetworkAnswer>(asked, 'inspect', 'back')).services[0]!.endpoints
    await hosts.waitFor('all five answer', async () => (await endpoints()).every(({ answers }) => answers))
    const { network, services } = await moot<NetworkAnswer>(asked, 'inspect', 'back')
    expect(services).toMatchObject([
      {
        name: 'web',
        by: 'vip',
        virtualIp,
        ports: [{ mode: 'ingress', protocol: 'tcp', port: Number(webPort), target: 80 }],
        problems: [],
      },
    ])
    const told = services[0]!.endpoints
    expect(told.map(({ address }) => address).toSorted()).toEqual(addresses.toSorted())
    expect(told.map(({ nodeName }) => nodeName).toSorted()).toEqual(hosts.all().map(({ name }) => name))
    const bridge = await asked.inside('ip', '-brief', '-4', 'addr', 'show', 'dev', network.bridge!.name)
    expect(bridge).toContain(` ${network.bridge!.address}/`)

    const others = hosts.all().filter(({ index }) => index !== asked.index)
    await hosts.waitFor('all is encrypted that can be', async () => {
      const { by = '', sealed = [] } = (await encryptionOf(asked)) ?? {}
      return by === 'none' || sealed.length === others.length
    })
    const { by, sealed = [], open = [] } = (await encryptionOf(asked)) ?? {}
    const overview = await moot<OverviewAnswer>(asked, 'ls')
    const device = await asked.inside('ip', '-details', 'link', 'show', 'dev', 'moot0')
    expect(device).toContain(`mtu ${overview.tunnel.mtuBytes} `)
    expect(device).toContain(`dstport ${overview.tunnel.port} `)
    expect(overview).toMatchObject({
      tunnel: { address: asked.address, encryption: { by } },
      nameServer: { running: true },
      problems: [],
    })
    const namesOf = (packets: string) =>
      overview.peers.filter((peer) => peer.packets === packets).map(({ name }) => name)
    expect(namesOf('sealed')).toEqual(sealed.toSorted())
    expect(namesOf('open')).toEqual(open.toSorted())
    expect(overview.peers.map(({ address }) => address).toSorted()).toEqual(
      others.map(({ address }) => address),
    )
    for (const { liveness, inTunnel, roundTripMs } of overview.peers) {
      expect({ liveness, inTunnel }).toEqual({ liveness: 'alive', inTunnel: true })
      expect(roundTripMs).toBeLessThan(1_000)
    }

    await hosts.kill(killed.index)
    const peer = async () =>
      (await moot<OverviewAnswer>(asked, 'ls')).peers.find(({ address }) => address === killed.address)
    await hosts.waitFor('it is told that the host is down', async () => (await peer())?.liveness === 'down')
    const left = (await endpoints()).find(({ nodeName }) => nodeName === killed.name)
    expect(left).toMatchObject({ answers: false, standing: 'out', why: 'its node does not answer' })
    await hosts.start(killed.index)
  })

  it('a container of a person’s on an attachable network reaches services of all hosts by name, and is reached from them', async () => {
    const [first, second] = [hosts.host(1), hosts.host(2)]
    await first.docker('network', 'create', '--driver', 'overlay', '--attachable', 'back')
    await createService(hosts.host(3), 'web', '--replicas', '5', '--network', 'back')
    await untilRuns(hosts, 'web', 5)
    const run = ['run', '--detach', '--network', 'back', '--network-alias', 'tool']
    const Id = (await second.docker(...run, '--name', 'box', 'moot/test:1')).trim()
    const box = { host: second.index, Id }
    const virtualIp = await virtualIpOf('web')
    expect(await lookUp(box, 'web')).toEqual([virtualIp])
    expect((await lookUp(box, 'tasks.web')).toSorted()).toEqual((await addressesOf('web')).toSorted())
    for (let turn = 0; turn < 8; turn += 1) expect(await askFrom(box, 'web')).toMatch(/^v1 /)
    const [network] = JSON.parse(await second.docker('network', 'inspect', 'back')) as Inspected[]
    const address = network?.Containers?.[Id]?.IPv4Address.split('/')[0] ?? ''
    expect(network?.Containers?.[Id]?.Name).toBe('box')
    for (const container of await containersOf(hosts, 'web')) {
      await hosts.waitFor(`host ${container.host} knows its names`, async () =>
        (await lookUp(container, 'tool')).includes(address),
      )
      for (const to of [address, 'box', 'tool', Id.slice(0, 12)])
        expect(await askFrom(container, to)).toMatch(/^v1 /)
    }
    await expect(first.docker('network', 'rm', 'back')).rejects.toThrow(/in use by/)
    await first.docker('service', 'rm', 'web')
    await expect(first.docker('network', 'rm', 'back')).rejects.toThrow(/in use by container box on node/)
    await second.docker('rm', '--force', 'box')
    await hosts.waitFor('the network can be removed', () => first.docker('network', 'rm', 'back'))
  })

  it('docker network connect and disconnect put a container on a network and take it off again', async () => {
    const [first, second] = [hosts.host(1), hosts.host(2)]
    await first.docker('network', 'create', '--driver', 'overlay', '--attachable', 'back')
    await first.docker('run', '--detach', '--name', 'box', '--network', 'back', 'moot/test:1')
    await second.docker('run', '--detach', '--name', 'second', 'moot/test:1')
    await second.docker('network', 'connect', '--alias', 'two', 'back', 'second')
    const box = { host: first.index, Id: 'box' }
    await hosts.waitFor('it has its alias elsewhere', async () => (await askFrom(box, 'two')) !== '')
    expect(await askFrom(box, 'second')).toMatch(/^v1 /)
    const [address] = await lookUp(box, 'two')
    await second.docker('restart', '--time', '1', 'second')
    await hosts.waitFor('it has its names again', async () => (await askFrom(box, 'two')) !== '')
    expect(await lookUp(box, 'two')).toEqual([address])
    await second.docker('network', 'disconnect', 'back', 'second')
    await hosts.waitFor('it has none any more', async () => (await lookUp(box, 'two')).length === 0)
    expect(await askFrom(box, address!)).toBe('')
  })

  it('a network takes no container of a person’s without --attachable, and none at another host’s address', async () => {
    const [first, second] = [hosts.host(1), hosts.host(2)]
    await first.docker('network', 'create', '--driver', 'overlay', 'shut')
    await first.docker('network', 'create', '--driver', 'overlay', '--attachable', 'back')
    const run = ['run', '--detach', '--name', 'closed']
    await expect(second.docker(...run, '--network', 'shut', 'moot/test:1')).rejects.toThrow(
      /network shut not manually attachable/,
    )
    await first.docker('run', '--detach', '--name', 'box', '--network', 'back', 'moot/test:1')
    const [network] = JSON.parse(await first.docker('network', 'inspect', 'back')) as Inspected[]
    const [taken] = Object.values(network?.Containers ?? {}).map(
      ({ IPv4Address }) => IPv4Address.split('/')[0]!,
    )
    const at = ['--network', 'back', '--ip', taken!, 'moot/test:1']
    await expect(second.docker(...run, ...at)).rejects.toThrow(/its own blocks of the network only/)
    await expect(first.docker(...run, ...at)).rejects.toThrow(/is in use on this node/)
  })

  it('what hosts send to each other is encrypted, and while all their keys change no request is lost', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '5', '--publish', `${webPort}:80`)
    await untilRuns(hosts, 'web', 5)
    await hosts.waitFor('every host answers', async () => {
      const answers = await Promise.all(hosts.all().map((host) => ask(host).catch(() => '')))
      return answers.every(Boolean)
    })
    const sealed = async (host: TestHost): Promise<number> => (await encryptionOf(host))?.sealed.length ?? 0
    await hosts.waitFor('all is encrypted', async () => {
      const counts = await Promise.all(hosts.all().map(sealed))
      return counts.every((count) => count === 4)
    })
    const keys = (): Promise<string[]> =>
      Promise.all(hosts.all().map((host) => host.inside('wg', 'show', 'all', 'public-key')))
    const before = await keys()
    await hosts.host(3).api('POST', '/moot/v1/networks/change-keys', {})
    const failed: unknown[] = []
    await hosts.waitFor('all have one new key each', async () => {
      for (const host of hosts.all()) await ask(host).catch((error: unknown) => failed.push(error))
      const now = await keys()
      return now.every((key, at) => key !== before[at] && key.trim().split('\n').length === 1)
    })
    expect(failed).toEqual([])
    for (const host of hosts.all()) expect(await sealed(host)).toBe(4)
    // Its process ends with it, as it does the other way round.
    const interfaces = await hosts.host(2).inside('wg', 'show', 'interfaces')
    await hosts.host(2).inside('ip', 'link', 'del', interfaces.trim())
    await hosts.waitFor(
      'it is made anew',
      async () => {
        const answers = await Promise.allSettled(Array.from({ length: 10 }, () => ask(hosts.host(2))))
        return answers.every(({ status }) => status === 'fulfilled')
      },
      { timeoutMs: 10_000 },
    )
    expect(await hosts.host(2).inside('wg', 'show', 'interfaces')).toBe(interfaces)
  })

  it('a host that restarts its agent loses no request, and one that dies is soon sent nothing any more', async () => {
    await createService(hosts.host(1), 'web', '--replicas', '5', '--publish', `${webPort}:80`)
    await untilRuns(hosts, 'web', 5)
    await hosts.waitFor('every host answers', async () => {
      const answers = await Promise.all(hosts.all().map((host) => ask(host).catch(() => '')))
      return answers.every(Boolean)
    })
    const over = new AbortController()
    const restarted = hosts
      .agentKill(2)
      .then(() => hosts.agentStart(2))
      .finally(() => over.abort())
    const failed: unknown[] = []
    while (!over.signal.aborted) await ask(hosts.host(2)).catch((error: unknown) => failed.push(error))
    await restarted
    expect(failed).toEqual([])
    await hosts.kill(4)
    await hosts.waitFor(
      'what answers is alive',
      async () => {
        const answers = await Promise.allSettled(Array.from({ length: 10 }, () => ask(hosts.host(1))))
        return answers.every(({ status }) => status === 'fulfilled')
      },
      { timeoutMs: 10_000 },
    )
    await hosts.start(4)
  })
})
