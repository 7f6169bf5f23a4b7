import type { NodeId, SpecStore, Tombstone } from '@moot/crdt-state'

/**
 * The removal of a node that is no member any more. None of one that was removed and has joined again, nor of one whose document is
 * only lost here.
 */
export function removalOf(
  specs: Pick<SpecStore, 'byName' | 'tombstone'>,
  node: NodeId,
): Tombstone | undefined {
  return specs.byName('node', node) === undefined ? specs.tombstone('node', node) : undefined
}
