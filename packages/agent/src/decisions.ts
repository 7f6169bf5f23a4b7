import type { NodeId } from '@moot/crdt-state'
import { type LivenessMap, livenessOf } from './core/membership/liveness.ts'
import { createPlacer } from './core/placement/place.ts'
import type { Placement, PlacementNode } from './core/placement/placement.ts'
import type { View } from './core/view.ts'

/** View → liveness → placement, each computed once per view. */
export function createDecisions(
  viewOf: () => View,
): () => { readonly view: View; readonly liveness: LivenessMap; readonly placement: Placement } {
  const placer = createPlacer()
  let last: { readonly view: View; readonly liveness: LivenessMap; readonly placement: Placement } | undefined
  return () => {
    const view = viewOf()
    if (last?.view === view) return last
    const liveness = livenessOf(view)
    const nodes = new Map<NodeId, PlacementNode>()
    for (const [id, settings] of view.nodes) {
      nodes.set(id, {
        id,
        settings,
        record: view.records.get(id),
        liveness: liveness.get(id) ?? { kind: 'unknown' },
      })
    }
    last = { view, liveness, placement: placer.update({ services: view.services, nodes }) }
    return last
  }
}
