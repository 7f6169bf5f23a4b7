import type { NodeId, NodeRecord, NodeSpec, Resource } from '@moot/crdt-state'
import { isOnProbation, type Liveness } from '../../core/membership/liveness.ts'
import { compareText } from '../../core/placement/order.ts'
import { nodeDisplayName, type View } from '../../core/view.ts'
import { timestamp } from '../reply.ts'

/** Docker's `Node`. Its own fields of the spec only: the key and the addresses are Moot's. */
export function nodeShape(
  node: Resource<NodeSpec>,
  view: View,
  liveness: Liveness | undefined,
  meshPort: number,
): Record<string, unknown> {
  const id = node.name as NodeId
  const record = view.records.get(id)
  const status = record?.status
  const address = nodeAddress(node, record)
  const shown = nodeStatusShape(view, id, liveness)
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
  view: View,
  id: NodeId,
  liveness: Liveness | undefined,
): { readonly State: string; readonly Message?: string } {
  if (liveness === undefined || liveness.kind === 'unknown') {
    return { State: 'unknown', Message: 'a member that has not been heard of on this node' }
  }
  const by = liveness.kind === 'alive' ? '' : accusers(view, id, liveness.observers)
  if (liveness.kind === 'down') return { State: 'down', Message: `the host does not answer${by}` }
  if (liveness.kind === 'agent-down') {
    return {
      State: 'disconnected',
      Message: `the host answers, its agent does not: its containers run on${by}`,
    }
  }
  const engine = view.records.get(id)?.status?.engine
  if (engine?.state === 'down') {
    return { State: 'down', Message: `its Docker engine does not answer: ${engine.error}` }
  }
  if (liveness.kind === 'suspect') {
    return { State: 'ready', Message: `some cannot reach it${by}` }
  }
  if (isOnProbation(liveness)) {
    const Message = 'it is back after it was away, and is given half as many new tasks for a while'
    return { State: 'ready', Message }
  }
  return { State: 'ready' }
}

/** Who says so, and since when by their own clocks. */
function accusers(view: View, id: NodeId, observers: readonly NodeId[]): string {
  const sinceMs = sinceMsOf(view, id, observers)
  if (sinceMs === undefined) return ''
  const names = observers.map((observer) => nodeDisplayName(view, observer)).toSorted(compareText)
  return ` (say ${names.join(', ')}, since ${new Date(sinceMs).toISOString()})`
}

/** When the first of them said so, ms on its own clock. */
export function sinceMsOf({ records }: View, id: NodeId, observers: readonly NodeId[]): number | undefined {
  const times = observers.flatMap((observer) => records.get(observer)?.alerts.get(id)?.sinceMs ?? [])
  return times.length === 0 ? undefined : Math.min(...times)
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

function genericShape(resource: {
  readonly kind: string
  readonly value: number | readonly string[]
}): readonly Record<string, unknown>[] {
  const { kind, value } = resource
  if (typeof value === 'number') return [{ DiscreteResourceSpec: { Kind: kind, Value: value } }]
  return value.map((item) => ({ NamedResourceSpec: { Kind: kind, Value: item } }))
}
