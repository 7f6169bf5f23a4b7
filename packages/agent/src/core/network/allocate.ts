import { addressesOf, blockOf, type Geometry } from './geometry.ts'

/** What a node has of a network: its blocks, in the order in which it claimed them, and what is set aside in the subnet. */
export interface OwnBlocks {
  readonly geometry: Geometry
  readonly blocks: readonly number[]
  readonly reserved: ReadonlySet<number>
}

/** The node's own address on the network, its containers' gateway and name server. Undefined: it has no block. */
export function bridgeAddress({ geometry, blocks, reserved }: OwnBlocks): number | undefined {
  for (const block of blocks) {
    const [first] = addressesOf(geometry, block, reserved)
    if (first !== undefined) return first
  }
  return undefined
}

/**
 * An address for a container, never one that is in use. The one after `latest`, round and round, so that an address rests as
 * long as there are others: connections and caches elsewhere still remember who had it. A block in which nobody has one is left
 * alone while another has room, since it may be given back. Undefined: another block is needed.
 *
 * @param latest what was given last, if anything was.
 */
export function allocateAddress(
  own: OwnBlocks,
  inUse: ReadonlySet<number>,
  latest: number | undefined,
): number | undefined {
  const bridge = bridgeAddress(own)
  const all = own.blocks.flatMap((block) => addressesOf(own.geometry, block, own.reserved))
  const at = latest === undefined ? -1 : all.indexOf(latest)
  const round = [...all.slice(at + 1), ...all.slice(0, at + 1)]
  const free = round.filter((address) => address !== bridge && !inUse.has(address))
  const empty = new Set(emptyBlocks(own, inUse))
  return free.find((address) => !empty.has(blockOf(own.geometry, address) ?? -1)) ?? free[0]
}

/** Blocks in which nobody has an address, nor this node its own. */
export function emptyBlocks(own: OwnBlocks, inUse: Iterable<number>): readonly number[] {
  const used = new Set([...inUse].map((address) => blockOf(own.geometry, address)))
  const bridge = bridgeAddress(own)
  if (bridge !== undefined) used.add(blockOf(own.geometry, bridge))
  return own.blocks.filter((block) => !used.has(block))
}

/** Is this address the node's to give to a container? */
export function mayGive(own: OwnBlocks, address: number): boolean {
  const block = blockOf(own.geometry, address)
  if (block === undefined || !own.blocks.includes(block) || address === bridgeAddress(own)) return false
  return addressesOf(own.geometry, block, own.reserved).includes(address)
}

/** How many more containers can have an address. */
export function freeAddresses(own: OwnBlocks, inUse: ReadonlySet<number>): number {
  const bridge = bridgeAddress(own)
  return own.blocks
    .flatMap((block) => addressesOf(own.geometry, block, own.reserved))
    .filter((address) => address !== bridge && !inUse.has(address)).length
}
