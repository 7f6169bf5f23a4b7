import type { NodeId } from '@moot/crdt-state'
import { hashText } from '../hash.ts'
import type { DetectorSettings, DetectorState, Draft, Probe } from './detector-state.ts'
import { isCutOff, isDecided, nextSolitude, type Solitude } from './island.ts'
import { isThereLately } from './watch.ts'

export interface Asks {
  readonly probe: readonly Probe[]
  readonly askWitness: boolean
}
export const nothingToAsk: Asks = { probe: [], askWitness: false }

/**
 * Does nobody answer whom this node watches? One of them for certain, and each of them lately. Once all are judged there
 * is nothing left to be careful with.
 */
export function lookAround(draft: Draft, { view, targets }: DetectorState): Asks {
  const { settings, at } = draft
  const watches = targets.map((target) => draft.watch(target))
  const isOver =
    targets.every((target) => draft.alerts.get(target)?.evidence === 'judged') ||
    watches.some((watch) => isThereLately(watch, at.nowMs, settings))
  const isSilent = watches.some(
    ({ missed }) => missed !== undefined && missed.silentCount >= settings.suspectAfterProbes,
  )
  const silence = isOver ? 'none' : isSilent ? 'total' : 'unclear'
  const others = (): readonly NodeId[] =>
    [...view.nodes.keys()]
      .filter((node) => node !== view.self && !targets.includes(node))
      .map((node) => ({ node, at: hashText(`${view.self}/${node}`) }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ node }) => node)
  const step = nextSolitude(draft.solitude, { silence, others, nowMs: at.nowMs }, settings)
  learn(draft, step.solitude)
  const probe = step.ask.map((target) => ({ target, timeoutMs: settings.witnessTimeoutMs }))
  return { probe, askWitness: step.askWitness }
}

/** Who is given up already says nothing about whose cable it is. */
export function isCutOffNow(
  { solitude, view, alerts }: Pick<DetectorState, 'solitude' | 'view' | 'alerts'>,
  nowMs: number,
  settings: DetectorSettings,
): boolean {
  const gone = [...alerts.values()].filter(({ evidence }) => evidence === 'judged').length
  return isCutOff(solitude, view.nodes.size - gone, nowMs, settings)
}

/** Once it is no longer cut off, it was this node that was away: those who have not answered yet owe it nothing. */
export function learn(draft: Draft, solitude: Solitude): void {
  const wasAway = isDecided(draft.solitude) && isAway(draft)
  draft.solitude = solitude
  if (!wasAway || isAway(draft)) return
  for (const target of draft.watches.keys())
    draft.update(target, { missed: undefined, isTroubled: false, countedFromMs: draft.at.nowMs })
}

export function isAway({ before: { view }, solitude, alerts, at, settings }: Draft): boolean {
  return isCutOffNow({ view, solitude, alerts }, at.nowMs, settings)
}
