import type { NodeId } from '@moot/crdt-state'

/**
 * Which members this node keeps connections to: all of them up to `fullDegree`, else about `ringDegree` at distances
 * ±1, ±2, ±4 … on the ring of sorted ids. Neighbours make the graph connected whatever the others do, the doubling
 * distances make it shallow (Chord's fingers), and each edge is wanted from both of its ends.
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
  for (let distance = 1; distance < ring.length && targets.size < ringDegree; distance *= 2) {
    for (const offset of [distance, -distance]) {
      const node = ring[(at + offset + ring.length) % ring.length]
      if (node !== undefined && node !== self && targets.size < ringDegree) targets.add(node)
    }
  }
  return targets
}
