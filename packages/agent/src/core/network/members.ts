import type { NodeId, NodeSpec, NodeStatus, Resource } from '@moot/crdt-state'
import type { View } from '../view.ts'

export interface Member {
  readonly settings: Resource<NodeSpec>
  readonly status: NodeStatus | undefined
}

/** All of the cluster, by id. */
export type Members = ReadonlyMap<NodeId, Member>

/** What members say of themselves changes far more rarely than their records do: the same map until it does. */
export class MemberStatuses {
  #members: Members = new Map()

  update({ nodes, records }: Pick<View, 'nodes' | 'records'>): Members {
    let isChanged = nodes.size !== this.#members.size
    for (const [node, settings] of nodes) {
      const before = this.#members.get(node)
      isChanged ||= before?.settings !== settings || before.status !== records.get(node)?.status
      if (isChanged) break
    }
    if (isChanged) {
      const ids = [...nodes.keys()].sort()
      this.#members = new Map(
        ids.flatMap((node) => {
          const settings = nodes.get(node)
          return settings === undefined ? [] : [[node, { settings, status: records.get(node)?.status }]]
        }),
      )
    }
    return this.#members
  }
}
