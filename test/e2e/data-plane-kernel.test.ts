import type { NodeId } from '@moot/crdt-state'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { peerHop } from '../../packages/agent/src/adapters/kernel/routing.ts'
import type { Frontend } from '../../packages/agent/src/core/network/plane.ts'
import {
  addressOf,
  bridgeOf,
  clientAddress,
  containers,
  hostCount,
  macOf,
  planeOf,
  publishedFrontend,
  servedPort,
  subnetOf,
  underlayOf,
  virtualAddress,
  virtualFrontend,
} from '../conformance/data-plane.setup.ts'
import { hostWithDocker, namespaceBed, type NamespaceBed } from './data-plane.bed.ts'
import { expectFlawless, lostBy } from './data-plane.losses.ts'

const { signal } = new AbortController()
const { web1, web2, neighbour1, data1 } = containers
const vip = virtualAddress('web', 5)

/** What only a real kernel can show. */
describe("the Linux kernel's data plane", () => {
  let bed: NamespaceBed
  let untouched: Record<string, string>
  beforeAll(async () => {
    bed = await namespaceBed()
    await bed.within('host1', 'nft', 'add table ip somebodys')
    await bed.within('host1', 'nft', 'add chain ip somebodys input { type filter hook input priority 0; }')
    untouched = await stateOf(bed, 1)
  })
  afterAll(() => bed?.close())
  beforeEach(() => apply([]))

  const apply = async (frontends: readonly Frontend[]): Promise<void> => {
    await Promise.all(
      Array.from({ length: hostCount }, (_, index) =>
        bed.dataPlane(index + 1).apply(planeOf(index + 1, frontends), signal),
      ),
    )
  }
  const applyAt = (host: number, frontends: readonly Frontend[]): Promise<void> =>
    bed.dataPlane(host).apply(planeOf(host, frontends), signal)

  it('backends that come and go under load break no connection and lose no packet', async () => {
    const sets = [[web1, web2], [web2], [neighbour1, web2], [web1]]
    await apply([publishedFrontend(8_080, sets[0]!)])
    const before = await lostBy(bed, 'client')
    const load = await bed.load('client', { to: underlayOf(3), port: 8_080, kept: 12, short: 2 })
    for (let round = 0; round < 12; round++) await apply([publishedFrontend(8_080, sets[round % 4]!)])
    const report = await load.end()
    expectFlawless(report)
    expect(report.by).toEqual(['neighbour1', 'web1', 'web2'])
    expect(await lostBy(bed, 'client')).toEqual(before)
  })

  it('an agent that is killed leaves all as it was, and the next one takes it over without a lost packet', async () => {
    const frontends = [publishedFrontend(8_080, [web1, web2]), virtualFrontend('web', 5, [web1, web2])]
    await apply(frontends)
    const before = [await lostBy(bed, 'client'), await lostBy(bed, 'neighbour1')]
    const outside = await bed.load('client', { to: underlayOf(1), port: 8_080, kept: 8, short: 1 })
    const inside = await bed.load('neighbour1', { to: vip, port: servedPort, kept: 8, short: 1 })
    for (const host of [1, 2, 1, 2]) {
      await bed.replaceAgent(host)
      await applyAt(host, frontends)
    }
    expectFlawless(await outside.end())
    expectFlawless(await inside.end())
    expect([await lostBy(bed, 'client'), await lostBy(bed, 'neighbour1')]).toEqual(before)
  })

  it.each(['built', 'put in force'])(
    'nor is one lost where an agent was killed that had just %s what balances',
    async (what) => {
      const frontends = [virtualFrontend('web', 5, [web1, web2])]
      await apply(frontends)
      // Each of the two takes its turn at being the one in force.
      for (let turn = 0; turn < 2; turn++) {
        const table = await ourTable(bed, 1)
        const other = table === 'moot' ? 'moot2' : 'moot'
        const copy = `nft list table ip ${table} | sed '1s/ ${table} / ${other} /' | nft -f -`
        await bed.within('host1', 'sh', '-c', what === 'built' ? `nft add table ip ${other}` : copy)
        const before = await lostBy(bed, 'neighbour1')
        const load = await bed.load('neighbour1', { to: vip, port: servedPort, kept: 8, short: 1 })
        await bed.replaceAgent(1)
        await applyAt(1, frontends)
        expectFlawless(await load.end())
        expect(await lostBy(bed, 'neighbour1')).toEqual(before)
      }
    },
  )

  it("a flow of datagrams leaves a backend that goes; a stranger's translation stays", async () => {
    const frontends = (backends: (typeof web1)[]): Frontend[] => [publishedFrontend(8_080, backends, 'udp')]
    const ask = (port: number): Promise<unknown> =>
      bed.order('client', {
        do: 'ask',
        to: underlayOf(3),
        port,
        protocol: 'udp',
        timeoutMs: 700,
        fromPort: 40_000,
      })
    await apply(frontends([web1]))
    expect(await ask(8_080)).toBe(`web1 ${clientAddress}`)
    await apply(frontends([web1, web2]))
    for (let again = 0; again < 8; again++) expect(await ask(8_080)).toBe(`web1 ${clientAddress}`)
    await apply(frontends([web2]))
    expect(await ask(8_080)).toBe(`web2 ${clientAddress}`)
    // One that comes to it anew knows nothing of what was: it compares all flows with what it is told.
    await bed.replaceAgent(3)
    await applyAt(3, frontends([web1]))
    expect(await ask(8_080)).toBe(`web1 ${clientAddress}`)
  })

  it('a connection that is established stays with a backend that goes', async () => {
    await apply([virtualFrontend('web', 5, [web2])])
    const load = await bed.load('neighbour1', { to: vip, port: servedPort, kept: 3, short: 0 })
    await apply([virtualFrontend('web', 5, [])])
    expect(await bed.ask('neighbour1', vip, servedPort)).toEqual({ kind: 'refused' })
    const { kept } = await load.end()
    expect(kept.failures).toEqual([])
    expect(kept.answers).toBeGreaterThan(10)
  })

  it('a port that a server still has in TIME_WAIT, from another host, is not refused', async () => {
    const ask = (host: number, fromPort: number): Promise<unknown> =>
      bed.order('client', {
        do: 'ask',
        to: underlayOf(host),
        port: 8_080,
        protocol: 'tcp',
        timeoutMs: 10_000,
        fromPort,
        serverCloses: true,
      })
    await apply([publishedFrontend(8_080, [web1])])
    const before = await lostBy(bed, 'client')
    // For each way the client's timestamps begin elsewhere: about half of the SYNs would seem to be older than what was (PAWS).
    for (let fromPort = 20_000; fromPort < 20_020; fromPort++) {
      for (const host of [3, 2, 1, 2, 3]) expect(await ask(host, fromPort)).toBe(`web1 ${clientAddress}`)
    }
    expect(await lostBy(bed, 'client')).toEqual(before)
  })

  it.each(['tcp', 'udp'] as const)(
    'a client may be connected to one container from one port through all hosts at a time, by %s',
    async (protocol) => {
      await apply([publishedFrontend(8_080, [web1], protocol)])
      const shared = { do: 'hold', port: 8_080, protocol, fromPort: 21_000 } as const
      for (const order of [
        [3, 2, 1],
        [1, 2, 3],
      ]) {
        const tos = order.map(underlayOf)
        expect(await bed.order('client', { ...shared, tos })).toEqual(tos.map(() => `web1 ${clientAddress}`))
      }
    },
  )

  it('large transfers fit through the tunnel, both ways, through any host, though nobody hears of ICMP', async () => {
    await apply([publishedFrontend(8_080, [web2])])
    for (const end of ['client', 'web2']) {
      await bed.within(end, 'nft', 'add table ip deaf')
      await bed.within(end, 'nft', 'add chain ip deaf input { type filter hook input priority 0; }')
      await bed.within(end, 'nft', 'add rule ip deaf input icmp type destination-unreachable drop')
    }
    for (const host of [1, 2, 3]) {
      const bytes = 3_000_000
      const question = { do: 'ask', to: underlayOf(host), port: 8_080, protocol: 'tcp' } as const
      expect(await bed.order('client', { ...question, bytes, timeoutMs: 20_000 })).toBe(
        `web2 ${clientAddress} ${bytes}`,
      )
    }
    for (const end of ['client', 'web2']) await bed.within(end, 'nft', 'delete table ip deaf')
  })

  it('port 53 of a bridge is the name server of this host', async () => {
    await bed.order('host1', { do: 'serve', name: 'names', port: 7_453 })
    for (const protocol of ['udp', 'tcp'] as const) {
      expect(await bed.ask('web1', addressOf('web', 1, 1), 53, protocol)).toMatchObject({
        by: 'names',
        sees: web1.address,
      })
    }
  })

  it("no container reaches what listens on its host's loopback, nor another network's bridge", async () => {
    await bed.order('host1', { do: 'serve', name: 'private', port: 7_999 })
    expect(await bed.ask('host1', '127.0.0.1', 7_999)).toMatchObject({ by: 'private' })
    expect(await bed.ask('web1', addressOf('web', 1, 1), 7_999)).toMatchObject({ by: 'private' })
    expect(await bed.ask('web1', addressOf('data', 1, 1), 7_999)).toEqual({ kind: 'unreachable' })
    await bed.within('neighbour1', 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1')
    for (const command of [
      'addr del 127.0.0.1/8 dev lo',
      `route add 127.0.0.0/8 via ${addressOf('web', 1, 1)} src ${neighbour1.address}`,
    ]) {
      await bed.within('neighbour1', 'ip', ...command.split(' '))
    }
    expect(await bed.ask('neighbour1', '127.0.0.1', 7_999)).toEqual({ kind: 'unreachable' })
    await bed.within('neighbour1', 'ip', 'route', 'del', '127.0.0.0/8')
    await bed.within('neighbour1', 'ip', 'addr', 'add', '127.0.0.1/8', 'dev', 'lo')
  })

  it("the tunnel lets in members only, and of theirs only what is a network's own or published", async () => {
    const tunnel = `link add moot0 address ${macOf(9)} type vxlan id 77 dstport 7422 local ${clientAddress} nolearning`
    for (const command of [
      tunnel,
      'link set moot0 mtu 1450 up',
      `neigh add ${underlayOf(1)} lladdr ${macOf(1)} dev moot0 nud permanent`,
      `route add ${subnetOf('web')} via ${underlayOf(1)} dev moot0 onlink src ${clientAddress}`,
    ]) {
      await bed.within('client', 'ip', ...command.split(' '))
    }
    await bed.within('client', 'bridge', ...`fdb add ${macOf(1)} dev moot0 dst ${underlayOf(1)}`.split(' '))
    const stranger = { node: planeOf(1, []).peers[0]!.node, underlay: clientAddress, mac: macOf(9), mark: 9 }
    const withClient = (frontends: readonly Frontend[], network: readonly string[]): Promise<void> => {
      const plane = planeOf(1, frontends)
      const peers = network.includes('member') ? [...plane.peers, stranger] : plane.peers
      return bed.dataPlane(1).apply({ ...plane, peers }, signal)
    }
    const ask = (): ReturnType<NamespaceBed['ask']> => bed.ask('client', web1.address, servedPort)

    await withClient([publishedFrontend(8_080, [])], [])
    expect(await ask()).toEqual({ kind: 'unreachable' })
    await withClient([], ['member'])
    expect(await ask()).toMatchObject({ by: 'web1', sees: clientAddress })
    // Now with a source that is no member's.
    await bed.within('client', 'ip', ...'addr add 192.0.2.1/32 dev lo'.split(' '))
    const route = `route replace ${subnetOf('web')} via ${underlayOf(1)} dev moot0 onlink src 192.0.2.1`
    await bed.within('client', 'ip', ...route.split(' '))
    expect(await ask()).toEqual({ kind: 'unreachable' })
    await withClient([publishedFrontend(8_080, [])], ['member'])
    expect(await ask()).toMatchObject({ by: 'web1', sees: '192.0.2.1' })
    await bed.within('client', 'ip', 'link', 'del', 'moot0')
  })

  it("what Docker's policy would drop passes by one rule, which is put back when it is lost", async () => {
    const rule = '-m mark --mark 0x4d000000/0xff000000 -j ACCEPT'
    const rules = (): Promise<string> => bed.within(`host${hostWithDocker}`, 'iptables', '-S', 'DOCKER-USER')
    expect((await rules()).split(rule)).toHaveLength(2)
    await bed.within(`host${hostWithDocker}`, 'iptables', '-D', 'DOCKER-USER', ...rule.split(' '))
    expect(await bed.ask('web1', web2.address, servedPort)).toEqual({ kind: 'unreachable' })
    await bed.replaceAgent(hostWithDocker)
    await applyAt(hostWithDocker, [])
    expect(await bed.ask('web1', web2.address, servedPort)).toMatchObject({ by: 'web2' })
    await bed.within(`host${hostWithDocker}`, 'iptables', '-D', 'DOCKER-USER', ...rule.split(' '))
    await bed.dataPlane(hostWithDocker).check(signal)
    expect((await rules()).split(rule)).toHaveLength(2)
  })

  it('whatever somebody took away is put back by a check', async () => {
    const frontends = [virtualFrontend('web', 5, [web2])]
    await applyAt(1, frontends)
    const damages = [
      ['nft', 'delete', 'table', 'ip', await ourTable(bed, 1)],
      ['ip', 'link', 'del', 'moot0'],
      ['ip', 'route', 'del', virtualAddress('web', 0) + '/20'],
      ['ip', 'neigh', 'del', peerHop(planeOf(1, []).peers[0]!.mark), 'dev', 'moot0'],
      ['bridge', 'fdb', 'del', macOf(2), 'dev', 'moot0'],
      ['sysctl', '-qw', `net.ipv4.conf.${bridgeOf('web')}.route_localnet=0`],
    ]
    for (const [program = '', ...args] of damages) {
      await applyAt(1, frontends)
      await bed.within('host1', program, ...args)
      await bed.dataPlane(1).check(signal)
      expect({ without: args, ...(await bed.ask('neighbour1', vip, servedPort)) }).toMatchObject({
        without: args,
        by: 'web2',
      })
      expect({ without: args, ...(await bed.ask('host1', vip, servedPort)) }).toMatchObject({
        without: args,
        by: 'web2',
      })
    }
  })

  it('a change mends a table that was flushed, without waiting for a check', async () => {
    await apply([virtualFrontend('web', 5, [web1])])
    await bed.within('host1', 'nft', 'delete', 'table', 'ip', await ourTable(bed, 1))
    await applyAt(1, [virtualFrontend('web', 5, [web2])])
    expect(await bed.ask('neighbour1', vip, servedPort)).toMatchObject({ by: 'web2' })
  })

  it('a plane that names no address at all is refused, with a typed error, and nothing is changed', async () => {
    await apply([virtualFrontend('web', 5, [web1])])
    const bad = { ...virtualFrontend('web', 5, []), backends: ['10.128.0.1; flush ruleset'] }
    await expect(applyAt(1, [bad])).rejects.toMatchObject({ code: 'ERR_DATA_PLANE_UNFIT' })
    const elsewhere = { ...planeOf(1, []), self: { underlay: '192.0.2.9', mac: macOf(1) } }
    await expect(bed.dataPlane(1).apply(elsewhere, signal)).rejects.toMatchObject({
      code: 'ERR_DATA_PLANE_UNDERLAY',
    })
    expect(await bed.ask('neighbour1', vip, servedPort)).toMatchObject({ by: 'web1' })
  })

  it('a bridge that Docker has not made yet keeps nothing else from working', async () => {
    await bed.within('host1', 'ip', 'link', 'set', bridgeOf('data'), 'name', 'elsewhere', 'down')
    await apply([virtualFrontend('web', 5, [web2])])
    expect(await bed.ask('web1', vip, servedPort)).toMatchObject({ by: 'web2' })
    await bed.within('host1', 'ip', 'link', 'set', 'elsewhere', 'name', bridgeOf('data'), 'up')
    await apply([virtualFrontend('data', 5, [data1])])
    expect(await bed.ask('data2', virtualAddress('data', 5), servedPort)).toMatchObject({ by: 'data1' })
  })

  it('a host that was set up anew is reached, though its former self is still listed with the same address', async () => {
    const plane = planeOf(1, [virtualFrontend('web', 5, [web2])])
    const [, second] = planeOf(3, []).peers
    const former = { ...second!, node: 'former' as NodeId, mac: macOf(8), mark: 8 }
    for (const peers of [
      [former, ...plane.peers],
      [...plane.peers, former],
    ]) {
      await bed.dataPlane(1).apply({ ...plane, peers }, signal)
      expect(await bed.ask('web1', vip, servedPort)).toMatchObject({ by: 'web2' })
    }
    const oneself = { ...former, underlay: underlayOf(1) }
    const routes = plane.networks.map((network) => ({
      ...network,
      routes: [
        ...network.routes,
        { block: `${network.subnet.replace('.0.0/18', '.50.0')}/28`, to: oneself.node },
      ],
    }))
    await bed.dataPlane(1).apply({ ...plane, networks: routes, peers: [...plane.peers, oneself] }, signal)
    expect(await bed.ask('web1', vip, servedPort)).toMatchObject({ by: 'web2' })
  })

  it('what it clears is as if it had never been; what is not its own it never touches', async () => {
    await apply([virtualFrontend('web', 5, [web1, web2]), publishedFrontend(8_080, [web1])])
    await bed.dataPlane(1).clear(signal)
    expect(await stateOf(bed, 1)).toEqual(untouched)
  })
})

/** Two take turns, and one is there. */
async function ourTable(bed: NamespaceBed, host: number): Promise<string> {
  const listed = await bed.within(`host${host}`, 'nft', 'list', 'tables', 'ip')
  const [table = '', ...others] = [...listed.matchAll(/^table ip (moot2?)$/gm)].map(([, name]) => name)
  expect([table, ...others]).toEqual([expect.stringContaining('moot')])
  return table
}

async function stateOf(bed: NamespaceBed, host: number): Promise<Record<string, string>> {
  const state: Record<string, string> = {}
  for (const command of [
    'nft list ruleset',
    'ip -4 rule',
    'ip -4 route show table all',
    'ip -o link show type vxlan',
    `sysctl net.ipv4.conf.${bridgeOf('web')}.proxy_arp net.ipv4.conf.${bridgeOf('web')}.route_localnet`,
  ]) {
    const [program = '', ...args] = command.split(' ')
    state[command] = await bed.within(`host${host}`, program, ...args)
  }
  return state
}
