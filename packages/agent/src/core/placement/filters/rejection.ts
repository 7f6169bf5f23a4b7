import { specDigest, type Rejection } from '@moot/crdt-state'
import type { NodeState } from '../node-state.ts'
import type { Workload } from '../workload.ts'
import { onNodes, type Filter } from './filter.ts'

/** The node has the last word: what it refused goes elsewhere until it withdraws that, or the spec changes. */
export const rejectionFilter: Filter = {
  name: 'rejection',
  passes: (node, { workload }) => rejection(node, workload) === undefined,
  explain: (node, { workload }) => `rejected it: ${rejection(node, workload)?.reason ?? 'no reason given'}`,
  summary: (nodes) => `rejected ${onNodes(nodes)}`,
}

function rejection({ node }: NodeState, workload: Workload): Rejection | undefined {
  const found = node.record?.rejections.get(workload.id)
  return found !== undefined && found.digest === specDigest(workload.spec) ? found : undefined
}
