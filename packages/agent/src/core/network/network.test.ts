import {
  addressFact,
  type NetworkSpec,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isStewardOf } from '../steward.ts'
import type { View } from '../view.ts'
import { answerName } from './answering.ts'
import { NameIndex } from './name-index.ts'
import { createNetwork, type Network, type NetworkOutlook } from './network.ts'
import { tunnelMac } from './peers.ts'
import {
  addressIn,
  claim,
  type Host,
  hostId,
  livenessOf,
  network,
  onNetworks,
  type Scene,
  taskAt,
  viewOf,
} from './scene.testing.ts'

const [frontCidr, backCidr] = ['10.1.0.0/18', '10.2.0.0/24']
const front = network('front', { subnet: frontCidr })
const back = network('back', { subnet: backCidr, Internal: true })
const vip = (of: Resource<NetworkSpec>, value: string) => addressFact.virtualIp(of.id, { n: 1, value })
const web = onNetworks(
  'web',
  [front, back],
  { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } },
  [vip(front, '10.1.0.9'), vip(back, '10.2.0.9')],
)
const db = onNetworks('db', [back], { EndpointSpec: { Mode: 'dnsrr' } })

const webTask = (block: number, slot: number, patch: Partial<TaskEntry> = {}) =>
  taskAt(
    web,
    slot,
    [
      [front, addressIn(frontCidr, block, slot)],
      [back, addressIn(backCidr, block, slot)],
    ],
    patch,
  )

const hostA: Host = {
  name: 'a',
  address: '192.168.0.1',
  blocks: [claim(front, frontCidr, 3, 5), claim(back, backCidr, 3)],
  tasks: [webTask(3, 1), taskAt(db, 1, [[back, addressIn(backCidr, 3, 3)]])],
}
const hostB: Host = {
  name: 'b',
  address: '192.168.0.2',
  blocks: [claim(front, frontCidr, 4), claim(back, backCidr, 4)],
  tasks: [webTask(4, 2)],
}
const scene: Scene = { networks: [front, back], services: [web, db], hosts: [hostA, hostB] }

function ask(scene: Scene, network: Network = createNetwork()): NetworkOutlook {
  return network.update({
    view: viewOf(scene),
    liveness: livenessOf(scene),
    marks: new Map(),
    reach: 'hosts',
  })
}
const specOf = (task: TaskEntry): ServiceSpec | undefined =>
  [web, db].find(({ id }) => id === (task.service as ResourceId))?.spec

describe('a node’s plane', () => {
  const { plane, marks } = ask(scene)

  test('has each network, with its bridge here and the ways to the blocks of others', () => {
    expect(plane!.networks).toEqual(
      [
        {
          id: front.id,
          subnet: frontCidr,
          virtual: '10.1.0.0/20',
          isInternal: false,
          bridge: { name: `moot-${front.id.slice(0, 10)}`, address: addressIn(frontCidr, 3, 0) },
          routes: [{ block: '10.1.16.64/28', to: hostId(hostB) }],
        },
        {
          id: back.id,
          subnet: backCidr,
          virtual: '10.2.0.0/26',
          isInternal: true,
          bridge: { name: `moot-${back.id.slice(0, 10)}`, address: addressIn(backCidr, 3, 0) },
          routes: [{ block: '10.2.0.80/30', to: hostId(hostB) }],
        },
      ].sort((a, b) => (a.id < b.id ? -1 : 1)),
    )
    expect(plane!.networks[0]!.bridge!.name.length).toBeLessThanOrEqual(15)
  })

  test('has the other members, and no way to one that is not reached', () => {
    expect(plane!.peers).toEqual([
      {
        node: hostId(hostB),
        underlay: '192.168.0.2',
        mac: tunnelMac(hostId(hostB)),
        mark: marks.get(hostId(hostB)),
      },
    ])
    const unreachable = ask({ ...scene, hosts: [hostA, { ...hostB, address: '127.0.0.1' }] })
    expect(unreachable.plane!.peers).toEqual([])
    expect(unreachable.plane!.networks.map(({ routes }) => routes)).toEqual([[], []])
    expect(unreachable.waits.peers).toEqual([{ kind: 'no-underlay', node: hostId(hostB) }])
  })

  test('sends what comes to a virtual IP to addresses on its network, and to a port to those on the first that is not internal', () => {
    const onFront = [addressIn(frontCidr, 3, 1), addressIn(frontCidr, 4, 2)]
    const onBack = [addressIn(backCidr, 3, 1), addressIn(backCidr, 4, 2)]
    expect(plane!.frontends).toHaveLength(3)
    expect(plane!.frontends).toEqual(
      expect.arrayContaining([
        { at: { kind: 'virtual', address: '10.1.0.9', network: front.id }, backends: onFront },
        { at: { kind: 'virtual', address: '10.2.0.9', network: back.id }, backends: onBack },
        { at: { kind: 'published', protocol: 'tcp', port: 8080, target: 80 }, backends: onFront },
      ]),
    )
  })

  test('has the same frontends on every node', () => {
    expect(ask({ ...scene, hosts: [hostB, hostA] }).plane!.frontends).toEqual(plane!.frontends)
  })

  test('refuses on its frontends where nobody answers: they stay', () => {
    const { plane } = ask({
      ...scene,
      hosts: [
        { ...hostA, tasks: [] },
        { ...hostB, liveness: 'down' },
      ],
    })
    expect(plane!.frontends.map(({ backends }) => backends)).toEqual([[], [], []])
  })
})

describe('an outlook', () => {
  test('is the same values where nothing of it changed', () => {
    const network = createNetwork()
    const view = viewOf(scene)
    const before = network.update({ view, liveness: livenessOf(scene), marks: new Map(), reach: 'hosts' })
    const record = view.records.get(hostId(hostB))!
    const status = { ...record.status!, volumes: ['data'] }
    const records = new Map(view.records).set(record.node, { ...record, seq: 2, status })
    const services = new Map([...view.services].map(([id, service]) => [id, { ...service, versionIndex: 9 }]))
    const next = { ...view, records, services }
    const again = network.update({
      view: next,
      liveness: livenessOf(scene),
      marks: before.marks,
      reach: 'hosts',
    })
    expect(again.plane).toBe(before.plane)
    expect(again.endpoints).toBe(before.endpoints)
    expect(again.subnets).toBe(before.subnets)
    expect(again.marks).toBe(before.marks)
  })

  test('of a task that changed leaves other services’ frontends the values that they were', () => {
    const network = createNetwork()
    const before = ask(scene, network)
    const changed = { ...hostB, tasks: [webTask(4, 2, { state: 'failed' })] }
    const alone = onNetworks('alone', [back], {}, [vip(back, '10.2.0.10')])
    const withAlone = { ...scene, services: [web, db, alone] }
    const first = ask(withAlone, network)
    const after = ask({ ...withAlone, hosts: [hostA, changed] }, network)
    const of = (outlook: NetworkOutlook) =>
      outlook.plane!.frontends.find(({ at }) => at.kind === 'virtual' && at.address === '10.2.0.10')
    expect(of(after)).toBe(of(first))
    expect(after.plane!.networks).toBe(first.plane!.networks)
    expect(after.plane!.frontends).not.toEqual(before.plane!.frontends)
  })

  test('of a node that lost its first block has another address for its bridge', () => {
    const network = createNetwork()
    const bridges = (blocks: readonly number[]) => {
      const claims = [claim(front, frontCidr, ...blocks)]
      const { plane } = ask({ ...scene, hosts: [{ ...hostA, blocks: claims }, hostB] }, network)
      return plane!.networks.find(({ id }) => id === front.id)?.bridge?.address
    }
    expect(bridges([3, 5])).toBe(addressIn(frontCidr, 3, 0))
    expect(bridges([5, 3])).toBe(addressIn(frontCidr, 5, 0))
    expect(bridges([])).toBeUndefined()
  })

  test('tells the steward, and nobody else, what to write beside a spec', () => {
    const undrawn = network('undrawn')
    const late = onNetworks('late', [front], { EndpointSpec: { Ports: [{ TargetPort: 80 }] } })
    const open = { ...scene, networks: [front, back, undrawn], services: [web, db, late] }
    const outlooks = [open, { ...open, hosts: [hostB, hostA] as const }].map((scene) => ask(scene))
    for (const id of [undrawn.id, late.id]) {
      const stewards = [hostA, hostB].filter((host) =>
        isStewardOf(id, hostId(host), [hostA, hostB].map(hostId), livenessOf(open)),
      )
      expect(stewards).toHaveLength(1)
      expect(outlooks.filter(({ facts }) => facts.has(id))).toHaveLength(1)
    }
    const facts = new Map(outlooks.flatMap((outlook) => [...outlook.facts]))
    expect([...facts.get(undrawn.id)!.keys()]).toEqual(['subnet/1'])
    expect([...facts.get(late.id)!.keys()]).toEqual([`vip/${front.id}/1`, 'port/80/tcp/1'])
    expect(outlooks[0]!.waits.networks).toEqual(new Map([[undrawn.id, { kind: 'not-drawn' }]]))
    expect(outlooks[0]!.waits.services.get(late.id as ServiceId)).toEqual([
      { kind: 'vip-not-drawn', network: front.id },
      { kind: 'port-not-drawn', port: '80/tcp' },
    ])
  })

  test('once its facts are written asks for nothing more', () => {
    const late = onNetworks('late', [front], { EndpointSpec: { Ports: [{ TargetPort: 80 }] } })
    const alone: Scene = { ...scene, services: [late], networks: [front, network('undrawn')], hosts: [hostA] }
    const { facts } = ask(alone)
    const written = <T extends Resource<unknown>>(resource: T): T => ({
      ...resource,
      facts: new Map([...resource.facts, ...(facts.get(resource.id) ?? [])]),
    })
    const after = ask({
      ...alone,
      services: alone.services!.map(written),
      networks: alone.networks!.map(written),
    })
    expect(after.facts.size).toBe(0)
    expect(after.waits).toEqual({ networks: new Map(), services: new Map(), peers: [] })
    expect(after.plane!.frontends).toHaveLength(2)
  })
})

describe('a name table', () => {
  const asked = createNetwork()
  ask(scene, asked)
  const table = asked.nameTable(specOf)

  test('has each network’s names, where they are, and this node’s own first', () => {
    expect(
      table.networks.map(({ id, subnet }) => [id, subnet]).sort(([a], [b]) => (a! < b! ? -1 : 1)),
    ).toEqual(
      [
        [front.id, frontCidr],
        [back.id, backCidr],
      ].sort(([a], [b]) => (a! < b! ? -1 : 1)),
    )
    const namesOn = (of: Resource<NetworkSpec>) => table.networks.find(({ id }) => id === of.id)!.names
    expect(namesOn(front)['web']).toEqual({ addresses: ['10.1.0.9'], local: 0 })
    expect(namesOn(front)).not.toHaveProperty('db')
    expect(namesOn(back)['db']).toEqual({ addresses: [addressIn(backCidr, 3, 3)], local: 1 })
    expect(namesOn(back)['local.web']).toEqual({ addresses: [addressIn(backCidr, 3, 1)], local: 1 })
  })

  test('has this node’s containers by their addresses, with the networks that they are on', () => {
    expect(table.clients).toEqual([
      {
        addresses: [addressIn(frontCidr, 3, 1), addressIn(backCidr, 3, 1)],
        networks: [front.id, back.id],
        nameservers: [],
      },
      { addresses: [addressIn(backCidr, 3, 3)], networks: [back.id], nameservers: [] },
    ])
  })

  test('knows a container’s own name servers, its networks where its spec is forgotten, and none that has ended', () => {
    const dns = { ContainerSpec: { Image: 'x', DNSConfig: { Nameservers: ['9.9.9.9', 'fd00::1'] } } }
    const spec = { ...web.spec, TaskTemplate: { ...web.spec.TaskTemplate, ...dns } } as ServiceSpec
    expect(asked.nameTable(() => spec).clients[0]?.nameservers).toEqual(['9.9.9.9'])
    expect(asked.nameTable(() => undefined).clients[0]?.networks).toEqual([front.id, back.id])
    const ended = createNetwork()
    ask({ ...scene, hosts: [{ ...hostA, tasks: [webTask(3, 1, { state: 'failed' })] }, hostB] }, ended)
    expect(ended.nameTable(specOf).clients).toEqual([])
  })

  test('lets a service that is on ingress alone ask for names of the world, and for nobody’s there', () => {
    const ingress = network('ingress', { subnet: '10.3.0.0/18', Ingress: true })
    const shop = onNetworks('shop', [], { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } })
    const own = addressIn('10.3.0.0/18', 3, 1)
    const host: Host = {
      ...hostA,
      blocks: [claim(ingress, '10.3.0.0/18', 3)],
      tasks: [taskAt(shop, 1, [[ingress, own]])],
    }
    const published = createNetwork()
    ask({ networks: [ingress], services: [shop], hosts: [host] }, published)
    const index = NameIndex.of(published.nameTable(() => shop.spec))
    const asker = index.askerAt(own)!
    const about = (name: string, type: 'A' | 'PTR') => answerName(index, asker, { name, type }, () => 0)
    expect(about('example.com', 'A')).toEqual({ kind: 'forward', nameservers: [] })
    expect(about('shop', 'A')).toEqual({ kind: 'forward', nameservers: [] })
    const reversed = `${own.split('.').toReversed().join('.')}.in-addr.arpa`
    expect(about(reversed, 'PTR')).toMatchObject({ kind: 'unknown' })
  })

  test('forgets a service that is gone', () => {
    const network = createNetwork()
    ask(scene, network)
    network.nameTable(specOf)
    ask({ ...scene, services: [db] }, network)
    const names = network.nameTable(specOf).networks.flatMap(({ names }) => Object.keys(names))
    expect(names.filter((name) => name.includes('web'))).toEqual([])
    expect(names).toContain('db')
  })
})

describe('an agent that goes on', () => {
  interface Step {
    readonly networks: readonly number[]
    readonly services: readonly { n: number; on: readonly number[]; port: number; vip: number }[]
    readonly hosts: readonly { blocks: readonly number[]; slots: readonly number[]; down: boolean }[]
  }
  const step: fc.Arbitrary<Step> = fc.record({
    networks: fc.subarray([0, 1, 2]),
    services: fc.uniqueArray(
      fc.record({
        n: fc.nat({ max: 3 }),
        on: fc.subarray([0, 1, 2]),
        port: fc.constantFrom(-1, 0, 80, 81),
        vip: fc.nat({ max: 3 }),
      }),
      { selector: ({ n }) => n, maxLength: 4 },
    ),
    hosts: fc.array(
      fc.record({
        blocks: fc.subarray([1, 2, 3]),
        slots: fc.uniqueArray(fc.integer({ min: 1, max: 3 })),
        down: fc.boolean(),
      }),
      { minLength: 1, maxLength: 3 },
    ),
  })
  const cidrs = ['10.1.0.0/24', '10.2.0.0/24', '10.2.0.0/24']

  function sceneOf({ networks, services, hosts }: Step): Scene {
    const made = networks.map((n) => network(`net${n}`, { subnet: cidrs[n]!, Internal: n === 1 }))
    const known = new Map(networks.map((n, at) => [n, made[at]!]))
    const served = services.map(({ n, on, port, vip: at }) => {
      const nets = on.flatMap((each) => known.get(each) ?? [])
      const facts = at === 0 ? [] : nets.map((each) => vip(each, `10.${1 + on[0]!}.0.${at}`))
      const Ports = port < 0 ? [] : [{ TargetPort: 80, PublishedPort: port }]
      return onNetworks(`s${n}`, nets, { EndpointSpec: { Ports } }, facts)
    })
    const all = hosts.map(({ blocks, slots, down }, at) => ({
      name: `h${at}`,
      address: `192.168.0.${at + 1}`,
      blocks: networks.map((n, k) => claim(made[k]!, cidrs[n]!, ...blocks)),
      liveness: down && at > 0 ? ('down' as const) : ('alive' as const),
      tasks: served.flatMap((of, k) =>
        slots.map((slot) =>
          taskAt(
            of,
            slot,
            networks.map((n, m) => [made[m]!, addressIn(cidrs[n]!, blocks[0] ?? 1, k)] as const),
            { id: `t${at}${k}${slot}`.padEnd(25, '0') as TaskEntry['id'] },
          ),
        ),
      ),
    }))
    return { networks: made, services: served, hosts: all as unknown as [Host, ...Host[]] }
  }

  test('sees what one sees that has just started, whichever views it went through', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 5 }), (steps) => {
        const old = createNetwork()
        let marks = new Map() as NetworkOutlook['marks']
        for (const each of steps) {
          const scene = sceneOf(each)
          const input = { view: viewOf(scene), liveness: livenessOf(scene), marks, reach: 'hosts' } as const
          const fresh = createNetwork()
          const seen = old.update(input)
          expect(seen).toEqual(fresh.update(input))
          expect(old.nameTable(() => undefined)).toEqual(fresh.nameTable(() => undefined))
          marks = seen.marks
        }
      }),
      { numRuns: 150 },
    )
  })

  test('sees the same in whatever order its view was learnt', () => {
    const reversed = <K, V>(map: ReadonlyMap<K, V>) => new Map([...map].toReversed())
    fc.assert(
      fc.property(step, (each) => {
        const scene = sceneOf(each)
        const view = viewOf(scene)
        const other: View = {
          ...view,
          services: reversed(view.services),
          networks: reversed(view.networks),
          nodes: reversed(view.nodes),
          records: new Map(
            [...view.records]
              .toReversed()
              .map(([id, record]) => [
                id,
                { ...record, tasks: reversed(record.tasks), blocks: reversed(record.blocks) },
              ]),
          ),
        }
        const look = (view: View) => {
          const outlook = createNetwork().update({
            view,
            liveness: livenessOf(scene),
            marks: new Map(),
            reach: 'hosts',
          })
          return [outlook.plane, outlook.facts, outlook.waits, outlook.endpoints]
        }
        expect(look(other)).toEqual(look(view))
      }),
      { numRuns: 150 },
    )
  })
})
