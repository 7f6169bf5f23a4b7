import type { NodeId, NodeRecord } from '@moot/crdt-state'
import { rendezvous } from './placement/hash.ts'

/** One version of the rules by which all agents come to the same decisions. What two versions share is not in it. */
export interface Rules {
  readonly version: number
  /** How much a slot belongs on a node, ≥ 0; of nodes that are as good in all else the highest wins. See `rendezvous`. */
  readonly score: (slotHash: number, points: Uint32Array, weight: number) => number
}

export const firstRules: Rules = { version: 1, score: rendezvous }

/** The rules that this agent can follow, lowest version first. The versions are published in each node's record. */
export const knownRules: readonly Rules[] = [firstRules]

/**
 * The rules that all decide by: the highest that every member which has spoken knows. Undefined where there are none
 * (agents more than a release apart): then nobody may decide anything new. A member that is down counts too, since it
 * will decide again when it returns.
 */
export function commonRules(
  view: {
    readonly nodes: ReadonlyMap<NodeId, unknown>
    readonly records: ReadonlyMap<NodeId, NodeRecord>
  },
  known: readonly Rules[] = knownRules,
): Rules | undefined {
  let common = known
  for (const node of view.nodes.keys()) {
    const versions = view.records.get(node)?.status?.rules
    if (versions !== undefined) common = common.filter(({ version }) => versions.includes(version))
  }
  return common.at(-1)
}
