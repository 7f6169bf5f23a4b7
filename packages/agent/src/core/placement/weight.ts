import { maxWeight } from './hash.ts'

/**
 * The free share of one resource as 1 … `maxWeight`. Exact integers: 15 × 10^13 bytes is far below 2^53, and the
 * remainder is taken off before the division, so that no rounding decides.
 */
export function shareWeight(free: number, capacity: number): number {
  if (capacity <= 0 || free <= 0) return 1
  const scaled = (maxWeight - 1) * Math.min(free, capacity)
  return 1 + (scaled - (scaled % capacity)) / capacity
}
