import type { NodeId, ResourceId } from '@moot/crdt-state'
import type {
  Address,
  Frontend,
  Plane,
  PlaneNetwork,
  Protocol,
} from '../../packages/agent/src/core/network/plane.ts'

/**
 * Three hosts, three networks. The first two hosts have a bridge of each network, and containers on them; the third has
 * neither, and balances all the same. A client stands beside them.
 */
export const hostCount = 3
export const clientAddress = '10.99.0.100'

export function underlayOf(host: number): Address {
  return `10.99.0.${host}`
}

export type NetworkName = 'web' | 'data' | 'inner'
const networks: Readonly<Record<NetworkName, { readonly second: number; readonly isInternal: boolean }>> = {
  web: { second: 128, isInternal: false },
  data: { second: 129, isInternal: false },
  inner: { second: 130, isInternal: true },
}
export const networkNames = Object.keys(networks) as readonly NetworkName[]

export function subnetOf(network: NetworkName): string {
  return `10.${networks[network].second}.0.0/18`
}

export function networkId(network: NetworkName): ResourceId {
  return `network-${network}` as ResourceId
}

/** Of a network's first quarter. */
export function virtualAddress(network: NetworkName, number: number): Address {
  return `10.${networks[network].second}.0.${number}`
}

/** Each host's block has 16 addresses, of which the bridge has the first. */
export function addressOf(network: NetworkName, host: number, number: number): Address {
  return `10.${networks[network].second}.16.${host * 16 + number}`
}

export function bridgeOf(network: NetworkName): string {
  return `moot-${network}`
}

export function hasBridges(host: number): boolean {
  return host < hostCount
}

export interface Container {
  readonly name: string
  readonly host: number
  readonly network: NetworkName
  readonly address: Address
}

function container(name: string, host: number, network: NetworkName, number: number): Container {
  return { name, host, network, address: addressOf(network, host, number) }
}

export const containers = {
  web1: container('web1', 1, 'web', 2),
  neighbour1: container('neighbour1', 1, 'web', 3),
  web2: container('web2', 2, 'web', 2),
  data1: container('data1', 1, 'data', 2),
  data2: container('data2', 2, 'data', 2),
  inner1: container('inner1', 1, 'inner', 2),
  inner2: container('inner2', 2, 'inner', 2),
} as const
export type ContainerName = keyof typeof containers

/** What all containers answer on, by TCP and UDP. */
export const servedPort = 8_000

export function virtualFrontend(
  network: NetworkName,
  number: number,
  backends: readonly Container[],
): Frontend {
  const at = {
    kind: 'virtual',
    address: virtualAddress(network, number),
    network: networkId(network),
  } as const
  return { at, backends: backends.map(({ address }) => address) }
}

export function publishedFrontend(
  port: number,
  backends: readonly Container[],
  protocol: Protocol = 'tcp',
): Frontend {
  const at = { kind: 'published', protocol, port, target: servedPort } as const
  return { at, backends: backends.map(({ address }) => address) }
}

/** What the host's kernel has to do where these are the frontends. */
export function planeOf(host: number, frontends: readonly Frontend[]): Plane {
  const others = Array.from({ length: hostCount }, (_, index) => index + 1).filter((each) => each !== host)
  return {
    self: { underlay: underlayOf(host), mac: macOf(host) },
    networks: networkNames.map((name): PlaneNetwork => ({
      id: networkId(name),
      subnet: subnetOf(name),
      virtual: `10.${networks[name].second}.0.0/20`,
      isInternal: networks[name].isInternal,
      ...(hasBridges(host) ? { bridge: { name: bridgeOf(name), address: addressOf(name, host, 1) } } : {}),
      routes: others
        .filter(hasBridges)
        .map((other) => ({ block: `${addressOf(name, other, 0)}/28`, to: nodeId(other) })),
    })),
    peers: others.map((other) => ({
      node: nodeId(other),
      underlay: underlayOf(other),
      mac: macOf(other),
      // Of different groups of rules.
      mark: other * 40,
    })),
    frontends,
  }
}

export function macOf(host: number): string {
  return `02:4d:00:00:00:0${host}`
}

function nodeId(host: number): NodeId {
  return `node${host}` as NodeId
}
