import type { NodeId, SlotId } from '@moot/crdt-state'
import { onNodes } from '../placement/filters/filter.ts'
import { filterNamed } from '../placement/filters/pipeline.ts'
import type { Placement, Refusal, SlotPlacement } from '../placement/placement.ts'

/** How people call a node: its name or host name, never only an id where there is a better one. */
export type NodeNames = (node: NodeId) => string

/**
 * Docker's one line for a task that fits nowhere, the commonest reason first (swarmkit manager/scheduler/pipeline.go
 * Explain): `no suitable node (insufficient resources on 2 nodes; unsupported platform on 1 node)`.
 */
export function summarizeRefusals(refusals: readonly Refusal[]): string {
  const counts = new Map<string, number>()
  for (const { filter } of refusals) counts.set(filter, (counts.get(filter) ?? 0) + 1)
  // Filters with one summary (availability, liveness) are one reason to a reader.
  const reasons = new Map<string, { count: number; summary: (nodes: number) => string }>()
  for (const [name, count] of counts) {
    const summary = filterNamed(name)?.summary ?? ((nodes: number) => `${name} ${onNodes(nodes)}`)
    const key = summary(0)
    reasons.set(key, { count: count + (reasons.get(key)?.count ?? 0), summary })
  }
  const lines = [...reasons.entries()]
    .sort(([a, { count: countOfA }], [b, { count: countOfB }]) => countOfB - countOfA || (a < b ? -1 : 1))
    .map(([, { count, summary }]) => summary(count))
  return lines.length === 0 ? 'no suitable node' : `no suitable node (${lines.join('; ')})`
}

/** Of a large cluster, the first nodes speak for the rest: the summary counts all. */
const explainedNodesMax = 50

/** A line per node, by name: `node-3: needs 2 GPUs, has 1 free of 4`. */
export function explainRefusals(refusals: readonly Refusal[], names: NodeNames): string[] {
  return refusals
    .map(({ node, reason }) => ({ name: names(node), reason }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, reason }) => `${name}: ${reason}`)
}

/**
 * For `docker service ps`: the summary, which the CLI cuts short, and behind it each node's reason for --no-trunc. ''
 * where nothing is wrong.
 */
export function taskError(placement: SlotPlacement | undefined, names: NodeNames): string {
  const refusals = refusalsOf(placement)
  if (refusals === undefined) return ''
  const details = explainRefusals(refusals.slice(0, explainedNodesMax), names)
  if (refusals.length > details.length) details.push(`and ${refusals.length - details.length} more`)
  return [summarizeRefusals(refusals), ...(details.length > 0 ? [details.join('; ')] : [])].join(': ')
}

function refusalsOf(placement: SlotPlacement | undefined): readonly Refusal[] | undefined {
  if (placement?.kind === 'pending') return placement.refusals
  return placement?.kind === 'moving' && placement.to === undefined ? placement.refusals : undefined
}

/** For `moot explain`: where the slot is and why, first in one line, then a line per node that said no. */
export function explainSlot(placement: Placement, slot: SlotId, names: NodeNames): readonly string[] {
  const where = placement.slots.get(slot)
  if (where === undefined) return ['nobody asks for this slot (any more)']
  switch (where.kind) {
    case 'held':
      return [
        `held by ${names(where.holder.node)} (attempt ${where.holder.task.attempt})`,
        ...explainLosers(where.losers, names),
      ]
    case 'vacant':
      return [`to be claimed by ${names(where.to)} (attempt ${where.attempt})`]
    case 'pending':
      return [summarizeRefusals(where.refusals), ...explainRefusals(where.refusals, names)]
    case 'moving':
      return [
        explainMove(where, names),
        ...explainLosers(where.losers, names),
        ...explainRefusals(where.refusals, names),
      ]
  }
}

function explainMove(where: SlotPlacement & { kind: 'moving' }, names: NodeNames): string {
  const from = `${names(where.holder.node)} must give it up: ${where.because.reason}`
  if (where.successor !== undefined) return `${from}; ${names(where.successor.node)} has claimed it`
  if (where.to !== undefined) return `${from}; ${names(where.to)} is to claim it`
  return `${from}; ${summarizeRefusals(where.refusals)}`
}

function explainLosers(losers: readonly { readonly node: NodeId }[], names: NodeNames): readonly string[] {
  const nodes = [...new Set(losers.map(({ node }) => names(node)))]
  return nodes.map((node) => `${node} holds it too, and stops once it sees the other one running`)
}
