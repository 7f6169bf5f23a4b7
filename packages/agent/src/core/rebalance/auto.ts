import {
  isClaim,
  moveFact,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  slotId,
} from '@moot/crdt-state'
import type { Defaults } from '../../defaults.ts'
import { isOnProbation, type LivenessMap } from '../membership/liveness.ts'
import { placementInput } from '../placement/placement-input.ts'
import type { Placement } from '../placement/placement.ts'
import { isUnderWay, progressOf } from '../reconcile/progress.ts'
import { isGlobal, replicasOf } from '../reconcile/spec.ts'
import { commonRules } from '../rules.ts'
import { isStewardOf } from '../steward.ts'
import type { View } from '../view.ts'
import { pendingMoves } from './pending.ts'
import { planMoves } from './plan.ts'

/** `auto`: a service is evened out by itself after a while in which nothing has changed. */
export const rebalanceLabel = 'moot.rebalance'

/** How things have stood with a service, and since when by this node's monotonic clock. */
interface Quiet {
  readonly standing: string
  readonly sinceMs: number
}
export type QuietTimes = ReadonlyMap<ServiceId, Quiet>
const noQuiet: QuietTimes = new Map()

export interface AutoInput {
  readonly view: View
  readonly liveness: LivenessMap
  readonly unsettled: ReadonlySet<NodeId>
  readonly placement: Placement
  readonly nowMs: number
  readonly settings: Pick<Defaults, 'rebalanceQuietMs' | 'rebalanceMovesMax'>
}

export interface AutoOutput {
  readonly quiet: QuietTimes
  /** Facts to be written beside these services. */
  readonly ask: ReadonlyMap<ServiceId, ReadonlyMap<string, unknown>>
}

/**
 * What this node asks for by itself, of the services that it is the steward of. Any change of members, of their state, of the
 * service or of where its tasks are begins the quiet time anew: so a node that comes and goes moves nothing.
 */
export function autoMoves(input: AutoInput, before: QuietTimes): AutoOutput {
  const ask = new Map<ServiceId, ReadonlyMap<string, unknown>>()
  const { view, nowMs, settings } = input
  const services = [...view.services.values()].filter(isAuto)
  if (services.length === 0) return { quiet: noQuiet, ask }
  const members = standingOfMembers(input)
  if (members === undefined) return { quiet: noQuiet, ask }
  const quiet = new Map<ServiceId, Quiet>()
  for (const service of services) {
    const id = service.id as ServiceId
    // Two in a partition ask for the same, or for what each side has.
    if (!isStewardOf(id, view.self, view.nodes.keys(), input.liveness)) continue
    const own = standingOf(input, service)
    if (own === undefined) continue
    const standing = `${members} ${own}`
    const known = before.get(id)
    const sinceMs = known?.standing === standing ? known.sinceMs : nowMs
    const isDue = nowMs - sinceMs >= settings.rebalanceQuietMs
    // Where nothing can be made more even, others may make room: looked at anew after as long.
    quiet.set(id, { standing, sinceMs: isDue ? nowMs : sinceMs })
    if (!isDue) continue
    const facts = movesOf(input, service)
    if (facts.size > 0) ask.set(id, facts)
  }
  return { quiet, ask }
}

export function isAuto({ spec }: Resource<ServiceSpec>): boolean {
  return spec.Labels[rebalanceLabel] === 'auto' && !isGlobal(spec)
}

/** Undefined: somebody is missing, in doubt, or back from where nobody knows yet whether for good. */
function standingOfMembers({ view, liveness, unsettled }: AutoInput): string | undefined {
  const told: string[] = []
  for (const [node, settings] of view.nodes) {
    const life = liveness.get(node)
    if (life?.kind !== 'alive' || isOnProbation(life) || unsettled.has(node)) return undefined
    const record = view.records.get(node)
    told.push(`${node}:${record?.epoch}:${record?.status?.engine.state}:${settings.versionIndex}`)
  }
  return told.sort().join(' ')
}

/** Undefined: it is being updated, moved, or not all of it runs. */
function standingOf(
  { view, liveness, placement }: AutoInput,
  service: Resource<ServiceSpec>,
): string | undefined {
  if (pendingMoves(service, { records: view.records, liveness }).length > 0) return undefined
  const told: string[] = [String(service.versionIndex)]
  for (let slot = 1; slot <= replicasOf(service.spec); slot += 1) {
    const where = placement.slots.get(slotId(service.id as ServiceId, slot))
    if (where?.kind !== 'held' || where.losers.length > 0) return undefined
    const { node, task } = where.holder
    if (!isClaim(task) || task.state !== 'running' || task.unready !== undefined) return undefined
    told.push(`${node}:${task.attempt}`)
  }
  if (isUnderWay(progressOf(view, liveness, service))) return undefined
  return told.join(' ')
}

/** What no node took when it was asked for is not asked for again: a person may. */
function movesOf(
  { view, liveness, placement, settings }: AutoInput,
  service: Resource<ServiceSpec>,
): ReadonlyMap<string, unknown> {
  const rules = commonRules(view)
  if (rules === undefined) return new Map()
  const plans = planMoves(placementInput(view, liveness, rules), placement, [service])
  const moves = plans.flatMap((plan) => plan.moves).filter(({ asked }) => asked === 1)
  return new Map(moves.slice(0, settings.rebalanceMovesMax).map(moveFact))
}
