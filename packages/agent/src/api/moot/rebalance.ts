import { setImmediate } from 'node:timers/promises'
import {
  askedMoves,
  isClaim,
  moveFact,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  slotId,
} from '@moot/crdt-state'
import * as z from 'zod'
import { placementInput } from '../../core/placement/placement-input.ts'
import { pendingMoves } from '../../core/rebalance/pending.ts'
import { type Move, plansOf, type ServicePlan } from '../../core/rebalance/plan.ts'
import { commonRules } from '../../core/rules.ts'
import { rulesTrouble } from '../rules-trouble.ts'
import { serviceTasks } from '../../core/service-tasks.ts'
import { type Api, authorOf, type Call } from '../call.ts'
import { nodeDisplayName } from '../../core/view.ts'
import { ApiError } from '../errors.ts'
import { updateStatus } from '../task-view.ts'
import { operation, type Operation } from './operation.ts'
import { servicesOf, subjectForm, subjectOf } from './subject.ts'

type Service = Resource<ServiceSpec>

const whereSchema = z.object({ id: z.string(), name: z.string() })
const moveSchema = z.object({
  task: z.string().describe('SERVICE.SLOT'),
  service: z.string().describe('Its id.'),
  slot: z.number(),
  attempt: z.number(),
  from: whereSchema,
  to: whereSchema.describe('Where it would go as things are now: that is decided when its turn comes.'),
  why: z.string(),
})
const standingSchema = z.object({
  task: z.string().describe('SERVICE.SLOT'),
  service: z.string().describe('Its id.'),
  slot: z.number(),
  attempt: z.number(),
  from: whereSchema,
  to: whereSchema.optional(),
  state: z
    .enum(['waiting', 'moving', 'stays'])
    .describe('stays: no other node took it, and it is not tried again unless it is asked for anew.'),
})

const answerSchema = z.object({
  dryRun: z.boolean(),
  moves: z.array(moveSchema),
  underWay: z.array(standingSchema).describe('Asked for before, and still to come.'),
  left: z.array(z.object({ name: z.string(), why: z.string() })).describe('What is not evened out.'),
  warnings: z.array(z.string()),
})

const planOperation: Operation = operation({
  method: 'POST',
  path: '/rebalance',
  summary:
    'Even out where the tasks of services run, with the fewest moves; each new task runs before the old one stops',
  body: z.strictObject({
    subject: z.string().min(1).optional().describe(`All services if not given, else ${subjectForm}.`),
    dryRun: z.boolean().optional().describe('Only say what would move.'),
  }),
  answer: answerSchema,
  run: (api, call, body) => rebalance(api, call, body.subject, body.dryRun === true),
})

const standingOperation: Operation = operation({
  method: 'GET',
  path: '/rebalance',
  summary: 'The moves that were asked for and are still to come, or that no node took',
  answer: z.array(standingSchema),
  run: (api) => [...api.cluster.view().services.values()].flatMap((service) => standingsOf(api, service)),
})

export const rebalanceOperations: readonly Operation[] = [planOperation, standingOperation]

async function rebalance(
  api: Api,
  call: Call,
  subject: string | undefined,
  dryRun: boolean,
): Promise<z.input<typeof answerSchema>> {
  const view = api.cluster.view()
  const services = subject === undefined ? [...view.services.values()] : servicesOf(subjectOf(api, subject))
  const rules = commonRules(view)
  if (rules === undefined) throw new ApiError(503, rulesTrouble(api.cluster) ?? 'no rules in common')
  const input = placementInput(view, api.cluster.liveness(), rules)
  const plans: ServicePlan[] = []
  for (const plan of plansOf(input, api.cluster.placement(), services)) {
    plans.push({ ...plan, moves: plan.moves.slice(0, api.settings.rebalanceMovesMax) })
    // The agent has other things to do as well.
    await setImmediate()
  }
  const warnings = dryRun ? [] : await write(api, call, plans)
  const sorted = plans.toSorted((a, b) => (a.service.name < b.service.name ? -1 : 1))
  return {
    dryRun,
    moves: sorted.flatMap(({ service, moves }) => moves.map((move) => moveShape(api, service, move))),
    underWay: sorted.flatMap(({ service }) =>
      standingsOf(api, service).filter(({ state }) => state !== 'stays'),
    ),
    left: sorted.flatMap((plan) => whyLeft(api, plan, subject !== undefined)),
    warnings,
  }
}

async function write(api: Api, call: Call, plans: readonly ServicePlan[]): Promise<string[]> {
  const author = authorOf(api, call)
  const warnings = new Set<string>()
  for (const { service, moves } of plans) {
    if (moves.length === 0) continue
    const facts = new Map(moves.map(moveFact))
    const written = await api.cluster.addFacts('service', service.id, facts, author)
    for (const warning of written.warnings) warnings.add(warning)
  }
  return [...warnings]
}

/** That a global service is even by itself is told only to who asks for it by name. */
function whyLeft(
  api: Api,
  { service, moves, underWay, why }: ServicePlan,
  isNamed: boolean,
): { name: string; why: string }[] {
  const { name, spec } = service
  if (why !== undefined) return isNamed || spec.Mode.Global === undefined ? [{ name, why }] : []
  const state = updateStatus(api, service)?.State
  const isUpdating =
    state === 'updating' || state === 'rollback_started' || state === 'paused' || state === 'rollback_paused'
  if (!isUpdating || moves.length + underWay.length === 0) return []
  return [{ name, why: `its tasks move when its update is over (it is ${state.replace('_', ' ')})` }]
}

function moveShape(api: Api, { name, id }: Service, move: Move): z.input<typeof moveSchema> {
  const from = whereShape(api, move.from)
  const to = whereShape(api, move.to)
  const why = `${from.name} has ${move.fromCount} of ${name}, ${to.name} has ${move.toCount}`
  return {
    task: `${name}.${move.slot}`,
    service: id,
    slot: move.slot,
    attempt: move.attempt,
    from,
    to,
    why,
  }
}

function standingsOf(api: Api, service: Service): z.input<typeof standingSchema>[] {
  const { records } = api.cluster.view()
  const pending = pendingMoves(service, { records, liveness: api.cluster.liveness() })
  const shape = (slot: number, attempt: number, from: NodeId) => ({
    task: `${service.name}.${slot}`,
    service: service.id,
    slot,
    attempt,
    from: whereShape(api, from),
  })
  const underWay = pending.map(({ move, from, isUnderWay }) => {
    const to = successorOf(api, service, move.slot)
    return {
      ...shape(move.slot, move.attempt, from),
      ...(isUnderWay && to !== undefined && { to: whereShape(api, to) }),
      state: isUnderWay ? ('moving' as const) : ('waiting' as const),
    }
  })
  const kept = new Map(
    askedMoves(service.facts).flatMap(({ slot, attempt, from }) => {
      const record = records.get(from)
      const tasks = record === undefined ? [] : serviceTasks(record, service.id as ServiceId)
      const task = tasks.find((each) => each.slot === slot && each.attempt === attempt && isClaim(each))
      const isPending = pending.some((each) => each.task.id === task?.id)
      if (task?.balance?.kind !== 'staying' || isPending) return []
      return [[task.id, { ...shape(slot, attempt, from), state: 'stays' as const }] as const]
    }),
  )
  return [...underWay, ...kept.values()]
}

function successorOf(api: Api, service: Service, slot: number): NodeId | undefined {
  const where = api.cluster.placement().slots.get(slotId(service.id as ServiceId, slot))
  return where?.kind === 'moving' ? where.to : undefined
}

function whereShape(api: Api, id: NodeId): { id: string; name: string } {
  return { id, name: nodeDisplayName(api.cluster.view(), id) }
}
