import type { NodeId, NodeRecord, NodeSpec, Resource } from '@moot/crdt-state'
import type { Liveness } from '../../core/membership/liveness.ts'
import type { View } from '../../core/view.ts'
import { timestamp } from '../reply.ts'

/** Docker's `Node`. Its own fields of the spec only: the key and the addresses are Moot's. */
export function nodeShape(
  node: Resource<NodeSpec>,
  record: NodeRecord | undefined,
  liveness: Liveness | undefined,
  meshPort: number,
): Record<string, unknown> {
  const status = record?.status
  const address = nodeAddress(node, record)
  const shown = nodeStatusShape(record, liveness)
  return {
    ID: node.name,
    Version: { Index: node.versionIndex },
    CreatedAt: timestamp(node.createdAtMs),
    UpdatedAt: timestamp(node.updatedAtMs),
    Spec: dockerNodeSpec(node.spec),
    Description: {
      Hostname: status?.hostname ?? '',
      Platform: {
        Architecture: status?.platform.architecture ?? '',
        OS: status?.platform.os ?? '',
      },
      Resources: {
        NanoCPUs: status?.capacity.nanoCpus ?? 0,
        MemoryBytes: status?.capacity.memoryBytes ?? 0,
        ...(status === undefined || status.capacity.generic.length === 0
          ? {}
          : { GenericResources: status.capacity.generic.flatMap(genericShape) }),
      },
      Engine: {
        EngineVersion: status?.engine.state === 'up' ? status.engine.version : '',
        Labels: status?.engineLabels ?? {},
        Plugins: (status?.plugins ?? []).map(({ type, name }) => ({ Type: type, Name: name })),
      },
      // Clients read it without asking whether it is there; Moot's nodes prove themselves by their keys.
      TLSInfo: {},
    },
    Status: { ...shown, Addr: address },
    // Every node is a manager, and nobody leads: `docker node ls` shows "Reachable" or "Unreachable".
    ...(node.spec.Role === 'manager'
      ? {
          ManagerStatus: {
            Leader: false,
            Reachability:
              shown.State === 'unknown' ? 'unknown' : shown.State === 'ready' ? 'reachable' : 'unreachable',
            Addr: address === '' ? '' : `${address.includes(':') ? `[${address}]` : address}:${meshPort}`,
          },
        }
      : {}),
  }
}

export function dockerNodeSpec(spec: NodeSpec): Record<string, unknown> {
  return {
    ...(spec.Name === undefined || spec.Name === '' ? {} : { Name: spec.Name }),
    Labels: spec.Labels,
    Role: spec.Role,
    Availability: spec.Availability,
  }
}

/** Docker knows ready, down, disconnected and unknown. What Moot knows better stands in the message. */
export function nodeStatusShape(
  record: NodeRecord | undefined,
  liveness: Liveness | undefined,
): { readonly State: string; readonly Message?: string } {
  if (liveness === undefined || liveness.kind === 'unknown') {
    return { State: 'unknown', Message: 'a member that has not been heard of on this node' }
  }
  if (liveness.kind === 'down') return { State: 'down', Message: 'it answers nobody that watches it' }
  if (liveness.kind === 'agent-down') {
    return { State: 'disconnected', Message: 'the host answers, its agent does not: its containers run on' }
  }
  const engine = record?.status?.engine
  if (engine?.state === 'down') {
    return { State: 'down', Message: `its Docker engine does not answer: ${engine.error}` }
  }
  if (liveness.kind === 'suspect')
    return { State: 'ready', Message: 'some of those that watch it cannot reach it' }
  return { State: 'ready' }
}

export function nodeAddress(node: Resource<NodeSpec>, record: NodeRecord | undefined): string {
  const [address] = record?.status?.addresses ?? []
  if (address !== undefined) return address
  for (const multiaddr of node.spec.Addresses) {
    const [, ip] = /^\/(?:ip4|ip6|dns[46]?)\/([^/]+)/.exec(multiaddr) ?? []
    if (ip !== undefined) return ip
  }
  return ''
}

/** What people call the node: its name, else its host's. */
export function nodeDisplayName(view: View, id: NodeId): string {
  const name = view.nodes.get(id)?.spec.Name
  if (name !== undefined && name !== '') return name
  return view.records.get(id)?.status?.hostname ?? id
}

function genericShape(resource: {
  readonly kind: string
  readonly value: number | readonly string[]
}): readonly Record<string, unknown>[] {
  const { kind, value } = resource
  if (typeof value === 'number') return [{ DiscreteResourceSpec: { Kind: kind, Value: value } }]
  return value.map((item) => ({ NamedResourceSpec: { Kind: kind, Value: item } }))
}
