import { addressFact, type ServiceId, type TaskEntry } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { explainEndpoint } from '../explain/network.ts'
import { endpointsOn, servicesByNetwork, servicesOn } from './inspection.ts'
import { createNetwork } from './network.ts'
import {
  addressIn,
  claim,
  type Host,
  livenessOf,
  network,
  onNetworks,
  type Scene,
  taskAt,
  viewOf,
} from './scene.testing.ts'

const subnet = '10.1.0.0/18'
const front = network('front', { subnet })
const back = network('back', { subnet: '10.2.0.0/18', Internal: true })
const ingress = network('ingress', { subnet: '10.3.0.0/18', Ingress: true })
const virtualIp = '10.1.0.9'
const web = onNetworks(
  'web',
  [front, back],
  {
    EndpointSpec: {
      Ports: [
        { TargetPort: 80, PublishedPort: 8080 },
        { TargetPort: 53, PublishMode: 'host' },
      ],
    },
  },
  [addressFact.virtualIp(front.id, { n: 1, value: virtualIp })],
)
const id = web.id as ServiceId

const taskOn = (block: number, slot: number, patch: Partial<TaskEntry> = {}) =>
  taskAt(web, slot, [[front, addressIn(subnet, block, slot)]], patch)
const host = (n: number, tasks: readonly TaskEntry[], liveness: Host['liveness'] = 'alive'): Host => ({
  name: `host${n}`,
  address: `192.168.0.${n}`,
  blocks: [claim(front, subnet, n)],
  tasks,
  liveness,
})

function inspect(scene: Omit<Scene, 'networks' | 'services'> & Partial<Scene>) {
  const whole = { networks: [front, back, ingress], services: [web], ...scene }
  const [view, liveness] = [viewOf(whole), livenessOf(whole)]
  return {
    view,
    liveness,
    outlook: createNetwork().update({ view, liveness, marks: new Map(), reach: 'hosts' }),
  }
}

/** `slot: whether it answers, how it stands, why`. */
const standings = (...hosts: readonly [Host, ...Host[]]): readonly string[] =>
  endpointsOn(id, front.id, inspect({ hosts })).map((endpoint) => {
    const { task, standing, answers } = endpoint
    const why = explainEndpoint(endpoint)
    return `${task.slot}: ${answers ? 'answers' : 'does not'}, ${standing.kind}${why === undefined ? '' : `, ${why}`}`
  })

describe('of each task that has not ended it is told whether it answers, and what speaks against it', () => {
  test('as balancers see it, in the order of slots', () => {
    const ended = taskOn(1, 9, { state: 'failed' })
    expect(standings(host(1, [taskOn(1, 2), ended]), host(2, [taskOn(2, 1)]))).toEqual([
      '1: answers, first',
      '2: answers, first',
    ])
  })

  test.each<[string, Partial<TaskEntry>]>([
    ['out, it does not run yet (preparing)', { state: 'preparing', addresses: [] }],
    ['out, it is to stop', { desired: 'shutdown' }],
    ['unready, GET /ready: 503', { unready: { sinceMs: 0, why: 'GET /ready: 503' } }],
    ['out, it has no address on this network', { addresses: [] }],
    ["out, its address is not its node's any more: it is about to be replaced", taskOn(7, 2)],
    ["second, its node's agent has started anew, and has not seen it yet", { seenEpoch: 0 }],
  ])('%s', (sentence, patch) => {
    const { id: _, ...rest } = patch
    expect(standings(host(1, [taskOn(1, 1), taskOn(1, 2, rest)]))).toEqual([
      '1: answers, first',
      `2: does not, ${sentence}`,
    ])
  })

  test.each([
    ['suspect', 'second, some nodes cannot reach its node'],
    ['agent-down', "second, its node's agent does not answer; the host does"],
    ['down', 'out, its node does not answer'],
    ['unknown', 'out, its node has not been heard of here'],
  ] as const)('its node is %s: %s', (liveness, sentence) => {
    expect(standings(host(1, [taskOn(1, 1)]), host(2, [taskOn(2, 2)], liveness))).toEqual([
      '1: answers, first',
      `2: does not, ${sentence}`,
    ])
  })

  test('a second choice answers where nobody else does', () => {
    expect(standings(host(1, []), host(2, [taskOn(2, 1)], 'suspect'))).toEqual([
      '1: answers, second, some nodes cannot reach its node',
    ])
  })

  test('a former member’s tasks are nobody’s', () => {
    const scene = inspect({ hosts: [host(1, []), host(2, [taskOn(2, 1)])] })
    const nodes = new Map([...scene.view.nodes].slice(0, 1))
    expect(endpointsOn(id, front.id, { ...scene, view: { ...scene.view, nodes } })).toEqual([])
  })
})

describe('of each service on a network', () => {
  const hosts = [host(1, [])] as const

  test('its virtual IP there, and the ports that are answered over it; those in host mode everywhere', () => {
    const { outlook } = inspect({ hosts })
    const bound = { mode: 'host', protocol: 'tcp', port: undefined, target: 53 }
    expect(servicesOn(front.id, outlook)).toEqual([
      {
        service: web,
        by: 'vip',
        virtualIp,
        ports: [{ mode: 'ingress', protocol: 'tcp', port: 8080, target: 80 }, bound],
        waits: [],
      },
    ])
    expect(servicesOn(back.id, outlook)).toMatchObject([
      {
        by: 'vip',
        virtualIp: undefined,
        ports: [bound],
        waits: [{ kind: 'vip-not-drawn', network: back.id }],
      },
    ])
    expect(servicesOn(ingress.id, outlook)).toEqual([])
  })

  test('what has no virtual IP says what its name means', () => {
    const inside = onNetworks('b', [front], { EndpointSpec: { Mode: 'dnsrr' } })
    const outside = onNetworks('a', [], { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] } })
    const { outlook } = inspect({ hosts, services: [inside, outside, web] })
    expect(servicesOn(front.id, outlook).map(({ service, by }) => [service.name, by])).toEqual([
      ['b', 'dnsrr'],
      ['web', 'vip'],
    ])
    expect(servicesOn(ingress.id, outlook)).toMatchObject([{ by: 'ports', ports: [{ port: 80 }], waits: [] }])
    expect(servicesByNetwork(outlook.services)).toEqual(
      new Map([
        [front.id, 2],
        [back.id, 1],
        [ingress.id, 1],
      ]),
    )
  })

  test('a port that another service holds is not this one’s, and it is told why', () => {
    const earlier = onNetworks('first', [front], {
      EndpointSpec: { Ports: [{ TargetPort: 1, PublishedPort: 8080, PublishMode: 'host' }] },
    })
    const [, inspected] = servicesOn(front.id, inspect({ hosts, services: [earlier, web] }).outlook)
    expect(inspected).toMatchObject({
      ports: [{ mode: 'host', target: 53 }],
      waits: [{ kind: 'port-taken', port: '8080/tcp', by: earlier.id }],
    })
  })
})
