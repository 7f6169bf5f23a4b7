import type { NodeId, WireGuardEnd } from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { compareText } from '../placement/order.ts'
import { formatAddress, holds, parseAddress } from './ipv4.ts'
import type { Member, Members } from './members.ts'
import type { Address, Peer, Plane } from './plane.ts'
import { sealOf, unheardSeal } from './seals.ts'
import type { Subnets } from './subnets.ts'
import type { PeerTrouble } from './waits.ts'

/** Of connections by the peer that they came through; 12 bits, so that the kernel's marks have room for others. */
export const peerMarkLast = 4_095
export type PeerMarks = ReadonlyMap<NodeId, number>

/** Of a node's end of the tunnel: locally administered, 40 bits by hash of its id. */
export function tunnelMac(node: NodeId): string {
  const low = hashText(`mac/${node}`)
  const high = hashText(`mac/${node}/high`)
  const bytes = [0x02, high & 0xff, low >>> 24, (low >>> 16) & 0xff, (low >>> 8) & 0xff, low & 0xff]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/**
 * A mark for each peer, those that have one keeping it: connections remember it. By hash, so that one that was given up hardly
 * ever comes back at once as another's. Beyond 4,095 peers some have none.
 */
export function peerMarks(peers: Iterable<NodeId>, earlier: PeerMarks): PeerMarks {
  const marks = new Map<NodeId, number>()
  const fresh: NodeId[] = []
  const taken = new Set<number>()
  for (const node of peers) {
    const mark = earlier.get(node)
    if (mark === undefined || mark < 1 || mark > peerMarkLast || taken.has(mark)) fresh.push(node)
    else {
      marks.set(node, mark)
      taken.add(mark)
    }
  }
  for (const node of fresh.sort(compareText)) {
    if (taken.size >= peerMarkLast) break
    let mark = hashText(`mark/${node}`) % peerMarkLast
    while (taken.has(mark + 1)) mark = (mark + 1) % peerMarkLast
    marks.set(node, mark + 1)
    taken.add(mark + 1)
  }
  return marks
}

/** What the kernel has of an agent before this one, by the ends of the tunnel: connections of that time go on. */
export function marksFound(nodes: Iterable<NodeId>, found: readonly Pick<Peer, 'mac' | 'mark'>[]): PeerMarks {
  const byMac = new Map(found.map(({ mac, mark }) => [mac, mark]))
  const marks = new Map<NodeId, number>()
  for (const node of found.length === 0 ? [] : nodes) {
    const mark = byMac.get(tunnelMac(node))
    if (mark !== undefined) marks.set(node, mark)
  }
  return marks
}

/** A member's IPv4 address on the way between hosts: where its mesh port is, as its record or else its settings say. */
export function underlayOf(member: Member): Address | undefined {
  return [...meshHosts(member), ...(member.status?.addresses ?? [])].find(isHost)
}

/** A node's own end of the tunnel. */
export function ownEnd(self: NodeId, members: Members, wireGuard?: WireGuardEnd): Plane['self'] | undefined {
  const member = members.get(self)
  const underlay = member && underlayOf(member)
  if (underlay === undefined) return undefined
  return { underlay, mac: tunnelMac(self), ...(wireGuard !== undefined && { keys: wireGuard.keys }) }
}

/** All addresses that members are known by: no subnet is drawn around one. */
export function memberHosts(members: Members): readonly number[] {
  const hosts = new Set<number>()
  for (const member of members.values()) {
    for (const text of [...meshHosts(member), ...(member.status?.addresses ?? [])]) {
      const address = parseAddress(text)
      if (address !== undefined) hosts.add(address)
    }
  }
  return [...hosts].sort((a, b) => a - b)
}

function meshHosts({ settings, status }: Member): readonly string[] {
  return [...(status?.meshAddresses ?? []), ...settings.spec.Addresses].map(hostOf)
}

/** Of a multiaddr, `/ip4/10.99.0.1/tcp/7420`. */
function hostOf(multiaddr: string): string {
  return /^\/ip4\/([^/]+)/.exec(multiaddr)?.[1] ?? ''
}

const loopback = 127 * 2 ** 24

function isHost(text: string): boolean {
  const address = parseAddress(text)
  return address !== undefined && address !== 0 && !holds({ first: loopback, bits: 8 }, address)
}

export interface Peers {
  readonly peers: readonly Peer[]
  readonly troubles: readonly PeerTrouble[]
}

/** All other members, also dead ones: they may be back before anybody knows. By id. */
export function peersOf(self: NodeId, members: Members, marks: PeerMarks, wireGuard?: WireGuardEnd): Peers {
  const peers: Peer[] = []
  const troubles: PeerTrouble[] = []
  for (const [node, member] of members) {
    if (node === self) continue
    const underlay = underlayOf(member)
    const mark = marks.get(node)
    if (underlay === undefined) troubles.push({ kind: 'no-underlay', node })
    else if (mark === undefined) troubles.push({ kind: 'no-mark', node })
    else {
      const { status } = member
      const isUnheard = status === undefined && wireGuard?.uses !== undefined
      const seal = isUnheard ? unheardSeal : sealOf(wireGuard, status?.wireGuard)
      peers.push({ node, underlay, mac: tunnelMac(node), mark, ...(seal !== undefined && { seal }) })
    }
  }
  return { peers, troubles }
}

/** Members whose host is hidden by a network's subnet: packets to it go to that network's bridge. */
export function membersInside(members: Members, subnets: Subnets): readonly PeerTrouble[] {
  const troubles: PeerTrouble[] = []
  for (const [node, member] of members) {
    const address = parseAddress(underlayOf(member) ?? '')
    if (address === undefined) continue
    for (const [network, standing] of subnets) {
      if (standing.kind !== 'has' || !holds(standing.geometry.subnet, address)) continue
      const subnet = standing.cidr
      troubles.push({ kind: 'inside-subnet', node, address: formatAddress(address), network, subnet })
    }
  }
  return troubles
}
