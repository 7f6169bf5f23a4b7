import type { Address, Cidr } from './plane.ts'

/** The numbers behind `Address` and `Cidr`. Numbers, not bit operations: JavaScript's are signed from 2^31 on. */
export interface Range {
  /** Its first address. */
  readonly first: number
  /** How many bits all its addresses share: 0 to 32. */
  readonly bits: number
}

/** Undefined: it is no IPv4 address. A leading zero is refused, because some read `010` as eight. */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

export function formatAddress(address: number): Address {
  return [2 ** 24, 2 ** 16, 2 ** 8, 1].map((unit) => Math.floor(address / unit) % 256).join('.')
}

/** `10.1.2.3/16` is the range that it lies in, 10.1.0.0/16, as for the engine. Undefined: it is none of IPv4. */
export function parseRange(text: string): Range | undefined {
  const [base = '', length = '', ...rest] = text.split('/')
  const address = parseAddress(base)
  if (address === undefined || rest.length > 0 || !/^(\d|[12]\d|3[012])$/.test(length)) return undefined
  return rangeAround(address, Number(length))
}

export function formatRange({ first, bits }: Range): Cidr {
  return `${formatAddress(first)}/${bits}`
}

/** The range of that length that the address lies in. */
export function rangeAround(address: number, bits: number): Range {
  return { first: address - (address % 2 ** (32 - bits)), bits }
}

export function sizeOf({ bits }: Range): number {
  return 2 ** (32 - bits)
}

export function lastOf(range: Range): number {
  return range.first + sizeOf(range) - 1
}

export function holds(range: Range, address: number): boolean {
  return address >= range.first && address <= lastOf(range)
}

/** Of two ranges that overlap one lies in the other. */
export function overlaps(a: Range, b: Range): boolean {
  return a.bits <= b.bits ? holds(a, b.first) : holds(b, a.first)
}

/** The n-th of the ranges of that length that `range` consists of, from 0. */
export function subrange(range: Range, bits: number, n: number): Range {
  return { first: range.first + n * 2 ** (32 - bits), bits }
}
