import { formatBytes, formatCpus } from '../figures.ts'
import type { NodeState } from '../node-state.ts'
import { onNodes, type Filter } from './filter.ts'

/** Exact, where the score is quantised. What runs already, runs: this is asked of new tasks only. */
export const resourcesFilter: Filter = {
  name: 'resources',
  concerns: ({ demand }) => demand.nanoCpus > 0 || demand.memoryBytes > 0,
  passes: (node, { workload: { demand } }) =>
    (demand.nanoCpus === 0 || demand.nanoCpus <= capacity(node, 'nanoCpus') - node.load.nanoCpus) &&
    (demand.memoryBytes === 0 || demand.memoryBytes <= capacity(node, 'memoryBytes') - node.load.memoryBytes),
  explain: (node, { workload: { demand } }) => {
    const missing: string[] = []
    if (demand.nanoCpus > free(node, 'nanoCpus')) {
      missing.push(
        `needs ${formatCpus(demand.nanoCpus)}, has ${formatCpus(free(node, 'nanoCpus'), '')} free of ${formatCpus(capacity(node, 'nanoCpus'), '')}`,
      )
    }
    if (demand.memoryBytes > free(node, 'memoryBytes')) {
      const [needed, left] = formatBytes(demand.memoryBytes, free(node, 'memoryBytes'))
      const [total] = formatBytes(capacity(node, 'memoryBytes'))
      missing.push(`needs ${needed} of memory, has ${left} free of ${total}`)
    }
    return missing.join('; ')
  },
  summary: (nodes) => `insufficient resources ${onNodes(nodes)}`,
}

function capacity({ node }: NodeState, of: 'nanoCpus' | 'memoryBytes'): number {
  return node.record?.status?.capacity[of] ?? 0
}

function free(node: NodeState, of: 'nanoCpus' | 'memoryBytes'): number {
  // Below 0 where its capacity shrank under what runs.
  return Math.max(0, capacity(node, of) - node.load[of])
}
