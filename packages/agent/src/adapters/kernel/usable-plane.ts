import { isIPv4 } from 'node:net'
import type { RoundKey } from '@moot/crdt-state'
import type { Address, Plane, PlaneNetwork } from '../../core/network/plane.ts'
import { UnfitPlaneError } from '../../ports/data-plane.errors.ts'
import { Ranges } from './ranges.ts'

/** A network with a bridge here. */
export type HostedNetwork = PlaneNetwork & Required<Pick<PlaneNetwork, 'bridge'>>

export function hostedNetworks(plane: Plane): readonly HostedNetwork[] {
  return plane.networks.filter((network): network is HostedNetwork => network.bridge !== undefined)
}

/**
 * Of a plane what this kernel can be told now. A bridge that is missing (Docker has not made it yet, or somebody removed
 * it) must not keep all other networks from working; nor must a former self, a member that is still listed with this host's address.
 *
 * @param addressesOf of an interface; none where it is not there.
 */
export function usablePlane(plane: Plane, addressesOf: (bridge: string) => readonly Address[]): Plane {
  const peers = plane.peers.filter(({ underlay }) => underlay !== plane.self.underlay)
  const reachable = new Set(peers.map(({ node }) => node))
  const networks = plane.networks.map(({ bridge: wanted, ...network }): PlaneNetwork => {
    const bridge = wanted && usableBridge(wanted, network, addressesOf(wanted.name))
    return {
      ...network,
      routes: network.routes.filter(({ to }) => reachable.has(to)),
      ...(bridge !== undefined && { bridge }),
    }
  })
  return { ...plane, peers, networks }
}

/**
 * As it is. A node that lost its first block wants another address for its bridge, and has the former one until the last container
 * there has stopped: a route with a source that is not there is refused, and with it all that would follow.
 */
function usableBridge(
  { name, address }: HostedNetwork['bridge'],
  { subnet }: Pick<PlaneNetwork, 'subnet'>,
  addresses: readonly Address[],
): HostedNetwork['bridge'] | undefined {
  const inSubnet = new Ranges([subnet])
  const own = addresses.includes(address) ? address : addresses.find((each) => inSubnet.has(each))
  return own === undefined ? undefined : { name, address: own }
}

/** Everything of a plane becomes part of programs' input, line by line: nothing may end a line, or a quotation. */
export function assertFit(plane: Plane): void {
  checkAddress(plane.self.underlay)
  mac(plane.self.mac)
  for (const each of plane.self.keys ?? []) roundKey(each)
  for (const network of plane.networks) {
    cidr(network.subnet)
    cidr(network.virtual)
    for (const { block } of network.routes) cidr(block)
    if (network.bridge === undefined) continue
    check('interface name', network.bridge.name, /^[A-Za-z0-9][\w.-]{0,14}$/.test(network.bridge.name))
    checkAddress(network.bridge.address)
  }
  for (const peer of plane.peers) {
    checkAddress(peer.underlay)
    mac(peer.mac)
    check('mark of a peer', String(peer.mark), within(peer.mark, 1, 4_095))
    for (const each of peer.seal?.keys ?? []) roundKey(each)
  }
  for (const { at, backends } of plane.frontends) {
    if (at.kind === 'virtual') checkAddress(at.address)
    else {
      check('protocol', at.protocol, ['tcp', 'udp', 'sctp'].includes(at.protocol))
      for (const port of [at.port, at.target]) check('port', String(port), within(port, 1, 65_535))
    }
    for (const backend of backends) checkAddress(backend)
  }
}

function checkAddress(value: string): void {
  check('IPv4 address', value, isIPv4(value))
}

function cidr(value: string): void {
  const [base = '', prefix = '', ...rest] = value.split('/')
  const isFit = isIPv4(base) && /^\d{1,2}$/.test(prefix) && within(Number(prefix), 1, 32)
  check('IPv4 subnet', value, isFit && rest.length === 0)
}

function mac(value: string): void {
  check('MAC address', value, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(value))
}

function roundKey({ round, key }: RoundKey): void {
  check('round of keys', String(round), within(round, 0, Number.MAX_SAFE_INTEGER))
  check('key of WireGuard', key, /^[A-Za-z0-9+/]{43}=$/.test(key))
}

function within(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}

function check(what: string, value: string, isFit: boolean): void {
  if (!isFit) throw new UnfitPlaneError(what, value)
}
