import { compareSlots } from '../order.ts'
import type { NodeState } from '../node-state.ts'
import { isClaim } from '@moot/crdt-state'
import type { Ask, Filter } from './filter.ts'

export const maxReplicasFilter: Filter = {
  name: 'max-replicas',
  concerns: ({ maxReplicas }) => maxReplicas > 0,
  passes: ({ load }, { workload }) =>
    workload.maxReplicas === 0 || load.slotsOf(workload.id) < workload.maxReplicas,
  explain: ({ load }, { workload }) =>
    `has ${load.slotsOf(workload.id)} of ${workload.name}, and at most ${workload.maxReplicas} may be on one node`,
  // Swarm's words, without a number of nodes (and with its grammar).
  summary: () => 'max replicas per node limit exceed',
}

/** Where the limit was lowered under what a node holds, the first slots stay and the others move. */
export const maxReplicasHeldFilter: Filter = {
  ...maxReplicasFilter,
  passes: (node, ask) => ask.workload.maxReplicas === 0 || slotsBefore(node, ask) < ask.workload.maxReplicas,
}

function slotsBefore({ node }: NodeState, { workload, slot }: Ask): number {
  const before = new Set<string | number>()
  for (const task of node.record?.tasks.values() ?? []) {
    if (task.service !== workload.id || !isClaim(task)) continue
    if (compareSlots(task, { service: workload.id, slot }) < 0) before.add(task.slot)
  }
  return before.size
}
