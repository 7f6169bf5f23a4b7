import { type ContainerId, type GuestEntry, type GuestId, type ResourceId } from '@moot/crdt-state'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'
import { AddressRefusedError, NoAddressError } from '../../packages/agent/src/errors.ts'

let bed: ApiBed
let lan: ResourceId
beforeEach(async () => {
  bed = await apiBed()
  lan = await networkOf('lan', { Attachable: true })
})
afterEach(async () => bed.stop())

async function networkOf(Name: string, spec: object = {}): Promise<ResourceId> {
  const { body } = await bed.call('POST', '/networks/create', { Name, Driver: 'overlay', ...spec })
  return (body as { Id: ResourceId }).Id
}

interface Asked {
  readonly path: string
  readonly body: unknown
}

/** The engine takes what it is asked by POST, and has these things. */
function engineTakes(has: Readonly<Record<string, unknown>> = {}): Asked[] {
  const asked: Asked[] = []
  const answer = (res: ServerResponse, status: number, body: unknown): true => {
    res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
    return true
  }
  bed.engine.answer = (req: IncomingMessage, res) => {
    const path = (req.url ?? '').replace(/^\/v\d+\.\d+/, '')
    if (req.method === 'GET') {
      const found = has[path.replace(/\?.*$/, '')]
      return found === undefined ? false : answer(res, 200, found)
    }
    if (req.method !== 'POST') return false
    let text = ''
    req.setEncoding('utf8')
    req.on('data', (chunk: string) => (text += chunk))
    req.on('end', () => {
      asked.push({ path, body: JSON.parse(text) as unknown })
      answer(res, 201, { Id: 'c1', Warnings: [] })
    })
    return true
  }
  return asked
}

const message = (body: unknown): string => (body as { message: string }).message

describe('docker run --network', () => {
  const run = (body: object, query = '') => bed.call('POST', `/v1.50/containers/create${query}`, body)

  test('on a network of the cluster: the engine is told its own network, the address, and the name server', async () => {
    const asked = engineTakes()
    const answer = await run(
      {
        Image: 'tools',
        Env: null,
        HostConfig: { NetworkMode: 'lan', Memory: 5, Dns: ['9.9.9.9'] },
        NetworkingConfig: { EndpointsConfig: { lan: { Aliases: ['db'], MacAddress: '' } } },
      },
      '?name=box',
    )
    expect([answer.status, answer.body]).toEqual([201, { Id: 'c1', Warnings: [] }])
    expect(asked).toEqual([
      {
        path: '/containers/create?name=box',
        body: {
          Image: 'tools',
          Env: null,
          HostConfig: { NetworkMode: 'bridge of lan', Memory: 5, Dns: ['10.128.1.1'] },
          NetworkingConfig: {
            EndpointsConfig: {
              'bridge of lan': {
                Aliases: ['db'],
                MacAddress: '',
                IPAMConfig: { IPv4Address: '10.128.1.2' },
              },
            },
          },
        },
      },
    ])
    expect(bed.cluster.attached).toEqual([{ network: lan, aliases: ['db'], nameservers: ['9.9.9.9'] }])
  })

  test('by its id or short id, with nothing said of the endpoint, and with an address that is asked for', async () => {
    const asked = engineTakes()
    for (const NetworkMode of [lan, lan.slice(0, 12)])
      expect((await run({ Image: 'tools', HostConfig: { NetworkMode } })).status).toBe(201)
    const endpoint = { IPAMConfig: { IPv4Address: '10.128.1.9' } }
    await run({
      HostConfig: { NetworkMode: 'lan' },
      NetworkingConfig: { EndpointsConfig: { [lan]: endpoint } },
    })
    expect(asked.map(({ body }) => (body as { NetworkingConfig: unknown }).NetworkingConfig)).toEqual(
      ['10.128.1.2', '10.128.1.3', '10.128.1.9'].map((IPv4Address) => ({
        EndpointsConfig: { 'bridge of lan': { IPAMConfig: { IPv4Address } } },
      })),
    )
    expect(bed.cluster.attached.at(-1)).toMatchObject({ address: '10.128.1.9' })
  })

  test('on several at once, with the engine’s own among them', async () => {
    await networkOf('wan', { Attachable: true })
    const asked = engineTakes()
    const EndpointsConfig = { lan: {}, own: { Aliases: ['x'] }, wan: null }
    await run({ HostConfig: { NetworkMode: 'lan' }, NetworkingConfig: { EndpointsConfig } })
    expect(asked[0]?.body).toMatchObject({
      HostConfig: { NetworkMode: 'bridge of lan', Dns: ['10.128.1.1'] },
      NetworkingConfig: {
        EndpointsConfig: {
          own: { Aliases: ['x'] },
          'bridge of lan': { IPAMConfig: { IPv4Address: '10.128.1.2' } },
          'bridge of wan': { IPAMConfig: { IPv4Address: '10.128.1.3' } },
        },
      },
    })
  })

  test('on no network of the cluster goes to the engine byte for byte, and so does what is no JSON', async () => {
    const bodies: string[] = []
    bed.engine.answer = (req, res) => {
      if (req.method !== 'POST') return false
      let text = ''
      req.on('data', (chunk: Buffer) => (text += chunk.toString()))
      req.on('end', () => {
        bodies.push(text)
        res.writeHead(201).end()
      })
      return true
    }
    const sent = [
      '{ "Image":"x",  "HostConfig":{"NetworkMode":"own","Memory":9007199254740993} }',
      '{"Image',
      '[1]',
    ]
    for (const body of sent) await bed.call('POST', '/containers/create', body)
    expect(bodies).toEqual(sent)
    expect(bed.cluster.attached).toEqual([])
  })

  test('on one without --attachable is refused in Docker’s words, and nothing reaches the engine', async () => {
    await networkOf('closed')
    const asked = engineTakes()
    const answer = await run({ HostConfig: { NetworkMode: 'closed' } })
    expect(answer.status).toBe(403)
    expect(message(answer.body)).toMatch(
      /^Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable/,
    )
    expect([asked, bed.cluster.attached]).toEqual([[], []])
  })

  test('with an address that is none, too many aliases, or others than texts is refused whole', async () => {
    const asked = engineTakes()
    const endpoints = [
      { IPAMConfig: { IPv4Address: '10.128.1' } },
      { IPAMConfig: { IPv4Address: 7 } },
      { Aliases: Array.from({ length: 65 }, (_, n) => `a${n}`) },
      { Aliases: ['a'.repeat(254)] },
      { Aliases: [7] },
    ]
    for (const lan of endpoints) {
      const body = { HostConfig: { NetworkMode: 'lan' }, NetworkingConfig: { EndpointsConfig: { lan } } }
      expect((await run(body)).status).toBe(400)
    }
    for (const Dns of [[{}], Array.from({ length: 17 }, () => '9.9.9.9'), ['9'.repeat(46)]])
      expect((await run({ HostConfig: { NetworkMode: 'lan', Dns } })).status).toBe(400)
    expect([asked, bed.cluster.attached]).toEqual([[], []])
  })

  test('with an address of another node’s is 400, and without any to be had 503', async () => {
    engineTakes()
    bed.cluster.refuseToAttach(new AddressRefusedError('not ours'))
    expect((await run({ HostConfig: { NetworkMode: 'lan' } })).status).toBe(400)
    bed.cluster.refuseToAttach(new NoAddressError('all are taken'))
    const late = await run({ HostConfig: { NetworkMode: 'lan' } })
    expect([late.status, message(late.body)]).toEqual([503, 'no address for this container: all are taken'])
  })
})

describe('docker network connect and disconnect', () => {
  const box = {
    Id: 'c1'.padEnd(64, '0'),
    Config: { Labels: {} },
    NetworkSettings: { Networks: { bridge: {}, 'lan-2': {} } },
  }
  const task = {
    ...box,
    Config: { Labels: { 'moot.task': 't', 'com.docker.swarm.service.name': 'web' } },
  }

  test('connect gives the engine its own network and the address', async () => {
    const asked = engineTakes({ '/containers/box/json': box })
    const EndpointConfig = { Aliases: ['db'], IPAMConfig: {} }
    const answer = await bed.call('POST', '/v1.41/networks/lan/connect', { Container: 'box', EndpointConfig })
    expect(answer.status).toBe(201)
    const IPAMConfig = { IPv4Address: '10.128.1.2' }
    expect(asked).toEqual([
      {
        path: '/networks/bridge%20of%20lan/connect',
        body: { Container: box.Id, EndpointConfig: { Aliases: ['db'], IPAMConfig } },
      },
    ])
  })

  test('connect to one without --attachable, and of what is not there, is refused', async () => {
    await networkOf('closed')
    engineTakes({ '/containers/box/json': box })
    const connect = (network: string, Container: string) =>
      bed.call('POST', `/networks/${network}/connect`, { Container })
    expect((await connect('closed', 'box')).status).toBe(403)
    expect((await connect('lan', 'none')).status).toBe(404)
    expect((await bed.call('POST', '/networks/lan/connect', {})).status).toBe(400)
    expect(bed.cluster.attached).toEqual([])
  })

  test('disconnect takes it off the network that it is on here', async () => {
    const networks = [
      { Id: 'n1', Name: 'lan' },
      { Id: 'n2', Name: 'lan-2' },
    ]
    const asked = engineTakes({ '/containers/box/json': box, '/networks': networks })
    const answer = await bed.call('POST', '/networks/lan/disconnect', { Container: 'box', Force: true })
    expect(answer.status).toBe(201)
    expect(asked).toEqual([{ path: '/networks/lan-2/disconnect', body: { Container: box.Id, Force: true } }])
    engineTakes({ '/containers/box/json': box, '/networks': [] })
    expect((await bed.call('POST', '/networks/lan/disconnect', { Container: 'box' })).status).toBe(404)
  })

  test('of a service’s task is refused: its networks are the service’s affair', async () => {
    engineTakes({ '/containers/web.1.t/json': task })
    for (const deed of ['connect', 'disconnect']) {
      const answer = await bed.call('POST', `/networks/lan/${deed}`, { Container: 'web.1.t' })
      expect([answer.status, message(answer.body)]).toEqual([
        403,
        expect.stringContaining('is a task of service web'),
      ])
    }
  })

  test('of networks of the engine’s own go there as they came', async () => {
    const asked = engineTakes()
    await bed.call('POST', '/networks/own/connect', { Container: 'box' })
    await bed.call('POST', '/networks/own/disconnect', { Container: 'box' })
    expect(asked).toEqual([
      { path: '/networks/own/connect', body: { Container: 'box' } },
      { path: '/networks/own/disconnect', body: { Container: 'box' } },
    ])
  })
})

describe('a network with such containers', () => {
  test('is inspected with those of this node', async () => {
    const Containers = { c1: { Name: 'box', IPv4Address: '10.128.1.2/18' } }
    engineTakes({ '/networks': [{ Id: 'n1', Name: 'lan' }], '/networks/n1': { Containers } })
    expect((await bed.call('GET', '/networks/lan')).body).toMatchObject({ Scope: 'swarm', Containers })
    await bed.engine.stop()
    expect((await bed.call('GET', '/networks/lan')).body).toMatchObject({ Scope: 'swarm', Containers: null })
  })

  test('cannot be removed, here or where another node’s record tells of one', async () => {
    const container = 'c1' as ContainerId
    bed.cluster.setGuests([{ container, name: 'box', isUp: false, network: lan }])
    const here = await bed.call('DELETE', '/networks/lan')
    expect([here.status, message(here.body)]).toEqual([
      400,
      expect.stringMatching(
        /is in use by container box on node host-1: disconnect or remove that one first$/,
      ),
    ])
    bed.cluster.setGuests([])
    const guest: GuestEntry = {
      id: 'g' as GuestId,
      network: lan,
      address: '10.128.2.2',
      aliases: [],
      nameservers: [],
      createdAtMs: 0,
      container: { id: container, name: 'far', isUp: true },
    }
    const [self, other] = bed.cluster.nodes
    bed.cluster.putGuest(other!, guest)
    const there = await bed.call('DELETE', '/networks/lan')
    expect(message(there.body)).toContain('is in use by container far on node host-2')
    bed.cluster.setLiveness(other!, { kind: 'down', observers: [] })
    // What this node's own record still says, its engine does not.
    bed.cluster.putGuest(self!, guest)
    expect((await bed.call('DELETE', '/networks/lan')).status).toBe(204)
  })
})
