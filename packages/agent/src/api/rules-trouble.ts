import type { Cluster } from '../cluster.ts'
import { commonRules, knownRules } from '../core/rules.ts'
import { nodeDisplayName } from '../core/view.ts'

/** Members whose agents have no rules in common decide nothing any more: whose turn is it to be upgraded? */
export function rulesTrouble(cluster: Cluster): string | undefined {
  if (cluster.state().kind !== 'active') return undefined
  const view = cluster.view()
  if (commonRules(view) !== undefined) return undefined
  const newest = knownRules.at(-1)?.version
  const others = [...view.nodes.keys()].flatMap((node) => {
    const versions = view.records.get(node)?.status?.rules
    if (versions === undefined || newest === undefined || versions.includes(newest)) return []
    return `${nodeDisplayName(view, node)} (${versions.join(', ')})`
  })
  return (
    `the members have no rules version in common: nothing is placed, updated or moved until all agents are of neighbouring ` +
    `releases. This node knows ${knownRules.map(({ version }) => version).join(', ')}; upgrade or remove: ${others.join(', ')}`
  )
}
