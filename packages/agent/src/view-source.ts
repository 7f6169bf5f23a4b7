import type {
  NodeId,
  NodeRecord,
  NodeSpec,
  RecordStore,
  Resource,
  ResourceId,
  ServiceId,
  ServiceSpec,
  SpecStore,
} from '@moot/crdt-state'
import type { View } from './core/view.ts'

/**
 * Makes the view from the two stores. Maps keep their identity while nothing in them changed (the stores replace
 * their maps and never mutate them), so a view costs nothing to ask for twice.
 */
export function createViewSource(self: NodeId, specs: SpecStore, records: RecordStore): () => View {
  let nodesFrom: ReadonlyMap<ResourceId, Resource<NodeSpec>> | undefined
  let recordsFrom: ReadonlyMap<NodeId, NodeRecord> | undefined
  let nodes: ReadonlyMap<NodeId, Resource<NodeSpec>> = new Map()
  let members: ReadonlyMap<NodeId, NodeRecord> = new Map()
  let view: View | undefined

  return () => {
    const nodesNow = specs.all('node')
    const recordsNow = records.all()
    if (nodesNow !== nodesFrom) {
      nodes = new Map([...nodesNow.values()].map((node) => [node.name as NodeId, node]))
    }
    if (nodesNow !== nodesFrom || recordsNow !== recordsFrom) {
      members = new Map([...recordsNow].filter(([id]) => id === self || nodes.has(id)))
      nodesFrom = nodesNow
      recordsFrom = recordsNow
    }
    const next: View = {
      self,
      services: specs.all('service') as unknown as ReadonlyMap<ServiceId, Resource<ServiceSpec>>,
      networks: specs.all('network'),
      secrets: specs.all('secret'),
      configs: specs.all('config'),
      nodes,
      cluster: specs.byName('cluster', 'cluster'),
      records: members,
    }
    if (view === undefined || !sameParts(view, next)) view = next
    return view
  }
}

function sameParts(a: View, b: View): boolean {
  return (
    a.services === b.services &&
    a.networks === b.networks &&
    a.secrets === b.secrets &&
    a.configs === b.configs &&
    a.nodes === b.nodes &&
    a.cluster === b.cluster &&
    a.records === b.records
  )
}
