/** The finalizer of MurmurHash3: a bijection of 32 bits in which every input bit changes half of the output bits. */
export function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** 32 bits of a text: FNV-1a over its UTF-16 units, mixed, because FNV alone leaves the high bits of short texts alike. */
export function hashText(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h)
}

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
