import type { NodeId } from '@moot/crdt-state'
import { type LivenessMap, livenessOf } from './core/membership/liveness.ts'
import { createPlacer } from './core/placement/place.ts'
import type { Placement, PlacementNode } from './core/placement/placement.ts'
import { commonRules, firstRules, knownRules, type Rules } from './core/rules.ts'
import type { View } from './core/view.ts'

/** View → liveness → placement, each computed once per view. `rules`: those that this agent can follow. */
export function createDecisions(
  viewOf: () => View,
  rules: readonly Rules[] = knownRules,
): () => { readonly view: View; readonly liveness: LivenessMap; readonly placement: Placement } {
  const placer = createPlacer()
  /** Where members have none in common, nobody carries out what is placed; people still see where it would go. */
  const rulesOf = (view: View): Rules => commonRules(view, rules) ?? rules.at(-1) ?? firstRules
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
    last = {
      view,
      liveness,
      placement: placer.update({ services: view.services, nodes, rules: rulesOf(view) }),
    }
    return last
  }
}
