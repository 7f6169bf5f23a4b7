import type { NodeId, TaskId } from '@moot/crdt-state'
import { type CutSettings, firstCut, nextCut } from './core/membership/cut.ts'
import { type LivenessMap, livenessOf } from './core/membership/liveness.ts'
import { createPlacer } from './core/placement/place.ts'
import { placementInput, withoutClaims } from './core/placement/placement-input.ts'
import type { Placement, PlacementInput } from './core/placement/placement.ts'
import { commonRules, firstRules, knownRules, type Rules } from './core/rules.ts'
import type { View } from './core/view.ts'
import type { Clock } from './ports/clock.ts'

export interface Decision {
  readonly view: View
  readonly liveness: LivenessMap
  /** Members of whom it may be clear in a moment whether they are there. */
  readonly unsettled: ReadonlySet<NodeId>
  readonly placement: Placement
}

/** The placement that would follow if this node's claims by these tasks ended. */
export type WhatIf = (decision: Decision, ended: ReadonlySet<TaskId>) => Placement

export interface Decisions {
  /** What follows from the view as it is now. */
  now(): Decision
  /**
   * Works out nothing before it is asked, and then once for each decision and set of tasks. Remembers as much as the
   * placement itself, so that a later question is answered quickly: let go of it when there is nothing more to ask.
   */
  whatIf(): WhatIf
  /** Whether this node is cut off, or whom it misses, has changed. */
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
  readonly missed?: () => readonly NodeId[]
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
    const isCutOff = options.isCutOff?.() ?? false
    const missed = options.missed?.() ?? []
    cut = nextCut(
      cut,
      { self: view.self, assessed, records: view.records, missed, isCutOff, nowMs },
      settings,
    )
    if (cut.lookAtMs !== undefined) cancelLook = clock.after(Math.max(1, cut.lookAtMs - nowMs), lookAgain)
    return {
      view,
      liveness: cut.liveness,
      unsettled: cut.unsettled,
      placement: placer.update(inputOf({ view, liveness: cut.liveness })),
    }
  }

  function lookAgain(): void {
    isDue = true
    options.changed()
  }

  function inputOf({ view, liveness }: Pick<Decision, 'view' | 'liveness'>): PlacementInput {
    return placementInput(view, liveness, rulesOf(view))
  }

  function whatIf(): WhatIf {
    const other = createPlacer()
    let known:
      | { readonly of: Decision; readonly ended: ReadonlySet<TaskId>; readonly placement: Placement }
      | undefined
    return (decision, ended) => {
      if (known?.of !== decision || known.ended.symmetricDifference(ended).size > 0) {
        const placement = other.update(withoutClaims(inputOf(decision), decision.view.self, ended))
        known = { of: decision, ended: new Set(ended), placement }
      }
      return known.placement
    }
  }

  return {
    now() {
      const view = viewOf()
      if (last?.view === view && !isDue) return last
      if (last?.view !== view) assessed = livenessOf(view)
      last = look(view)
      return last
    },
    whatIf,
    lookAgain,
    stop: () => cancelLook(),
  }
}
