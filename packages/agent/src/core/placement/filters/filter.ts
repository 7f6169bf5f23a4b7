import type { Slot } from '@moot/crdt-state'
import type { NodeState } from '../node-state.ts'
import type { VolumeTie } from '../volume-homes.ts'
import type { Workload } from '../workload.ts'

/** What is asked of a node: one slot of a service, and where its volumes are. */
export interface Ask {
  readonly workload: Workload
  readonly slot: Slot
  readonly tie: VolumeTie | undefined
}

/**
 * One reason to say no, which can explain itself. A filter may look only at the node itself, and more load may only
 * close it (rule 3 of design/placement.md).
 */
export interface Filter {
  readonly name: string
  /** May it refuse this workload at all? Absent: yes. Asked once per fold, so that most filters cost nothing. */
  readonly concerns?: (workload: Workload) => boolean
  readonly passes: (node: NodeState, ask: Ask) => boolean
  /** Why it said no, with figures; asked only after it did. */
  readonly explain: (node: NodeState, ask: Ask) => string
  /** In the words of swarmkit's scheduler (manager/scheduler/filter.go), which tools and people look for. */
  readonly summary: (nodes: number) => string
}

/** One that looks at the node alone. */
export interface NodeFilter extends Filter {
  readonly passes: (node: NodeState) => boolean
  readonly explain: (node: NodeState) => string
}

export function onNodes(count: number): string {
  return count === 1 ? 'on 1 node' : `on ${count} nodes`
}
