import type { NodeId } from '@moot/crdt-state'
import type { Frontend, Plane } from '../../packages/agent/src/core/network/plane.ts'
import { containers, networkId, planeOf } from '../conformance/data-plane.setup.ts'

/** A plane as of a large cluster: 1,000 services of 10 backends, half of them published, among 500 members. The last frontend's backend is there. */
const services = 1_000
const backendsEach = 10
const members = 500

export function largePlane(): Plane {
  const small = planeOf(1, [])
  const peers = Array.from({ length: members }, (_, index) => ({
    node: `member${index}` as NodeId,
    underlay: `10.99.${1 + Math.floor(index / 250)}.${index % 250}`,
    mac: `02:4e:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`,
    mark: index + 1,
  }))
  const networks = small.networks.map((network) => ({
    ...network,
    routes: peers.map(({ node }, index) => ({
      block: `${network.subnet.split('.').slice(0, 2).join('.')}.${24 + (index >> 4)}.${(index & 15) * 16}/28`,
      to: node,
    })),
  }))
  const backend = (number: number): string => `10.128.${24 + ((number >> 8) % 31)}.${number & 255}`
  const frontends = Array.from({ length: services }, (_, service): Frontend[] => {
    const backends = Array.from({ length: backendsEach }, (_, index) =>
      backend(service * backendsEach + index),
    )
    const address = `10.128.${service >> 8}.${service & 255}`
    const virtual = { kind: 'virtual', address, network: networkId('web') } as const
    const published = { kind: 'published', protocol: 'tcp', port: 20_000 + service, target: 80 } as const
    return service % 2 === 0
      ? [{ at: virtual, backends }]
      : [
          { at: published, backends },
          { at: virtual, backends },
        ]
  }).flat()
  const last = frontends.pop()!
  return {
    ...small,
    peers,
    networks,
    frontends: [...frontends, { ...last, backends: [containers.web1.address] }],
  }
}

/** One service's backends are others, and in the next round as they were. */
export function changed(
  plane: Plane,
  round: number,
  change: (backends: readonly string[]) => readonly string[],
): Plane {
  const which = 100 + Math.floor(round / 2)
  return {
    ...plane,
    frontends: plane.frontends.map((each, index) =>
      index === which ? { ...each, backends: change(each.backends) } : each,
    ),
  }
}

export function swapped({ at, backends }: Frontend): Frontend {
  return { at, backends: [...backends.slice(1), containers.web1.address] }
}
