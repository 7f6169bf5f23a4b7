import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { NodeId } from '@moot/crdt-state'
import { nodeOf } from './identity.ts'

export class BadAddressError extends Error {
  readonly code = 'ERR_BAD_ADDRESS'
  override name = 'BadAddressError'
  constructor(address: string) {
    super(
      `"${address}" is no address to advertise: give a host, host:port, [IPv6]:port, or a multiaddr such as /ip4/10.0.0.1/tcp/7420`,
    )
  }
}

function hostPart(host: string): string {
  const kinds: Readonly<Record<number, string>> = { 4: 'ip4', 6: 'ip6' }
  return `/${kinds[isIP(host)] ?? 'dns'}/${host}`
}

export function tcpMultiaddr(host: string, port: number): string {
  return `${hostPart(host)}/tcp/${port}`
}

/** `host`, `host:port`, `[v6]:port`, `v6` or a multiaddr, as a multiaddr with this peer id. */
export function advertised(address: string, port: number, peer: PeerId): string {
  try {
    if (address.startsWith('/')) {
      const bare = multiaddr(address.replace(/\/p2p\/.*$/, ''))
      return `${bare.toString()}/p2p/${peer.toString()}`
    }
    const bracketed = /^\[(?<host>[^\]]+)\](?::(?<port>\d+))?$/.exec(address)?.groups
    const plain =
      isIP(address) === 6 ? undefined : /^(?<host>[^:/\s]+)(?::(?<port>\d+))?$/.exec(address)?.groups
    const host = bracketed?.['host'] ?? plain?.['host'] ?? (isIP(address) === 6 ? address : undefined)
    if (host === undefined) throw new Error('neither host nor host:port')
    const given = bracketed?.['port'] ?? plain?.['port']
    const usedPort = given === undefined ? port : Number(given)
    if (usedPort > 65_535) throw new Error('no such port')
    return `${multiaddr(tcpMultiaddr(host, usedPort)).toString()}/p2p/${peer.toString()}`
  } catch {
    throw new BadAddressError(address)
  }
}

/** The peer id at the end of a multiaddr, if it is there and readable. */
export function peerIn(address: string): PeerId | undefined {
  const text = /\/p2p\/(?<peer>[^/]+)$/.exec(address)?.groups?.['peer']
  if (text === undefined) return undefined
  try {
    return peerIdFromString(text)
  } catch {
    return undefined
  }
}

/**
 * What can be dialled of these addresses to reach `node`: readable ones that do not name somebody else. libp2p wants
 * the same peer id on all of them or on none, so one known id is put on each.
 */
export function dialable(node: NodeId, addresses: readonly string[], known?: PeerId): readonly Multiaddr[] {
  const fitting = addresses.filter((address) => {
    const peer = peerIn(address)
    return peer === undefined ? !address.includes('/p2p/') : nodeOf(peer) === node
  })
  const peer = known ?? fitting.map(peerIn).find((found) => found !== undefined)
  const result: Multiaddr[] = []
  for (const bare of new Set(fitting.map((address) => address.replace(/\/p2p\/.*$/, '')))) {
    try {
      result.push(multiaddr(peer === undefined ? bare : `${bare}/p2p/${peer.toString()}`))
    } catch {
      // Another version's address form, or a typing error in a node's settings: the others may do.
    }
  }
  return result
}

/** Host and port of a TCP multiaddr. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } | undefined {
  const found = /^\/(?:ip4|ip6|dns|dns4|dns6)\/(?<host>[^/]+)\/tcp\/(?<port>\d+)/.exec(address)?.groups
  return found?.['host'] === undefined ? undefined : { host: found['host'], port: Number(found['port']) }
}

/** Does this address lead back to ourselves? (Engines' bridges have the same addresses on every host.) */
export function isOwn(host: string, port: number, ownPort: number): boolean {
  if (port !== ownPort) return false
  return Object.values(networkInterfaces()).some(
    (list) => list?.some((entry) => entry.address === host) ?? false,
  )
}
