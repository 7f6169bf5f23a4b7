import {
  type PortConfig,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  serviceSpecSchema,
} from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { portHolder } from '../../core/network/published-ports.ts'
import type { View } from '../../core/view.ts'
import type { NetworkAbility } from '../../networks.ts'
import { predefinedNetworks } from '../docker/network-shape.ts'
import { ApiError, badRequest } from '../errors.ts'
import { resolve } from '../resolve.ts'
import { isObject, parseWith, unknownFields, unknownFieldsWarning } from '../schema-errors.ts'
import { checkServiceSpec } from './checks.ts'
import { partitionWarnings } from './partition.ts'
import { refuseWhatIsNotThereYet } from './not-yet.ts'

export interface ServiceBody {
  readonly spec: ServiceSpec
  /** For the answer's `Warnings`. */
  readonly warnings: readonly string[]
}

/**
 * From a request's body to a spec that can be stored, or an error that says what to change. `name` stands in for an
 * empty one. Networks become ids, as in Docker, so that what is stored does not depend on how the client wrote it.
 */
export function readServiceSpec(
  body: unknown,
  view: View,
  options: {
    readonly name: () => string
    readonly maxReplicas: number
    readonly ability: NetworkAbility['kind']
    /** The service that is updated; its own ports are not in its way. */
    readonly service?: ServiceId
  },
): ServiceBody {
  if (!isObject(body)) throw badRequest('invalid JSON: the request body must be an object')
  refuseWhatIsNotThereYet(body, options)
  const named = body['Name'] === undefined || body['Name'] === '' ? { ...body, Name: options.name() } : body
  const parsed = parseWith(serviceSpecSchema, named, 'service')
  checkServiceSpec(parsed, options)
  const spec = { ...resolveNetworks(parsed, view), Mode: normalMode(parsed) }
  refuseTakenPorts(spec, view, options.service)
  return {
    spec,
    warnings: [
      ...unknownFieldsWarning(unknownFields(body, parsed)),
      ...(options.ability === 'kernel' ? [] : networkWarnings(spec, view)),
      ...ndotsWarning(spec),
      ...partitionWarnings(spec),
    ],
  }
}

/** An absent mode is replicated, an absent count one (moby `daemon/cluster/convert/service.go`). */
function normalMode(spec: ServiceSpec): ServiceSpec['Mode'] {
  if (spec.Mode.Global !== undefined) return { Global: {} }
  return { Replicated: { Replicas: spec.Mode.Replicated?.Replicas ?? 1 } }
}

/** The older field `Networks` of the service moves to its template, as swarmkit does since API 1.25. */
function resolveNetworks(spec: ServiceSpec, view: View): ServiceSpec {
  const { Networks: older, ...rest } = spec
  const template = spec.TaskTemplate.Networks ?? []
  const wanted = template.length > 0 ? template : (older ?? [])
  if (wanted.length === 0) return rest
  const seen = new Set<string>()
  const networks = wanted.map((attachment) => {
    const target = networkTarget(attachment.Target, view)
    if (seen.has(target)) throw badRequest(`network ${attachment.Target} is named twice`)
    seen.add(target)
    return { ...attachment, Target: target }
  })
  return { ...rest, TaskTemplate: { ...spec.TaskTemplate, Networks: networks } }
}

function networkTarget(reference: string, view: View): string {
  if ((predefinedNetworks as readonly string[]).includes(reference)) return reference
  const network = resolve(
    'network',
    reference,
    view.networks.values(),
    (item) => item.id,
    (item) => item.name,
  )
  if (network.spec.Ingress) {
    throw new ApiError(400, `Service cannot be explicitly attached to the ingress network "${network.name}"`)
  }
  return network.id
}

/** The engine's resolver would give no answer to the names of services (see adapters/docker/container.ts). */
function ndotsWarning({ TaskTemplate }: ServiceSpec): readonly string[] {
  const { Networks = [], ContainerSpec } = TaskTemplate
  const option = ContainerSpec.DNSConfig?.Options?.find((each) => each.startsWith('ndots'))
  const isOver = Networks.some(({ Target }) => !(predefinedNetworks as readonly string[]).includes(Target))
  if (!isOver || option === undefined) return []
  return [
    `DNS option "${option}" is set aside: on a network over hosts a name is looked up as it is first, then in each search domain`,
  ]
}

function isBetweenHosts({ PublishedPort: port, Protocol: protocol }: PortConfig): boolean {
  if (port === undefined) return false
  const { meshPort, tunnelPort, wireGuardPort } = defaults
  return (
    port === meshPort || (protocol === 'udp' && [tunnelPort, wireGuardPort, wireGuardPort + 1].includes(port))
  )
}

/** In moby's words (swarmkit manager/controlapi/service.go). */
function refuseTakenPorts(spec: ServiceSpec, view: View, self: ServiceId | undefined): void {
  for (const port of spec.EndpointSpec?.Ports ?? []) {
    if (port.PublishMode === 'ingress' && isBetweenHosts(port))
      throw badRequest(
        `port '${port.PublishedPort}' is what the hosts speak to each other on: publish another one`,
      )
    const holder = portHolder(view.services, self, port)
    if (holder === undefined) continue
    const name = view.services.get(holder.service)?.name ?? holder.service
    const kind = holder.mode === 'host' ? 'a host-published port' : 'an ingress port'
    throw badRequest(
      `port '${port.PublishedPort}' is already in use by service '${name}' (${holder.service}) as ${kind}: publish one of the two on another port`,
    )
  }
}

function networkWarnings(spec: ServiceSpec, view: View): string[] {
  return (spec.TaskTemplate.Networks ?? []).flatMap(({ Target }) => {
    const network = view.networks.get(Target as Resource<never>['id'])
    if (network === undefined) return []
    const vip = spec.EndpointSpec?.Mode === 'dnsrr' ? '' : ', and there is no virtual IP (endpoint mode vip)'
    return [`network ${network.name} reaches one node for now: tasks on other nodes are not on it${vip}`]
  })
}
