import { hashText, mix } from '../hash.ts'

/** Weights go from 1 to this. More would tell nearly equal nodes apart and cost a hash each. */
export const maxWeight = 16

const goldenRatio = 0x9e3779b9

/** A node's virtual points: the same on every agent, made once per node. */
export function pointsOf(node: string): Uint32Array {
  const base = hashText(node)
  return Uint32Array.from({ length: maxWeight }, (_, index) => mix(base + Math.imul(index + 1, goldenRatio)))
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998) in integers: a node of weight w draws w numbers for the
 * slot and counts its highest. Of all the points drawn each is equally likely to be the highest, so a node wins in
 * proportion to its weight; and a lighter node's draws are a subset of its draws when it was heavier, so more load
 * never raises a score (rule 3 of design/placement.md).
 */
export function rendezvous(slotHash: number, points: Uint32Array, weight: number): number {
  let highest = 0
  for (let j = 0; j < weight; j += 1) {
    const drawn = mix(slotHash ^ (points[j] ?? 0))
    if (drawn > highest) highest = drawn
  }
  return highest
}
