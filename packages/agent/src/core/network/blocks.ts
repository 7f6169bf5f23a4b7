import type { BlockClaims, NodeId, ResourceId } from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import { compareText } from '../placement/order.ts'
import type { Geometry } from './geometry.ts'
import { formatRange } from './ipv4.ts'
import type { BlockWait } from './waits.ts'

/** Whose each claimed block of a network is. A value: it is made anew where a claim changes. */
export interface BlockTable {
  readonly network: ResourceId
  readonly geometry: Geometry
  readonly owners: ReadonlyMap<number, NodeId>
  /** What each node has, in the order in which it claimed it. */
  readonly owned: ReadonlyMap<NodeId, readonly number[]>
  /** Claimed by nodes that are all down: taken over where nothing else is free. */
  readonly forsaken: ReadonlySet<number>
}

/** Claims of one network by node. */
export type ClaimsByNode = ReadonlyMap<NodeId, BlockClaims>

const noBlocks: readonly number[] = []

/**
 * Of several that claim a block, as two sides of a partition may, one that is not down comes first, then the lower hash of
 * (network, block, node): no node is always first, and only the other one changes anything.
 *
 * @param claims of members only: what a removed one had claimed is free.
 */
export function blockTable(
  network: ResourceId,
  geometry: Geometry,
  claims: ClaimsByNode,
  isDown: (node: NodeId) => boolean,
): BlockTable {
  const cidr = formatRange(geometry.subnet)
  const claimants = new Map<number, NodeId[]>()
  for (const [node, claim] of claims) {
    for (const block of validBlocks(cidr, geometry, claim)) {
      const others = claimants.get(block)
      if (others === undefined) claimants.set(block, [node])
      else others.push(node)
    }
  }
  const owners = new Map<number, NodeId>()
  const forsaken = new Set<number>()
  for (const [block, nodes] of claimants) {
    const owner = firstOf(network, block, nodes, isDown)
    owners.set(block, owner)
    if (isDown(owner)) forsaken.add(block)
  }
  const owned = new Map<NodeId, readonly number[]>()
  for (const [node, claim] of claims) {
    const own = validBlocks(cidr, geometry, claim).filter((block) => owners.get(block) === node)
    if (own.length > 0) owned.set(node, own)
  }
  return { network, geometry, owners, owned, forsaken }
}

/** Claims in a subnet that the network had before mean nothing. */
function validBlocks(cidr: string, { blocks }: Geometry, claim: BlockClaims): readonly number[] {
  if (claim.subnet !== cidr) return noBlocks
  return [...new Set(claim.blocks)].filter((block) => Number.isInteger(block) && block >= 0 && block < blocks)
}

function firstOf(
  network: ResourceId,
  block: number,
  nodes: readonly NodeId[],
  isDown: (node: NodeId) => boolean,
): NodeId {
  const [only] = nodes
  if (only !== undefined && nodes.length === 1) return only
  const rank = (node: NodeId): number => hashText(`${network}/${block}/${node}`)
  return nodes.toSorted(
    (a, b) => Number(isDown(a)) - Number(isDown(b)) || rank(a) - rank(b) || compareText(a, b),
  )[0] as NodeId
}

export function blocksOf(table: BlockTable, node: NodeId): readonly number[] {
  return table.owned.get(node) ?? noBlocks
}

/** What this node claims and does not have (any more): tasks with addresses out of these are to be replaced. */
export function lostBlocks(
  table: BlockTable,
  node: NodeId,
  claim: BlockClaims | undefined,
): readonly number[] {
  if (claim === undefined) return noBlocks
  if (claim.subnet !== formatRange(table.geometry.subnet)) return claim.blocks
  const own = new Set(blocksOf(table, node))
  return claim.blocks.filter((block) => !own.has(block))
}

/**
 * The block that this node claims next: found by hash, so that nodes which claim at once hardly ever claim the same. What a dead
 * node has claimed stays its own while anything else is free: it may come back with containers that have addresses there.
 */
export function nextBlock(
  table: BlockTable,
  node: NodeId,
): { readonly kind: 'claim'; readonly block: number } | { readonly kind: 'waits'; readonly wait: BlockWait } {
  const { network, geometry, owners, owned, forsaken } = table
  const start = hashText(`${network}/${node}`)
  let second: number | undefined
  for (let step = 0; step < geometry.blocks; step += 1) {
    const block = (start + step) % geometry.blocks
    if (!owners.has(block)) return { kind: 'claim', block }
    if (forsaken.has(block) && owners.get(block) !== node) second ??= block
  }
  if (second !== undefined) return { kind: 'claim', block: second }
  const subnet = formatRange(geometry.subnet)
  const wait = { kind: 'no-block-free', network, subnet, blocks: geometry.blocks, nodes: owned.size } as const
  return { kind: 'waits', wait }
}

/** This node's entry for a network as it should be: without what it lost, and with one block more where it wants one. */
export function nextClaims(table: BlockTable, node: NodeId, more?: number): BlockClaims | undefined {
  const blocks = [...blocksOf(table, node), ...(more === undefined ? [] : [more])]
  if (blocks.length === 0) return undefined
  return { network: table.network, subnet: formatRange(table.geometry.subnet), blocks }
}
