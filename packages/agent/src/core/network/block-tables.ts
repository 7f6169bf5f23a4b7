import type { BlockClaims, NodeId, ResourceId } from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import type { View } from '../view.ts'
import { type BlockTable, blockTable } from './blocks.ts'
import { sameMap } from './remember.ts'
import type { Subnets } from './subnets.ts'

type Blocks = ReadonlyMap<ResourceId, BlockClaims>

interface Known {
  readonly blocks: Blocks
  readonly isDown: boolean
}

const none: Blocks = new Map()

/** `blockTable` of each network, remembering between calls what did not change: a claim costs the claims of its network. */
export class BlockTables {
  readonly #known = new Map<NodeId, Known>()
  readonly #claims = new Map<ResourceId, Map<NodeId, BlockClaims>>()
  readonly #dirty = new Set<ResourceId>()
  #subnets: Subnets = new Map()
  #tables: ReadonlyMap<ResourceId, BlockTable> = new Map()

  /** The same map where nothing changed, and in it the same table of each network of which nothing did. */
  update(
    view: Pick<View, 'nodes' | 'records'>,
    liveness: LivenessMap,
    subnets: Subnets,
  ): ReadonlyMap<ResourceId, BlockTable> {
    for (const node of view.nodes.keys()) {
      const blocks = view.records.get(node)?.blocks ?? none
      const before = this.#known.get(node)
      if (before === undefined && blocks.size === 0) continue
      this.#read(node, before, { blocks, isDown: liveness.get(node)?.kind === 'down' })
    }
    for (const [node, before] of this.#known) {
      if (!view.nodes.has(node)) this.#read(node, before, undefined)
    }
    if (subnets !== this.#subnets) {
      for (const network of new Set([...subnets.keys(), ...this.#subnets.keys()])) {
        if (subnets.get(network) !== this.#subnets.get(network)) this.#dirty.add(network)
      }
      this.#subnets = subnets
    }
    if (this.#dirty.size > 0) this.#recompute(subnets)
    return this.#tables
  }

  #read(node: NodeId, before: Known | undefined, after: Known | undefined): void {
    if (before?.blocks === after?.blocks && before?.isDown === after?.isDown) return
    const networks = new Set([...(before?.blocks ?? none).keys(), ...(after?.blocks ?? none).keys()])
    for (const network of networks) {
      const claim = after?.blocks.get(network)
      if (before?.blocks.get(network) === claim && before?.isDown === after?.isDown) continue
      this.#dirty.add(network)
      const claims = this.#claims.get(network) ?? new Map<NodeId, BlockClaims>()
      this.#claims.set(network, claims)
      if (claim === undefined) claims.delete(node)
      else claims.set(node, claim)
      if (claims.size === 0) this.#claims.delete(network)
    }
    if (after === undefined) this.#known.delete(node)
    else this.#known.set(node, after)
  }

  #recompute(subnets: Subnets): void {
    const tables = new Map(this.#tables)
    const isDown = (node: NodeId): boolean => this.#known.get(node)?.isDown === true
    for (const network of this.#dirty) {
      const standing = subnets.get(network)
      if (standing?.kind !== 'has') {
        tables.delete(network)
        continue
      }
      const table = blockTable(network, standing.geometry, this.#claims.get(network) ?? new Map(), isDown)
      const before = tables.get(network)
      // Of a node that died its blocks are forsaken, and nobody's endpoints change: they look at owners only.
      const isSame = before?.geometry === table.geometry && sameMap(before.owners, table.owners)
      tables.set(network, isSame ? { ...table, owners: before.owners } : table)
    }
    this.#dirty.clear()
    this.#tables = tables
  }
}
