import type {
  ClusterSpec,
  DataSpec,
  NetworkSpec,
  NodeId,
  NodeRecord,
  NodeSpec,
  Resource,
  ResourceId,
  ServiceId,
  ServiceSpec,
} from '@moot/crdt-state'

/**
 * All the specs and records that one agent knows now: the whole input of every decision. Immutable; parts that did
 * not change keep their identity from view to view, so that `===` tells what to recompute.
 */
export interface View {
  readonly self: NodeId
  readonly services: ReadonlyMap<ServiceId, Resource<ServiceSpec>>
  readonly networks: ReadonlyMap<ResourceId, Resource<NetworkSpec>>
  readonly secrets: ReadonlyMap<ResourceId, Resource<DataSpec>>
  readonly configs: ReadonlyMap<ResourceId, Resource<DataSpec>>
  /** Members by node id (the document's name). A member without a record has joined and not yet spoken. */
  readonly nodes: ReadonlyMap<NodeId, Resource<NodeSpec>>
  readonly cluster: Resource<ClusterSpec> | undefined
  /** Records of members, and one's own (which a removed member needs to stop what it runs). */
  readonly records: ReadonlyMap<NodeId, NodeRecord>
}

/** What people call the node: its name, else its host's. */
export function nodeDisplayName(view: View, id: NodeId): string {
  const name = view.nodes.get(id)?.spec.Name
  if (name !== undefined && name !== '') return name
  return view.records.get(id)?.status?.hostname ?? id
}
