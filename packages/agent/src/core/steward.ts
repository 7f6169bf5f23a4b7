import type { NodeId, ResourceId } from '@moot/crdt-state'
import { hashText } from './hash.ts'
import type { LivenessMap } from './membership/liveness.ts'

/**
 * Is it this node that does for a service, or a network, what one is to do? Of all that live and may, chosen by hashing: a dead one is followed
 * by the next, and two sides of a partition have one each.
 */
export function isStewardOf(
  resource: ResourceId,
  self: NodeId,
  others: Iterable<NodeId>,
  liveness: LivenessMap,
  may: (node: NodeId) => boolean = () => true,
): boolean {
  const points = (node: NodeId): number => hashText(`${resource}/${node}`)
  const own = points(self)
  for (const node of others) {
    if (node === self || liveness.get(node)?.kind !== 'alive') continue
    if (points(node) > own && may(node)) return false
  }
  return true
}
