import type { NodeId, TaskEntry, TaskId } from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import type { Rules } from '../rules.ts'
import type { View } from '../view.ts'
import type { PlacementInput, PlacementNode } from './placement.ts'

/** What placement may look at of all that an agent knows: members, and not the record of one that was removed. */
export function placementInput(
  { services, nodes: members, records }: Pick<View, 'services' | 'nodes' | 'records'>,
  liveness: LivenessMap,
  rules: Rules,
): PlacementInput {
  const nodes = new Map<NodeId, PlacementNode>()
  for (const [id, settings] of members) {
    nodes.set(id, {
      id,
      settings,
      record: records.get(id),
      liveness: liveness.get(id) ?? { kind: 'unknown' },
    })
  }
  return { services, nodes, rules }
}

/** The same, had this node's claims by these tasks ended. The tasks stay in its record: they tell where volumes are. */
export function withoutClaims(input: PlacementInput, id: NodeId, ended: ReadonlySet<TaskId>): PlacementInput {
  const node = input.nodes.get(id)
  if (node?.record === undefined) return input
  const tasks = new Map<TaskId, TaskEntry>(node.record.tasks)
  for (const [task, entry] of tasks) if (ended.has(task)) tasks.set(task, { ...entry, desired: 'shutdown' })
  const nodes = new Map(input.nodes).set(id, { ...node, record: { ...node.record, tasks } })
  return { ...input, nodes }
}
