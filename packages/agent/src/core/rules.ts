import type { NodeId, NodeRecord } from '@moot/crdt-state'

/** Versions of the decision rules that this agent can follow, lowest first. Published in each node's record. */
export const knownRules: readonly number[] = [1]

/**
 * The version that all decide by: the highest that every member which has spoken knows. Undefined where there is none
 * (agents more than a release apart): then nobody may decide anything new. A member that is down counts too, since it
 * will decide again when it returns.
 */
export function rulesVersion(
  view: {
    readonly nodes: ReadonlyMap<NodeId, unknown>
    readonly records: ReadonlyMap<NodeId, NodeRecord>
  },
  known: readonly number[] = knownRules,
): number | undefined {
  let common = known
  for (const node of view.nodes.keys()) {
    const rules = view.records.get(node)?.status?.rules
    if (rules !== undefined) common = common.filter((version) => rules.includes(version))
  }
  return common.length === 0 ? undefined : Math.max(...common)
}
