import type { NodeId, RoundKey, WireGuardEnd } from '@moot/crdt-state'
import type { Liveness, LivenessMap } from '../membership/liveness.ts'
import type { Address, Peer, Seal } from './plane.ts'

/** WireGuard has one private key for each device: a node has two while its keys change, and each round's is the other one. */
export type Lane = 0 | 1

export function laneOf(round: number): Lane {
  return round % 2 === 0 ? 0 : 1
}

/**
 * How two nodes seal what they send to each other; undefined where one of them has no WireGuard. That they have it is what
 * their own signed records say, so nobody between them can talk them out of it.
 *
 * Whoever `uses` a key knows that the others have been told of it. So where both do, each sends sealed, and unsealed
 * is somebody else; before that each takes both, and no packet is lost when they begin.
 */
export function sealOf(own: WireGuardEnd | undefined, peer: WireGuardEnd | undefined): Seal | undefined {
  if (own === undefined || peer === undefined) return undefined
  const keys = own.keys.flatMap(({ round }) => peer.keys.find((each) => each.round === round) ?? [])
  return {
    keys,
    sends: sendsBy(own, keys),
    isStrict: own.uses !== undefined && peer.uses !== undefined,
  }
}

function sendsBy({ uses }: WireGuardEnd, keys: readonly RoundKey[]): Seal['sends'] {
  if (uses === undefined) return { kind: 'open' }
  // A host whose agent is away keeps to its older key, and is reached by it.
  const round = keys.find((each) => each.round === uses)?.round ?? keys.at(-1)?.round
  return round === undefined ? { kind: 'nothing' } : { kind: 'sealed', round }
}

/** Nothing is known of it yet, so that it has no tasks either: whether it seals, its record will say. */
export const unheardSeal: Seal = { keys: [], sends: { kind: 'nothing' }, isStrict: true }

const ranks = ['alive', 'suspect', 'agent-down', 'unknown', 'down'] as const satisfies Liveness['kind'][]

/**
 * WireGuard knows peers by their host's address: of two members with one (a host that was set up anew, and its former
 * self) the likelier one counts, and the other is sent nothing.
 */
export function withoutFormerSelves(peers: readonly Peer[], liveness: LivenessMap): readonly Peer[] {
  const heirs = new Map<Address, Peer>()
  const rank = (node: NodeId): number => ranks.indexOf(liveness.get(node)?.kind ?? 'unknown')
  for (const peer of peers) {
    const heir = heirs.get(peer.underlay)
    if (heir === undefined || rank(peer.node) < rank(heir.node)) heirs.set(peer.underlay, peer)
  }
  if (heirs.size === peers.length) return peers
  return peers.map((peer) => {
    const heir = heirs.get(peer.underlay)
    if (heir === peer || (heir?.seal === undefined && peer.seal === undefined)) return peer
    return { ...peer, seal: { keys: [], sends: { kind: 'nothing' }, isStrict: false } }
  })
}
