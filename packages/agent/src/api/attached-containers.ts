import type { NetworkSpec, Resource, ResourceId } from '@moot/crdt-state'
import type { GuestPlace, GuestWanted } from '../cluster.ts'
import { parseAddress } from '../core/network/ipv4.ts'
import { readBody } from './body.ts'
import { type Api, type Call, param, type Route } from './call.ts'
import { bridgesOf, clusterNetwork } from './cluster-networks.ts'
import { passToEngine } from './engine/proxy.ts'
import { ApiError, badRequest, notFound } from './errors.ts'
import { isObject } from './schema-errors.ts'

type Fields = Readonly<Record<string, unknown>>

/** Put on by the engine adapter (adapters/docker/labels.ts). */
const serviceLabel = 'com.docker.swarm.service.name'
const taskLabel = 'moot.task'

/** More of them, or longer ones than DNS has, are no names of one container: they stand in a record that all nodes hold. So do its name servers. */
const aliasesMax = 64
const aliasMaxLength = 253
const nameserversMax = 16
/** An IPv6 address in full. */
const nameserverMaxLength = 45

/**
 * `docker run --network NET`: where NET is the cluster's, the engine is told of its own network instead, with an address that
 * is this node's to give and the name server of the cluster. All else of the request goes to the engine as it came.
 */
async function create(api: Api, call: Call): Promise<void> {
  const bytes = await readBody(api, call)
  const body = objectIn(bytes)
  const asks = body === undefined ? [] : asksOf(api, body)
  // What is wrong with it the engine says in its own words.
  if (body === undefined || asks.length === 0) return passToEngine(api, call, bytes)
  return withPlaces(api, call, asks, [], (placed) =>
    passToEngine(api, call, Buffer.from(JSON.stringify(withNetworks(body, placed)))),
  )
}

/** A network of the cluster that a container is to be on, as it was named in the request. */
interface Ask {
  readonly network: Resource<NetworkSpec>
  readonly names: ReadonlySet<string>
  readonly endpoint: Fields
  readonly wanted: GuestWanted
}

interface Placed extends Ask {
  readonly place: GuestPlace
}

function asksOf(api: Api, body: Fields): readonly Ask[] {
  const { host, endpoints } = networkingOf(body)
  const mode = host['NetworkMode']
  const named = new Map<ResourceId, { network: Resource<NetworkSpec>; names: string[] }>()
  for (const name of [...(typeof mode === 'string' ? [mode] : []), ...Object.keys(endpoints)]) {
    const network = clusterNetwork(api, name)
    if (network === undefined) continue
    refuseUnattachable(network)
    const { names } = named.get(network.id) ?? { names: [] }
    named.set(network.id, { network, names: [...names, name] })
  }
  const nameservers = texts(host['Dns'], 'HostConfig.Dns', nameserversMax, nameserverMaxLength)
  return [...named.values()].map(({ network, names }) => {
    const endpoint = fields(names.map((name) => endpoints[name]).find(isObject))
    return { network, names: new Set(names), endpoint, wanted: wantedOn(network, endpoint, nameservers) }
  })
}

function networkingOf(body: Fields): { readonly host: Fields; readonly endpoints: Fields } {
  return {
    host: fields(body['HostConfig']),
    endpoints: fields(fields(body['NetworkingConfig'])['EndpointsConfig']),
  }
}

function refuseUnattachable({ name, spec }: Resource<NetworkSpec>): void {
  if (spec.Attachable) return
  throw new ApiError(
    403,
    `Could not attach to network ${name}: rpc error: code = PermissionDenied desc = network ${name} not manually attachable (it takes containers of services only: create it with --attachable)`,
  )
}

function wantedOn(
  { id }: Resource<NetworkSpec>,
  endpoint: Fields,
  nameservers: readonly string[],
): GuestWanted {
  const aliases = texts(endpoint['Aliases'], 'Aliases', aliasesMax, aliasMaxLength)
  const address = fields(endpoint['IPAMConfig'])['IPv4Address'] ?? ''
  if (address === '') return { network: id, aliases, nameservers }
  if (typeof address !== 'string' || parseAddress(address) === undefined)
    throw badRequest(`invalid IPv4 address: ${JSON.stringify(address).slice(0, 80)}`)
  return { network: id, aliases, nameservers, address }
}

/** One after the other, and all are given back where the engine then refuses the container. */
async function withPlaces(
  api: Api,
  call: Call,
  [ask, ...others]: readonly Ask[],
  placed: readonly Placed[],
  use: (placed: readonly Placed[]) => Promise<void>,
): Promise<void> {
  if (ask === undefined) return use(placed)
  return api.cluster.attach(ask.wanted, call.signal, (place) =>
    withPlaces(api, call, others, [...placed, { ...ask, place }], use),
  )
}

function withNetworks(body: Fields, placed: readonly Placed[]): Fields {
  const { host, endpoints } = networkingOf(body)
  const names = new Set(placed.flatMap((each) => [...each.names]))
  const others = Object.entries(endpoints).filter(([name]) => !names.has(name))
  const ours = placed.map(({ endpoint, place }) => [place.bridge, at(place, endpoint)] as const)
  const main = placed.find((each) => each.names.has(String(host['NetworkMode'])))
  return {
    ...body,
    HostConfig: {
      ...host,
      ...(main !== undefined && { NetworkMode: main.place.bridge }),
      // The container's own name servers are asked by this one, for what is no name of the cluster.
      Dns: [(main ?? placed[0])?.place.gateway],
    },
    NetworkingConfig: {
      ...fields(body['NetworkingConfig']),
      EndpointsConfig: Object.fromEntries([...others, ...ours]),
    },
  }
}

function at({ address }: GuestPlace, endpoint: Fields): Fields {
  return { ...endpoint, IPAMConfig: { ...fields(endpoint['IPAMConfig']), IPv4Address: address } }
}

/** `docker network connect NET CONTAINER`. */
async function connect(api: Api, call: Call): Promise<void> {
  const network = clusterNetwork(api, param(call, 'id'))
  if (network === undefined) return passToEngine(api, call)
  const body = objectIn(await readBody(api, call)) ?? {}
  refuseUnattachable(network)
  const container = await containerIn(api, call, body)
  const endpoint = fields(body['EndpointConfig'])
  const wanted = wantedOn(network, endpoint, [])
  return api.cluster.attach(wanted, call.signal, (place) => {
    const changed = { ...body, Container: container.id, EndpointConfig: at(place, endpoint) }
    return passToNetwork(api, call, place.bridge, changed)
  })
}

/** `docker network disconnect NET CONTAINER`. */
async function disconnect(api: Api, call: Call): Promise<void> {
  const network = clusterNetwork(api, param(call, 'id'))
  if (network === undefined) return passToEngine(api, call)
  const body = objectIn(await readBody(api, call)) ?? {}
  const container = await containerIn(api, call, body)
  const bridges = await bridgesOf(api, call, network.id)
  const bridge = bridges.find(({ name }) => container.networks.has(name))
  if (bridge === undefined)
    throw new ApiError(404, `container ${container.id} is not connected to network ${network.name}`)
  await passToNetwork(api, call, bridge.name, { ...body, Container: container.id })
  // Its address is free from now on.
  await api.cluster.guests()
}

function passToNetwork(api: Api, call: Call, bridge: string, body: Fields): Promise<void> {
  const path = call.path.replace(/^\/networks\/[^/]+/, `/networks/${encodeURIComponent(bridge)}`)
  return passToEngine(api, { ...call, path }, Buffer.from(JSON.stringify(body)))
}

interface KnownContainer {
  readonly id: string
  /** By the engine's names. */
  readonly networks: ReadonlySet<string>
}

/** Whose networks are a service's the service decides. */
async function containerIn(api: Api, call: Call, body: Fields): Promise<KnownContainer> {
  const reference = body['Container']
  if (typeof reference !== 'string' || reference === '') throw badRequest('Container must be provided')
  const answer = await api.engine.json(`/containers/${encodeURIComponent(reference)}/json`, call.signal)
  if (answer.status === 404) throw new ApiError(404, `No such container: ${reference}`)
  const found = fields(answer.body)
  const id = found['Id']
  if (answer.status !== 200 || typeof id !== 'string') throw notFound('container', reference)
  const labels = fields(fields(found['Config'])['Labels'])
  if (labels[taskLabel] !== undefined)
    throw new ApiError(
      403,
      `container ${reference} is a task of service ${String(labels[serviceLabel])}: change the networks of the service instead (docker service update --network-add, --network-rm)`,
    )
  return { id, networks: new Set(Object.keys(fields(fields(found['NetworkSettings'])['Networks']))) }
}

function objectIn(bytes: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function fields(value: unknown): Fields {
  return isObject(value) ? value : {}
}

function texts(value: unknown, what: string, max: number, maxLength: number): readonly string[] {
  const all: readonly unknown[] = Array.isArray(value) ? value : []
  const fit = all.filter((each): each is string => typeof each === 'string' && each.length <= maxLength)
  if (fit.length === all.length && fit.length <= max) return fit
  throw badRequest(`invalid ${what}: at most ${max} texts, of at most ${maxLength} characters each`)
}

export const attachedContainerRoutes: readonly Route[] = [
  // Without a time limit: a container with volumes is made for as long as their files are copied.
  { method: 'POST', path: '/containers/create', handler: create, anywhere: true, streams: true },
  { method: 'POST', path: '/networks/:id/connect', handler: connect, anywhere: true },
  { method: 'POST', path: '/networks/:id/disconnect', handler: disconnect, anywhere: true },
]
