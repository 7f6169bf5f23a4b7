import type { NetworkSpec, Resource, ResourceId, ServiceSpec } from '@moot/crdt-state'
import { compareText } from '../placement/order.ts'
import type { ServiceWait } from './waits.ts'

type Networks = ReadonlyMap<ResourceId, Resource<NetworkSpec>>

/** A service on one of its networks. */
export interface Attachment {
  readonly network: ResourceId
  /** Names that it has there beside its own. */
  readonly aliases: readonly string[]
}

/** Where a service, or one of its tasks, is in the cluster's networks. */
export interface Attachments {
  /** In the spec's order. */
  readonly networks: readonly Attachment[]
  /** Where its published ports are answered: nodes send what arrives to its tasks' addresses there. */
  readonly publishedOn: ResourceId | undefined
  /** It is on `ingress` only for its ports: no names there, and no virtual IP. */
  readonly ingress: ResourceId | undefined
  readonly waits: readonly ServiceWait[]
}

/** Networks that every engine has: they are no documents. */
export const predefinedNetworks: ReadonlySet<string> = new Set(['bridge', 'host', 'none', 'ingress'])

/** Swarm has them in two places; the template's is the newer one, and counts where it says anything (moby daemon/cluster/convert/service.go). */
export function attachedTo({ TaskTemplate, Networks }: ServiceSpec): NonNullable<ServiceSpec['Networks']> {
  const newer = TaskTemplate.Networks ?? []
  return newer.length > 0 ? newer : (Networks ?? [])
}

export function publishesInIngress({ EndpointSpec }: ServiceSpec): boolean {
  return EndpointSpec?.Ports?.some(({ PublishMode }) => PublishMode !== 'host') === true
}

/** The network that is made for services which publish ports and are on no other. Two sides of a partition may make two. */
export function ingressOf(networks: Networks): Resource<NetworkSpec> | undefined {
  let first: Resource<NetworkSpec> | undefined
  for (const network of networks.values()) {
    if (!network.spec.Ingress) continue
    if (first === undefined || compareText(network.id, first.id) < 0) first = network
  }
  return first
}

/**
 * Published ports need an address that the world's packets may come to and go from: that on the first network which is not
 * internal, else on `ingress`.
 */
export function attachmentsOf(spec: ServiceSpec, networks: Networks): Attachments {
  const found: Resource<NetworkSpec>[] = []
  const attached = new Map<ResourceId, Attachment>()
  const waits: ServiceWait[] = []
  for (const { Target, Aliases } of attachedTo(spec)) {
    const network = networkOf(networks, Target)
    if (network !== undefined) {
      found.push(network)
      attached.set(network.id, { network: network.id, aliases: Aliases ?? [] })
    } else if (!predefinedNetworks.has(Target)) waits.push({ kind: 'no-network', target: Target })
  }
  if (!publishesInIngress(spec)) {
    return { networks: [...attached.values()], publishedOn: undefined, ingress: undefined, waits }
  }
  const reachable = found.find((network) => !network.spec.Internal)
  const ingress = reachable === undefined && waits.length === 0 ? ingressOf(networks) : undefined
  if (reachable === undefined && ingress === undefined && waits.length === 0) {
    waits.push({ kind: 'no-ingress' })
  }
  if (ingress !== undefined) attached.set(ingress.id, { network: ingress.id, aliases: [] })
  const publishedOn = reachable?.id ?? ingress?.id
  return { networks: [...attached.values()], publishedOn, ingress: ingress?.id, waits }
}

/** Services name networks by id or by name. */
export function networkOf(networks: Networks, target: string): Resource<NetworkSpec> | undefined {
  const byId = networks.get(target as ResourceId)
  if (byId !== undefined) return byId
  for (const network of networks.values()) if (network.name === target) return network
  return undefined
}

/** Nobody reaches it over any network of the cluster. */
export function isNowhere({ networks }: Attachments): boolean {
  return networks.length === 0
}
