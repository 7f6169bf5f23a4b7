import { type NodeId, parseSlotId, type ServiceId, type Slot, type SlotId, slotId } from '@moot/crdt-state'
import * as z from 'zod'
import { explainSlot as explainSlotOf } from '../../core/explain/explain.ts'
import type { SlotPlacement } from '../../core/placement/placement.ts'
import type { View } from '../../core/view.ts'
import { type Api, param } from '../call.ts'
import { nodeDisplayName } from '../../core/view.ts'
import { ApiError, notFound } from '../errors.ts'
import { allTasks } from '../task-view.ts'
import { operation, type Operation } from './operation.ts'

const explanationSchema = z.object({
  subject: z.string().describe('SERVICE.SLOT'),
  kind: z.enum(['held', 'moving', 'vacant', 'pending', 'ended']),
  lines: z.array(z.string()),
  refusals: z.array(z.object({ node: z.string(), name: z.string(), filter: z.string(), reason: z.string() })),
})
type Explanation = z.infer<typeof explanationSchema>

export const explainOperation: Operation = operation({
  method: 'GET',
  path: '/explain/:ref',
  summary:
    'Why a task is where it is, or why it is pending: of a task, SERVICE.SLOT, or each slot of a SERVICE',
  answer: z.union([explanationSchema, z.array(explanationSchema)]),
  run: (api, call) => explain(api, param(call, 'ref')),
})

function explain(api: Api, reference: string): Explanation | Explanation[] {
  const view = api.cluster.view()
  const service = [...view.services.values()].find(({ id, name }) => id === reference || name === reference)
  if (service !== undefined) {
    const prefix = `${service.id}.`
    const slots = [...api.cluster.placement().slots.keys()].filter((id) => id.startsWith(prefix))
    return slots.map((id) => explainSlot(api, id))
  }
  const slot = namedSlot(view, reference) ?? slotOfTask(api, reference)
  if (slot === undefined) throw notFound('task or service', reference)
  return explainSlot(api, slot)
}

/** `web.3`, or `agent.NODE` for a global service, by the node's id or name. */
function namedSlot(view: View, reference: string): SlotId | undefined {
  const dot = reference.lastIndexOf('.')
  if (dot < 1) return undefined
  const text = reference.slice(dot + 1)
  const name = reference.slice(0, dot)
  const service = [...view.services.values()].find((each) => each.name === name || each.id === name)
  if (service === undefined) return undefined
  const node = [...view.nodes.keys()].find((id) => id === text || nodeDisplayName(view, id) === text)
  const slot: Slot | undefined = /^\d+$/.test(text) ? Number(text) : node
  return slot === undefined ? undefined : slotId(service.id as ServiceId, slot)
}

function slotOfTask(api: Api, reference: string): SlotId | undefined {
  const found = allTasks(api).filter(({ task }) => task.id.startsWith(reference))
  const exact = found.filter(({ task }) => task.id === reference)
  const [only, another] = exact.length > 0 ? exact : found
  if (another !== undefined)
    throw new ApiError(400, `task ${reference} is ambiguous (${found.length} matches found)`)
  return only === undefined ? undefined : slotId(only.task.service, only.task.slot)
}

function explainSlot(api: Api, id: SlotId): Explanation {
  const view = api.cluster.view()
  const { service, slot } = parseSlotId(id)
  const name = view.services.get(service)?.name ?? service
  const subject = `${name}.${typeof slot === 'number' ? slot : nodeDisplayName(view, slot)}`
  const where = api.cluster.placement().slots.get(id)
  if (where === undefined) {
    return { subject, kind: 'ended', lines: ['nobody wants this slot any more'], refusals: [] }
  }
  const refusals = 'refusals' in where ? where.refusals : []
  const names = (node: NodeId): string => nodeDisplayName(view, node)
  return {
    subject,
    kind: where.kind,
    lines: [...explainSlotOf(api.cluster.placement(), id, names), ...taskLines(where)],
    refusals: refusals.map(({ node, filter, reason }) => ({
      node,
      name: nodeDisplayName(view, node),
      filter,
      reason,
    })),
  }
}

/** What its task itself says: placement knows only where it is. */
function taskLines(where: SlotPlacement): string[] {
  if (where.kind !== 'held' && where.kind !== 'moving') return []
  const { id, state, message, error } = where.holder.task
  const said = [message, error].filter((text) => text !== undefined && text !== '')
  return [`task ${id} is ${state}${said.length === 0 ? '' : `: ${said.join(': ')}`}`]
}
