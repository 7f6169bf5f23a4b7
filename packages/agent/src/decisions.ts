import type { NodeId } from '@moot/crdt-state'
import { type CutSettings, firstCut, nextCut } from './core/membership/cut.ts'
import { type LivenessMap, livenessOf } from './core/membership/liveness.ts'
import { createPlacer } from './core/placement/place.ts'
import type { Placement, PlacementNode } from './core/placement/placement.ts'
import { commonRules, firstRules, knownRules, type Rules } from './core/rules.ts'
import type { View } from './core/view.ts'
import type { Clock } from './ports/clock.ts'

export interface Decision {
  readonly view: View
  readonly liveness: LivenessMap
  readonly placement: Placement
}

export interface Decisions {
  /** What follows from the view as it is now. */
  now(): Decision
  /** Whether this node is cut off has changed. */
  lookAgain(): void
  stop(): void
}

/** View → liveness → placement, each computed once per view, and once more when a verdict has waited long enough. */
export function createDecisions(options: {
  readonly viewOf: () => View
  /** Those that this agent can follow; default: all. */
  readonly rules?: readonly Rules[]
  readonly clock: Clock
  readonly settings: CutSettings
  readonly isCutOff?: () => boolean
  /** Something else follows from the same view now. */
  readonly changed: () => void
}): Decisions {
  const { viewOf, clock, settings } = options
  const rules = options.rules ?? knownRules
  const placer = createPlacer()
  /** Where members have none in common, nobody carries out what is placed; people still see where it would go. */
  const rulesOf = (view: View): Rules => commonRules(view, rules) ?? rules.at(-1) ?? firstRules
  let assessed: LivenessMap = new Map()
  let cut = firstCut
  let last: Decision | undefined
  let isDue = false
  let cancelLook: () => void = () => undefined

  function look(view: View): Decision {
    isDue = false
    cancelLook()
    const nowMs = clock.monotonicMs()
    cut = nextCut(cut, { assessed, isCutOff: options.isCutOff?.() ?? false, nowMs }, settings)
    if (cut.lookAtMs !== undefined) cancelLook = clock.after(Math.max(1, cut.lookAtMs - nowMs), lookAgain)
    return { view, liveness: cut.liveness, placement: placed(view, cut.liveness) }
  }

  function lookAgain(): void {
    isDue = true
    options.changed()
  }

  function placed(view: View, liveness: LivenessMap): Placement {
    const nodes = new Map<NodeId, PlacementNode>()
    for (const [id, settingsOf] of view.nodes) {
      nodes.set(id, {
        id,
        settings: settingsOf,
        record: view.records.get(id),
        liveness: liveness.get(id) ?? { kind: 'unknown' },
      })
    }
    return placer.update({ services: view.services, nodes, rules: rulesOf(view) })
  }

  return {
    now() {
      const view = viewOf()
      if (last?.view === view && !isDue) return last
      if (last?.view !== view) assessed = livenessOf(view)
      last = look(view)
      return last
    },
    lookAgain,
    stop: () => cancelLook(),
  }
}
