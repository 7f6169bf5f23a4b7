import type { NodeState } from '../node-state.ts'
import type { GenericNeed } from '../workload.ts'
import { onNodes, type Filter } from './filter.ts'

/** GPUs and the like: counted, or named units of which some are asked for by name. */
export const genericResourcesFilter: Filter = {
  name: 'generic-resources',
  concerns: ({ demand }) => demand.generic.length > 0,
  passes: (node, { workload }) => workload.demand.generic.every((need) => refusal(node, need) === undefined),
  explain: (node, { workload }) =>
    workload.demand.generic.flatMap((need) => refusal(node, need) ?? []).join('; '),
  summary: (nodes) => `insufficient resources ${onNodes(nodes)}`,
}

function refusal(node: NodeState, { kind, count, names }: GenericNeed): string | undefined {
  const { total, units } = stock(node, kind)
  for (const name of names) {
    if (!units.has(name)) return `has no ${kind} ${name}`
    if (node.load.isNameTaken(kind, name)) return `its ${kind} ${name} is taken`
  }
  const free = Math.max(0, total - node.load.genericTaken(kind))
  if (count <= free) return undefined
  return `needs ${count} ${count === 1 ? kind : `${kind}s`}, has ${free} free of ${total}`
}

/** Docker takes a kind given several times as one. */
function stock({ node }: NodeState, kind: string): { total: number; units: Set<string> } {
  let total = 0
  const units = new Set<string>()
  for (const entry of node.record?.status?.capacity.generic ?? []) {
    if (entry.kind !== kind) continue
    if (typeof entry.value === 'number') total += entry.value
    else for (const unit of entry.value) units.add(unit)
  }
  return { total: total + units.size, units }
}
