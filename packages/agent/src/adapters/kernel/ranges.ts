import type { Address, Cidr } from '../../core/network/plane.ts'

/** Ranges of addresses that do not overlap, looked up by halving: a plane has thousands of blocks and backends. */
export class Ranges {
  private readonly firsts: readonly number[]
  private readonly lasts: readonly number[]

  constructor(cidrs: readonly Cidr[]) {
    const ranges = cidrs.map(rangeOf).sort((a, b) => a.first - b.first)
    this.firsts = ranges.map(({ first }) => first)
    this.lasts = ranges.map(({ last }) => last)
  }

  has(address: Address): boolean {
    const wanted = numberOf(address)
    let low = 0
    let high = this.firsts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.firsts[middle] ?? Infinity) <= wanted) low = middle + 1
      else high = middle
    }
    return low > 0 && wanted <= (this.lasts[low - 1] ?? -1)
  }
}

function rangeOf(cidr: Cidr): { readonly first: number; readonly last: number } {
  const [address = '', prefix = '32'] = cidr.split('/')
  const size = 2 ** (32 - Number(prefix))
  const first = Math.floor(numberOf(address) / size) * size
  return { first, last: first + size - 1 }
}

function numberOf(address: Address): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}
