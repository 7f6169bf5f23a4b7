import { addressFact, type NodeId, type ResourceId } from '@moot/crdt-state'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'
import { tunnelMac } from '../../packages/agent/src/core/network/peers.ts'
import { nothingCounted } from '../../packages/agent/src/ports/name-server.ts'
import { runMoot } from './run-moot.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- answers are read as a client without types reads them
type Any = any
const subnet = '10.1.0.0/24'
const author = { node: 'test', client: 'test', atMs: 1 }

let bed: ApiBed
let back: ResourceId
afterEach(async () => bed.stop())

async function ok(path: string): Promise<Any> {
  const answer = await bed.call('GET', path)
  expect(answer).toMatchObject({ status: 200 })
  return answer.body
}

/** `back` with the service `web` on it: two tasks at addresses of their nodes', one of which is not ready. */
async function webOnBack(): Promise<void> {
  bed = await apiBed()
  bed.cluster.setNetwork({
    kind: 'kernel',
    version: 'Linux 6.18, nftables v1.0.6',
    wireGuard: { kind: 'wireguard-go' },
  })
  const made = await bed.call('POST', '/networks/create', {
    Name: 'back',
    Driver: 'overlay',
    IPAM: { Config: [{ Subnet: subnet }] },
    Internal: false,
    Options: { 'com.example': 'yes' },
  })
  back = (made.body as Any).Id
  const service = await bed.call('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'app:1' }, Networks: [{ Target: back }] },
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  })
  await bed.cluster.addFacts(
    'service',
    (service.body as Any).ID,
    new Map([addressFact.virtualIp(back, { n: 1, value: '10.1.0.7' })]),
    author,
  )
  const tasks = bed.cluster.tasks()
  for (const [at, { node, task }] of tasks.entries()) {
    bed.cluster.claim(node, { network: back, subnet, blocks: [at] })
    const addresses = [{ network: 'back', id: back, address: `10.1.0.${65 + 4 * at}/24` }]
    bed.cluster.changeTask(task.id, { seenEpoch: 1, addresses })
  }
  bed.cluster.changeTask(tasks[1]!.task.id, { unready: { sinceMs: 0, why: 'GET /ready → 503' } })
  const [, second, third] = bed.cluster.nodes as [NodeId, NodeId, NodeId]
  bed.cluster.setLiveness(third, { kind: 'down', observers: [bed.cluster.self] })
  bed.cluster.setEncryption({ wireGuard: { kind: 'wireguard-go' }, sealed: [second], open: [third] })
  bed.cluster.setFindings({
    tunnel: {
      kind: 'found',
      value: {
        kind: 'vxlan',
        device: 'moot0',
        port: 7422,
        mtuBytes: 1450,
        peers: [{ mac: tunnelMac(second), underlay: '10.99.0.2', mark: 7 }],
      },
    },
    nameServer: { kind: 'found', value: { ...nothingCounted, answered: 3 } },
    probes: new Map([[second, { kind: 'answered', roundTripMs: 0.4 }]]),
  })
}

describe('where networks reach over hosts', () => {
  beforeEach(webOnBack)

  test('the tunnel, its peers with their latencies, the networks and the name server are told', async () => {
    const [self, second, third] = bed.cluster.nodes
    expect(await ok('/moot/v1/net')).toEqual({
      node: { id: self, name: 'host-1' },
      dataPlane: { kind: 'kernel', version: 'Linux 6.18, nftables v1.0.6' },
      tunnel: {
        kind: 'vxlan',
        device: 'moot0',
        address: '10.99.0.1',
        port: 7422,
        mtuBytes: 1450,
        encryption: { by: 'wireguard-go' },
      },
      peers: [
        {
          id: second,
          name: 'host-2',
          address: '10.99.0.2',
          liveness: 'alive',
          probe: 'answered',
          roundTripMs: 0.4,
          inTunnel: true,
          packets: 'sealed',
          problems: [],
        },
        {
          id: third,
          name: 'host-3',
          address: '10.99.0.3',
          liveness: 'down',
          inTunnel: false,
          packets: 'open',
          problems: [],
        },
      ],
      nameServer: { running: true, counts: { ...nothingCounted, answered: 3 } },
      networks: [
        {
          id: back,
          name: 'back',
          driver: 'overlay',
          subnet,
          internal: false,
          attachable: false,
          ingress: false,
          options: { 'com.example': 'yes' },
          blocks: ['10.1.0.64/30'],
          bridge: { name: `moot-${back.slice(0, 10)}`, address: '10.1.0.64' },
          services: 1,
          problems: [],
        },
      ],
      problems: [],
    })
  })

  test('a peer that the kernel knows at another address is not in the tunnel', async () => {
    const [, second] = bed.cluster.nodes as [NodeId, NodeId]
    const { tunnel } = await bed.cluster.networkFindings(AbortSignal.timeout(1_000))
    if (tunnel.kind !== 'found') throw new Error('there is a tunnel')
    const peers = [{ mac: tunnelMac(second), underlay: '10.99.0.77', mark: 7 }]
    bed.cluster.setFindings({ tunnel: { ...tunnel, value: { ...tunnel.value, peers } } })
    expect((await ok('/moot/v1/net')).peers[0]).toMatchObject({ name: 'host-2', inTunnel: false })
  })

  test('what a node could not do is among its problems', async () => {
    bed.cluster.setFindings({
      failure: 'nft said no',
      tunnel: { kind: 'failed', why: 'ip said no' },
      nameServer: { kind: 'failed', why: 'it hangs' },
    })
    const answer = await ok('/moot/v1/net')
    expect(answer).toMatchObject({
      problems: [expect.stringContaining('nft said no'), expect.stringContaining('ip said no')],
      nameServer: { running: false, why: 'it hangs' },
    })
    expect(answer).not.toHaveProperty('tunnel')
  })

  test('of a network its services are told, and who answers for them', async () => {
    const { network, services } = await ok('/moot/v1/net/back')
    expect(network).toMatchObject({ id: back, subnet, services: 1 })
    const [first, second] = bed.cluster.tasks().map(({ task }) => task.id)
    expect(services).toEqual([
      {
        id: expect.any(String) as string,
        name: 'web',
        by: 'vip',
        virtualIp: '10.1.0.7',
        ports: [{ mode: 'ingress', protocol: 'tcp', port: 8080, target: 80 }],
        endpoints: [
          {
            task: 'web.1',
            id: first,
            node: bed.cluster.nodes[0],
            nodeName: 'host-1',
            address: '10.1.0.65',
            answers: true,
            standing: 'first',
          },
          {
            task: 'web.2',
            id: second,
            node: bed.cluster.nodes[1],
            nodeName: 'host-2',
            address: '10.1.0.69',
            answers: false,
            standing: 'unready',
            why: 'GET /ready → 503',
          },
        ],
        problems: [],
      },
    ])
    expect(await ok(`/moot/v1/net/${back.slice(0, 8)}`)).toEqual({ network, services })
    const missing = await bed.call('GET', '/moot/v1/net/nothing')
    expect([missing.status, missing.text]).toEqual([404, expect.stringContaining('network nothing')])
  })

  test('moot net shows them, and moot net inspect one network', async () => {
    const overview = await runMoot(bed, 'net')
    expect(overview).toMatchObject({ code: 0, err: '' })
    expect(overview.out).toBe(
      [
        'node        host-1',
        'data plane  Linux 6.18, nftables v1.0.6',
        'tunnel      VXLAN at 10.99.0.1, UDP port 7422, device moot0, MTU 1450',
        '            encrypted by WireGuard (wireguard-go), to and from who is sealed',
        'names       3 questions answered, 0 passed on',
        '',
        'PEER    ADDRESS    STATE  RTT     TUNNEL  PACKETS      PROBLEM',
        'host-2  10.99.0.2  alive  0.4 ms  yes     sealed',
        'host-3  10.99.0.3  down           no      in the open',
        '',
        'NETWORK  SUBNET       SERVICES  HERE       BLOCKS        OPTIONS          PROBLEM',
        'back     10.1.0.0/24  1         10.1.0.64  10.1.0.64/30  com.example=yes',
        '',
      ].join('\n'),
    )
    const inspected = await runMoot(bed, 'net', 'inspect', 'back')
    expect(inspected).toMatchObject({ code: 0, err: '' })
    expect(inspected.out).toBe(
      [
        `network  back (${back})`,
        'subnet   10.1.0.0/24',
        'options  com.example=yes',
        `here     bridge moot-${back.slice(0, 10)} at 10.1.0.64, of 10.1.0.64/30`,
        '',
        'SERVICE  VIRTUAL IP  PORTS           ANSWERING  PROBLEM',
        'web      10.1.0.7    *:8080->80/tcp  1 of 2',
        '',
        'TASK   NODE    ADDRESS    STANDING',
        'web.1  host-1  10.1.0.65  answers',
        'web.2  host-2  10.1.0.69  unready: GET /ready → 503',
        '',
      ].join('\n'),
    )
  })

  test('keys are changed when asked, and a node that has none says what to do', async () => {
    expect(await runMoot(bed, 'net', 'change-keys')).toMatchObject({
      code: 0,
      out: expect.stringContaining('All nodes begin to change their keys'),
    })
    expect(bed.cluster.keyChanges()).toBe(1)
    bed.cluster.setEncryption({ wireGuard: { kind: 'none', why: 'wg is missing' }, sealed: [], open: [] })
    const refused = await runMoot(bed, 'net', 'change-keys')
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('wg is missing; or ask another')])
  })

  test('--json prints what the agent said', async () => {
    const overview = await runMoot(bed, 'net', '--json')
    expect(JSON.parse(overview.out)).toEqual(await ok('/moot/v1/net'))
    const inspected = await runMoot(bed, 'net', 'inspect', 'back', '--json')
    expect(JSON.parse(inspected.out)).toEqual(await ok('/moot/v1/net/back'))
    const missing = await runMoot(bed, 'net', 'inspect', 'nothing')
    expect([missing.code, missing.err]).toEqual([1, expect.stringContaining('network nothing')])
  })

  test('Docker’s clients see the virtual IP, and a task’s network with its subnet and its address', async () => {
    const service = await ok('/services/web')
    expect(service.Endpoint.VirtualIPs).toEqual([{ NetworkID: back, Addr: '10.1.0.7/24' }])
    const [task] = await ok('/tasks')
    expect(task.NetworksAttachments).toMatchObject([
      {
        Network: {
          ID: back,
          Spec: { Name: 'back', DriverConfiguration: { Name: 'overlay' }, Scope: 'swarm' },
          IPAMOptions: { Driver: { Name: 'default' }, Configs: [{ Subnet: subnet }] },
        },
        Addresses: ['10.1.0.65/24'],
      },
    ])
  })
})

test('a host that cannot have such networks says why, and still tells of its peers', async () => {
  bed = await apiBed()
  await bed.call('POST', '/networks/create', { Name: 'back', Driver: 'overlay' })
  const answer = await ok('/moot/v1/net')
  expect(answer).toMatchObject({
    dataPlane: { kind: 'none', why: 'it is in memory' },
    peers: [{ name: 'host-2', address: '10.99.0.2', liveness: 'alive', inTunnel: false }, { name: 'host-3' }],
    nameServer: { running: false },
    networks: [{ name: 'back', blocks: [] }],
  })
  expect(answer.networks[0]).not.toHaveProperty('services')
  const shown = await runMoot(bed, 'net')
  expect(shown.out).toContain('data plane  none: it is in memory\n')
  expect((await runMoot(bed, 'net', 'inspect', 'back')).out).toContain('it reaches over this host only')
})

test('a host that passes published ports on in userland says why, and that networks end there', async () => {
  bed = await apiBed()
  bed.cluster.setNetwork({ kind: 'userland', why: 'nft is missing' })
  await bed.call('POST', '/networks/create', {
    Name: 'back',
    Driver: 'overlay',
    IPAM: { Config: [{ Subnet: subnet }] },
  })
  const answer = await ok('/moot/v1/net')
  expect(answer).toMatchObject({
    dataPlane: { kind: 'userland', why: 'nft is missing' },
    networks: [{ name: 'back', problems: [expect.stringContaining('over this host only')] }],
    problems: [],
  })
  expect(answer.peers[0]).not.toHaveProperty('packets')
  const shown = await runMoot(bed, 'net')
  expect(shown.out).toContain(
    'data plane  published ports in userland, no networks over nodes: nft is missing\n',
  )
})
