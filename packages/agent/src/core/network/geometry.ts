import { lastOf, type Range, sizeOf, subrange } from './ipv4.ts'

/** How a subnet is shared out: the first quarter for virtual IPs, the rest in blocks that nodes claim (design/network.md). */
export interface Geometry {
  readonly subnet: Range
  readonly virtual: Range
  readonly blockBits: number
  /** How many blocks there are. */
  readonly blocks: number
}

/** The smallest subnet that is of any use: three virtual IPs and three blocks, so three nodes. */
export const smallestSubnetBits = 28
/** From this size on blocks are of 16 addresses, below of 4: there would be too few of them for the nodes of a cluster. */
const largeSubnetBits = 22
const largeBlockBits = 28
const smallBlockBits = 30

export function isTooSmall({ bits }: Range): boolean {
  return bits > smallestSubnetBits
}

/** Of a subnet that is not too small. */
export function geometryOf(subnet: Range): Geometry {
  const blockBits = subnet.bits <= largeSubnetBits ? largeBlockBits : smallBlockBits
  const virtual = { first: subnet.first, bits: subnet.bits + 2 }
  const blocks = (sizeOf(subnet) - sizeOf(virtual)) / 2 ** (32 - blockBits)
  return { subnet, virtual, blockBits, blocks }
}

export function blockRange({ virtual, blockBits }: Geometry, block: number): Range {
  return subrange({ first: virtual.first + sizeOf(virtual), bits: virtual.bits }, blockBits, block)
}

/** Undefined: the address is in no block. */
export function blockOf({ subnet, virtual, blockBits }: Geometry, address: number): number | undefined {
  if (address <= lastOf(virtual) || address > lastOf(subnet)) return undefined
  return Math.floor((address - lastOf(virtual) - 1) / 2 ** (32 - blockBits))
}

/** What containers may have in a block: all of it but the subnet's broadcast address, and what is set aside. */
export function addressesOf(geometry: Geometry, block: number, reserved: ReadonlySet<number>): number[] {
  const range = blockRange(geometry, block)
  const broadcast = lastOf(geometry.subnet)
  return Array.from({ length: sizeOf(range) }, (_, at) => range.first + at).filter(
    (address) => address !== broadcast && !reserved.has(address),
  )
}
