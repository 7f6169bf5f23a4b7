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

/** By hand: it is asked for each backend of each plane, and `split` would take half of all the time. */
function numberOf(address: Address): number {
  let whole = 0
  let part = 0
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index)
    if (code === dot) {
      whole = whole * 256 + part
      part = 0
    } else part = part * 10 + code - zero
  }
  return whole * 256 + part
}

const dot = 46
const zero = 48
