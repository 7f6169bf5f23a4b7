import type { NodeId, ResourceId } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import type { View } from '../view.ts'
import type { BlockTable } from './blocks.ts'
import { type NetworkParts, ownAddress, planeNetwork } from './node-plane.ts'
import type { Peers } from './peers.ts'
import type { Plane, PlaneNetwork } from './plane.ts'
import { sameMap, sameSet } from './remember.ts'
import type { Subnets } from './subnets.ts'

interface Known {
  readonly parts: NetworkParts
  readonly network: PlaneNetwork
}

/** The networks of a node's plane, by id; a network of which nothing changed is the same value as before. */
export class PlaneNetworks {
  #known: ReadonlyMap<ResourceId, Known> = new Map()
  #peers: Peers['peers'] = []
  #reached: ReadonlySet<NodeId> = new Set()
  #all: Plane['networks'] = []

  update(
    self: NodeId,
    networks: View['networks'],
    given: {
      readonly subnets: Subnets
      readonly blocks: ReadonlyMap<ResourceId, BlockTable>
      readonly peers: Peers
    },
  ): Plane['networks'] {
    const { subnets, blocks } = given
    this.#readPeers(given.peers)
    const known = new Map<ResourceId, Known>()
    for (const id of [...networks.keys()].sort(compareText)) {
      const [network, standing, table] = [networks.get(id), subnets.get(id), blocks.get(id)]
      if (network === undefined || standing?.kind !== 'has' || table === undefined) continue
      const own = ownAddress(self, standing, table)
      const parts = { network, standing, owners: table.owners, own, reached: this.#reached }
      const before = this.#known.get(id)
      if (before !== undefined && isSame(before.parts, parts)) known.set(id, before)
      else known.set(id, { parts, network: planeNetwork(parts) })
    }
    const isChanged = !sameMap(this.#known, known)
    this.#known = known
    if (isChanged) this.#all = [...known.values()].map(({ network }) => network)
    return this.#all
  }

  /** Routes depend on who is reached, not on how. */
  #readPeers({ peers }: Peers): void {
    if (peers === this.#peers) return
    this.#peers = peers
    const reached = new Set(peers.map(({ node }) => node))
    if (!sameSet(this.#reached, reached)) this.#reached = reached
  }
}

/** A network is written to when its subnet is drawn, which its standing tells. */
function isSame(a: NetworkParts, b: NetworkParts): boolean {
  return (
    a.network.spec.Internal === b.network.spec.Internal &&
    a.standing === b.standing &&
    a.owners === b.owners &&
    a.own === b.own &&
    a.reached === b.reached
  )
}
