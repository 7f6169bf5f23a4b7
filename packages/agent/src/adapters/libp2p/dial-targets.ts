import type { NodeId } from '@moot/crdt-state'

/**
 * Which members this node keeps connections to: all of them up to `fullDegree`, else about `ringDegree` at distances
 * ±1, ±2, ±4 … on the ring of sorted ids, filled up with the nearest. Neighbours make the graph connected whatever the
 * others do, the doubling distances make it shallow (Chord's fingers), and each edge is wanted from both of its ends.
 */
export function dialTargets(
  self: NodeId,
  members: Iterable<NodeId>,
  fullDegree: number,
  ringDegree: number,
): ReadonlySet<NodeId> {
  const ring = [...new Set([...members, self])].sort()
  if (ring.length - 1 <= fullDegree) return new Set(ring.filter((node) => node !== self))
  const at = ring.indexOf(self)
  const targets = new Set<NodeId>()
  for (const distance of distances(ring.length)) {
    for (const offset of [distance, -distance]) {
      const node = ring[(at + offset + ring.length) % ring.length]
      if (targets.size < ringDegree && node !== undefined) targets.add(node)
    }
    if (targets.size >= ringDegree) break
  }
  return targets
}

/** 1, 2, 4, 8 …, then 3, 5, 6, 7 …, up to half the ring. */
function* distances(ringSize: number): Generator<number> {
  const half = Math.floor(ringSize / 2)
  for (let distance = 1; distance <= half; distance *= 2) yield distance
  for (let distance = 3; distance <= half; distance += 1) {
    if (!Number.isInteger(Math.log2(distance))) yield distance
  }
}
