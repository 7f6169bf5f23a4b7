import type { ServiceSpec, Resource } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { task } from '../placement/fixtures.ts'
import { createNetwork, type NetworkOutlook } from './network.ts'
import type { KernelReach } from './node-plane.ts'
import { publishedAddress } from './published-address.ts'
import {
  addressIn,
  claim,
  type Host,
  hostId,
  livenessOf,
  network,
  onNetworks,
  taskAt,
  viewOf,
} from './scene.testing.ts'

const subnet = '10.128.0.0/18'
const ingress = network('ingress', { subnet, Ingress: true })
const web = onNetworks('web', [], {
  EndpointSpec: {
    Ports: [
      { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' },
      { Protocol: 'sctp', TargetPort: 81, PublishedPort: 8081, PublishMode: 'ingress' },
      { Protocol: 'tcp', TargetPort: 82, PublishedPort: 8082, PublishMode: 'host' },
    ],
  },
})

/** On a host whose kernel reaches the others: at an address of the cluster's network. */
const reached = (slot: number, block: number, patch: Parameters<typeof taskAt>[3] = {}) =>
  taskAt(web, slot, [[ingress, addressIn(subnet, block, slot)]], patch)
/** On a host without networks over hosts: at an address that is its engine's alone. */
const apart = (of: Resource<ServiceSpec>, slot: number, patch: Parameters<typeof taskAt>[3] = {}) =>
  task(of, slot, {
    seenEpoch: 1,
    addresses: [{ network: 'bridge', address: `172.17.0.${slot}/16` }],
    ...patch,
  })

function outlookOf(reach: KernelReach, hosts: readonly [Host, ...Host[]]): NetworkOutlook {
  const scene = { networks: [ingress], services: [web], hosts }
  return createNetwork().update({ view: viewOf(scene), liveness: livenessOf(scene), marks: new Map(), reach })
}

function host(name: string, more: Partial<Host> = {}): Host {
  return { name, address: `10.99.0.${name}`, ...more }
}

describe('what is passed on in userland', () => {
  const one = apart(web, 1)
  const two = reached(2, 5)
  const withKernel = host('2', { tasks: [two], blocks: [claim(ingress, subnet, 5)] })

  it('of a host whose kernel balances nothing it is all that is published, to each who answers', () => {
    const { plane, forwards } = outlookOf('nowhere', [host('1', { tasks: [one] }), withKernel])
    expect(plane).toBeUndefined()
    expect(forwards).toEqual([
      {
        protocol: 'tcp',
        port: 8080,
        target: 80,
        endpoints: [
          { kind: 'local', task: one.id, address: '172.17.0.1' },
          { kind: 'remote', task: two.id, node: hostId({ name: '2' }) },
        ],
      },
    ])
  })

  it('of a host whose kernel reaches one who answers it is nothing', () => {
    const { plane, forwards } = outlookOf('hosts', [host('3'), withKernel, host('1', { tasks: [one] })])
    expect(forwards).toEqual([])
    expect(plane?.frontends.map(({ backends }) => backends)).toEqual([
      [addressIn(subnet, 5, 2)],
      [addressIn(subnet, 5, 2)],
    ])
  })

  it('of a host whose kernel reaches none of those who answer it is what the kernel then leaves alone', () => {
    const { plane, forwards } = outlookOf('hosts', [host('3'), host('1', { tasks: [one] })])
    expect(plane?.frontends).toEqual([])
    expect(forwards.map(({ endpoints }) => endpoints)).toEqual([
      [{ kind: 'remote', task: one.id, node: hostId({ name: '1' }) }],
    ])
  })

  it('where nobody answers the kernel refuses', () => {
    const { plane, forwards } = outlookOf('hosts', [host('3')])
    expect(plane?.frontends.map(({ backends }) => backends)).toEqual([[], []])
    expect(forwards).toEqual([])
  })

  it('who surely answers comes before one in doubt, however they are reached', () => {
    const doubted = { ...withKernel, liveness: 'suspect' } as const
    const { plane, forwards } = outlookOf('hosts', [host('3'), doubted, host('1', { tasks: [one] })])
    expect(plane?.frontends).toEqual([])
    expect(forwards[0]?.endpoints).toMatchObject([{ task: one.id }])
    const alone = outlookOf('hosts', [host('3'), doubted])
    expect(alone.plane?.frontends[0]?.backends).toEqual([addressIn(subnet, 5, 2)])
  })

  it.each([
    ['is not ready', { unready: { sinceMs: 0, why: 'a probe' } as never }],
    ['is to stop', { desired: 'shutdown' as const }],
    ['does not run yet', { state: 'starting' as const }],
  ])('nobody is led to a task that %s', (_, patch) => {
    const { forwards } = outlookOf('nowhere', [host('1', { tasks: [one, apart(web, 3, patch)] })])
    expect(forwards[0]?.endpoints).toMatchObject([{ task: one.id }])
  })

  it('while nothing changes it is the same value', () => {
    const scene = { networks: [ingress], services: [web], hosts: [host('1', { tasks: [one] })] as const }
    const [view, liveness] = [viewOf(scene), livenessOf(scene)]
    const network = createNetwork()
    const first = network.update({ view, liveness, marks: new Map(), reach: 'nowhere' })
    const again = network.update({ view: { ...view }, liveness, marks: first.marks, reach: 'nowhere' })
    expect(again.forwards).toBe(first.forwards)
  })

  it('another node is led only to what is published on every node, of a task that is here', () => {
    const view = viewOf({
      networks: [ingress],
      services: [web],
      hosts: [host('1', { tasks: [one] }), withKernel],
    })
    expect(publishedAddress(view, { task: one.id, protocol: 'tcp', port: 80 })).toBe('172.17.0.1')
    for (const port of [22, 81, 82])
      expect(publishedAddress(view, { task: one.id, protocol: 'tcp', port })).toBeUndefined()
    expect(publishedAddress(view, { task: one.id, protocol: 'udp', port: 80 })).toBeUndefined()
    expect(publishedAddress(view, { task: two.id, protocol: 'tcp', port: 80 })).toBeUndefined()
  })
})
