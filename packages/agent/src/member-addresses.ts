import { isDeepStrictEqual } from 'node:util'
import type { NodeId, NodeSpec, NodeStatus, Resource } from '@moot/crdt-state'
import type { View } from './core/view.ts'

interface Source {
  readonly node: Resource<NodeSpec>
  readonly status: NodeStatus | undefined
}

/**
 * The other members' addresses, wherever the specs and the records say they are. Undefined where neither says anything
 * new: records change all the time, and these hardly ever.
 */
export function createMemberAddresses(): (view: View) => ReadonlyMap<NodeId, readonly string[]> | undefined {
  let from: ReadonlyMap<NodeId, Source> = new Map()
  let addresses: ReadonlyMap<NodeId, readonly string[]> | undefined

  function changed(view: View): boolean {
    if (from.size !== view.nodes.size) return true
    for (const [id, node] of view.nodes) {
      const before = from.get(id)
      if (before?.node !== node || before.status !== view.records.get(id)?.status) return true
    }
    return false
  }

  return (view) => {
    if (!changed(view)) return undefined
    from = new Map([...view.nodes].map(([id, node]) => [id, { node, status: view.records.get(id)?.status }]))
    const now = new Map(
      [...from]
        .filter(([id]) => id !== view.self)
        .map(([id, { node, status }]) => [
          id,
          [...new Set([...(status?.meshAddresses ?? []), ...node.spec.Addresses])],
        ]),
    )
    // A status changes whenever a host's engine or disk does.
    if (isDeepStrictEqual(now, addresses)) return undefined
    addresses = now
    return now
  }
}
