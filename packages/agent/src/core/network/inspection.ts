import {
  isTerminal,
  type NodeId,
  type Resource,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { compareSlots, compareText } from '../placement/order.ts'
import { serviceTasks } from '../service-tasks.ts'
import type { View } from '../view.ts'
import type { AttachedServices } from './attached-services.ts'
import { addressOn, givenAddress } from './endpoints.ts'
import { formatAddress } from './ipv4.ts'
import type { NetworkOutlook } from './network.ts'
import type { Address, Protocol } from './plane.ts'
import type { PublishedPort } from './published-ports.ts'
import { type Standing, standingOf } from './standing.ts'
import { type AttachedService, hasVirtualIp } from './virtual-ips.ts'
import type { ServiceWait } from './waits.ts'

/** A service as it is reached over one network. */
export interface InspectedService {
  readonly service: Resource<ServiceSpec>
  /** What its name means there. `ports`: it is on `ingress` for its published ports alone, and has no name there. */
  readonly by: 'vip' | 'dnsrr' | 'ports'
  /** Undefined with `vip`: it waits for its address, and its tasks answer for themselves. */
  readonly virtualIp: Address | undefined
  readonly ports: readonly InspectedPort[]
  /** Why it does not answer here, in whole or in part. */
  readonly waits: readonly ServiceWait[]
}

/** `ingress`: every node answers, over this network. `host`: the nodes of its tasks; `port` undefined: each engine has its own. */
export interface InspectedPort {
  readonly mode: 'ingress' | 'host'
  readonly protocol: Protocol
  readonly port: number | undefined
  /** The container's. */
  readonly target: number
}

/** A task that has not ended, as it stands for its service on one network. */
export interface InspectedEndpoint {
  readonly node: NodeId
  readonly task: TaskEntry
  /** What its record says. */
  readonly address: Address | undefined
  readonly standing: Standing | { readonly kind: 'out'; readonly why: Unreachable }
  /** Balancers and names lead to it. */
  readonly answers: boolean
}

/** `lost-address`: it is not out of a block of its node's, so that another node would be sent what is meant for it. */
export type Unreachable = 'no-address' | 'lost-address'

type Outlook = Pick<NetworkOutlook, 'services' | 'virtualIps' | 'ports' | 'endpoints' | 'blocks' | 'waits'>

/** How many services are on each network. */
export function servicesByNetwork(services: AttachedServices): ReadonlyMap<ResourceId, number> {
  const counts = new Map<ResourceId, number>()
  for (const { attachments } of services.values()) {
    for (const { network } of attachments.networks) counts.set(network, (counts.get(network) ?? 0) + 1)
  }
  return counts
}

/** All that are on this network, by name. */
export function servicesOn(network: ResourceId, outlook: Outlook): readonly InspectedService[] {
  const found: InspectedService[] = []
  for (const [id, attached] of outlook.services) {
    const { service, attachments } = attached
    if (!attachments.networks.some((each) => each.network === network)) continue
    const waits = outlook.waits.services.get(id) ?? []
    found.push({
      service,
      by: attachments.ingress === network ? 'ports' : hasVirtualIp(service.spec) ? 'vip' : 'dnsrr',
      virtualIp: outlook.virtualIps.get(id)?.get(network),
      ports: portsOn(network, attached, outlook.ports.get(id) ?? []),
      waits: waits.filter((wait) => !('network' in wait) || wait.network === network),
    })
  }
  return found.sort((a, b) => compareText(a.service.name, b.service.name))
}

function portsOn(
  network: ResourceId,
  { service, attachments }: AttachedService,
  held: readonly PublishedPort[],
): readonly InspectedPort[] {
  const answered = attachments.publishedOn === network ? held : []
  const bound = (service.spec.EndpointSpec?.Ports ?? []).filter(({ PublishMode }) => PublishMode === 'host')
  return [
    ...answered.map(({ protocol, port, target }) => ({ mode: 'ingress' as const, protocol, port, target })),
    ...bound.map(({ Protocol, PublishedPort, TargetPort }) => ({
      mode: 'host' as const,
      protocol: Protocol,
      port: PublishedPort === 0 ? undefined : PublishedPort,
      target: TargetPort,
    })),
  ]
}

/** All of this service's tasks that have not ended, in the order of slots, each with what speaks against it. */
export function endpointsOn(
  service: ServiceId,
  network: ResourceId,
  {
    view,
    liveness,
    outlook,
  }: { readonly view: View; readonly liveness: LivenessMap; readonly outlook: Outlook },
): readonly InspectedEndpoint[] {
  const ready = outlook.endpoints.get(service)?.get(network)?.ready ?? []
  const answering = new Set(ready.map(({ task }) => task))
  const table = outlook.blocks.get(network)
  const found: InspectedEndpoint[] = []
  for (const [node, record] of view.records) {
    if (!view.nodes.has(node)) continue
    const life = liveness.get(node)?.kind ?? 'unknown'
    for (const task of serviceTasks(record, service)) {
      if (isTerminal(task.state)) continue
      const standing = standingOf(task, record, life)
      const given = givenAddress(task, network)
      const isLost = addressOn(task, network, node, table) === undefined
      found.push({
        node,
        task,
        address: given === undefined ? undefined : formatAddress(given),
        standing:
          standing.kind === 'out' || !isLost
            ? standing
            : { kind: 'out', why: given === undefined ? 'no-address' : 'lost-address' },
        answers: answering.has(task.id),
      })
    }
  }
  return found.sort((a, b) => compareSlots(a.task, b.task) || compareText(a.task.id, b.task.id))
}
