import { NameTakenError, type NetworkSpec, networkSpecSchema, type Resource } from '@moot/crdt-state'
import { explainSubnetWait } from '../core/explain/network.ts'
import { givenSubnet, refusalOfSubnet } from '../core/network/subnets.ts'
import { parseJson, readBody } from './body.ts'
import { NotInClusterError } from '../errors.ts'
import { type Api, authorOf, type Call, param, type Route } from './call.ts'
import { networkShape, predefinedNetworks, predefinedNetworkShape } from './docker/network-shape.ts'
import { enginePath, passToEngine } from './engine/proxy.ts'
import { ApiError, badRequest, notYet } from './errors.ts'
import { booleanFilter, type Filters, readFilters } from './filters.ts'
import { sendEmpty, sendJson } from './reply.ts'
import { resolve } from './resolve.ts'
import { isObject, parseWith, unknownFields, unknownFieldsWarning } from './schema-errors.ts'

/** Cluster networks; none on a node that is in no cluster (its engine's own are answered all the same). */
function networksOf(api: Api): readonly Resource<NetworkSpec>[] {
  return api.cluster.state().kind === 'active' ? [...api.cluster.view().networks.values()] : []
}

/** Put on by the engine adapter (adapters/docker/labels.ts). */
const networkLabel = 'moot.network'

const listFilters = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type', 'idOrName']

/** The cluster's networks, then the engine's own. */
async function list(api: Api, call: Call): Promise<void> {
  const filters = readFilters(call.query, listFilters)
  const ours = networksOf(api).filter((network) => matches(network, filters))
  const shown = ours.map((network) => networkShape(network, api.cluster.networks()))
  if (filters.has('scope') && !filters.values('scope').includes('local')) {
    sendJson(call.res, 200, shown)
    return
  }
  const local = await api.engine.json(enginePath(api, call), call.signal).catch((error: unknown) => {
    call.log.debug({ err: error }, 'listing networks without the engine')
    return undefined
  })
  if (local !== undefined && local.status !== 200) {
    sendJson(call.res, local.status, local.body)
    return
  }
  const others = Array.isArray(local?.body)
    ? (local.body as unknown[]).filter((each) => !isBridgeOfOurs(each))
    : []
  sendJson(call.res, 200, [...shown, ...others])
}

/** The bridge that stands for a cluster network on this node is no network of its own to people. */
function isBridgeOfOurs(network: unknown): boolean {
  return isObject(network) && isObject(network['Labels']) && networkLabel in network['Labels']
}

function matches(network: Resource<NetworkSpec>, filters: Filters): boolean {
  // Unlike elsewhere, a network's name and id match by any part (moby `daemon/network/filter.go`).
  const part = (name: string, text: string): boolean =>
    !filters.has(name) || filters.values(name).some((value) => text.includes(value))
  return (
    part('id', network.id) &&
    part('name', network.name) &&
    (part('idOrName', network.name) || part('idOrName', network.id)) &&
    filters.exact('driver', network.spec.Driver) &&
    filters.exact('scope', 'swarm') &&
    filters.exact('type', 'custom') &&
    filters.labels('label', network.spec.Labels) &&
    // Docker counts local containers only; a cluster network is never told to be unused.
    booleanFilter(filters, 'dangling') !== true
  )
}

async function inspect(api: Api, call: Call): Promise<void> {
  const reference = param(call, 'id')
  const scope = call.query.get('scope') ?? ''
  const ours = networksOf(api)
  const exact = ours.find(({ id, name }) => id === reference || name === reference)
  if (exact !== undefined && scope !== 'local') {
    sendJson(call.res, 200, networkShape(exact, api.cluster.networks()))
    return
  }
  if (scope === 'swarm') {
    if ((predefinedNetworks as readonly string[]).includes(reference)) {
      sendJson(call.res, 200, predefinedNetworkShape(reference))
      return
    }
    sendJson(call.res, 200, networkShape(networkBy(ours, reference), api.cluster.networks()))
    return
  }
  const local = await api.engine.json(enginePath(api, call), call.signal)
  if (local.status === 404 && scope !== 'local' && ours.some(({ id }) => id.startsWith(reference))) {
    sendJson(call.res, 200, networkShape(networkBy(ours, reference), api.cluster.networks()))
    return
  }
  sendJson(call.res, local.status, local.body)
}

export function networkBy(
  networks: readonly Resource<NetworkSpec>[],
  reference: string,
): Resource<NetworkSpec> {
  return resolve(
    'network',
    reference,
    networks,
    ({ id }) => id,
    ({ name }) => name,
  )
}

async function create(api: Api, call: Call): Promise<void> {
  const bytes = await readBody(api, call)
  const body = parseJson(bytes)
  if (!isObject(body)) throw badRequest('invalid JSON: the request body must be an object')
  if (body['Driver'] !== 'overlay' && body['Scope'] !== 'swarm') return passToEngine(api, call, bytes)
  if (api.cluster.state().kind !== 'active') throw new NotInClusterError()
  if (body['Ingress'] === true) {
    throw notYet('Moot does not publish ports on every node (ingress) yet: it has no ingress network')
  }
  refuseConfigFrom(body)
  const parsed = parseWith(networkSpecSchema, { ...body, Driver: body['Driver'] || 'overlay' }, 'network')
  checkNetworkName(parsed.Name)
  checkSubnets(parsed)
  refuseTakenSubnet(api, parsed)
  if (networksOf(api).some(({ name }) => name === parsed.Name)) {
    throw new NameTakenError('network', parsed.Name)
  }
  const known = { ...parsed, Scope: 'swarm', CheckDuplicate: true, EnableIPv4: true }
  const written = await api.cluster.create('network', parsed.Name, parsed, authorOf(api, call))
  const warnings = [
    ...(api.cluster.networks() === undefined
      ? [`network ${parsed.Name} reaches one node for now: tasks on other nodes are not on it`]
      : []),
    ...unknownFieldsWarning(unknownFields(body, known)),
    ...written.warnings,
  ]
  return sendJson(call.res, 201, { Id: written.resource.id, Warning: warnings.join('; ') })
}

function refuseConfigFrom(body: Readonly<Record<string, unknown>>): void {
  const from = body['ConfigFrom']
  if (body['ConfigOnly'] !== true && (!isObject(from) || (from['Network'] ?? '') === '')) return
  throw notYet('Moot does not support config-only networks yet: give the settings in the network itself')
}

function checkNetworkName(name: string): void {
  if ((predefinedNetworks as readonly string[]).includes(name) || name === 'default') {
    throw new ApiError(403, `operation is not permitted on predefined ${name} network`)
  }
  if (name === '') throw badRequest('network name must be provided')
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) || name.length > 255) {
    throw badRequest(
      `invalid network name "${name.slice(0, 80)}": use letters, digits, "_", "." and "-", beginning with a letter or digit`,
    )
  }
}

function checkSubnets(spec: NetworkSpec): void {
  for (const { Subnet = '', Gateway = '', IPRange = '' } of spec.IPAM?.Config ?? []) {
    for (const [field, text, pattern] of [
      ['subnet', Subnet, /^[0-9a-fA-F:.]+\/\d{1,3}$/],
      ['ip range', IPRange, /^[0-9a-fA-F:.]+\/\d{1,3}$/],
      ['gateway', Gateway, /^[0-9a-fA-F:.]+$/],
    ] as const) {
      if (text !== '' && !pattern.test(text)) throw badRequest(`invalid ${field} ${text.slice(0, 80)}`)
    }
  }
}

/** In moby's words, and why. */
function refuseTakenSubnet(api: Api, spec: NetworkSpec): void {
  const given = spec.Driver === 'overlay' ? givenSubnet(spec) : undefined
  const { networks } = api.cluster.view()
  const wait = given && refusalOfSubnet(networks, given)
  if (wait === undefined) return
  const why = explainSubnetWait(wait, (id) => networks.get(id)?.name ?? id)
  throw new ApiError(wait.kind === 'given-taken' ? 409 : 400, `invalid pool request: ${why}`)
}

async function remove(api: Api, call: Call): Promise<void> {
  const reference = param(call, 'id')
  const ours = networksOf(api)
  const exact = ours.find(({ id, name }) => id === reference || name === reference)
  const byPrefix = ours.filter(({ id }) => id.startsWith(reference))
  const network = exact ?? (byPrefix.length === 1 ? byPrefix[0] : undefined)
  if (network === undefined) return passToEngine(api, call)
  for (const service of api.cluster.view().services.values()) {
    const attachments = service.spec.TaskTemplate.Networks ?? service.spec.Networks ?? []
    if (attachments.some(({ Target }) => Target === network.id || Target === network.name)) {
      throw badRequest(
        `rpc error: code = FailedPrecondition desc = network ${network.id} is in use by service ${service.id} (${service.name}): remove or update that one first`,
      )
    }
  }
  await api.cluster.remove('network', network.id, authorOf(api, call))
  return sendEmpty(call.res, 204)
}

/** A container of `docker run` on a cluster network: the engine alone has no such network. */
async function attach(api: Api, call: Call): Promise<void> {
  const reference = param(call, 'id')
  if (networksOf(api).some(({ id, name }) => id === reference || name === reference)) {
    throw notYet(`Moot does not attach single containers to cluster networks yet: ${reference} is one`)
  }
  return passToEngine(api, call)
}

export const networkRoutes: readonly Route[] = [
  { method: 'GET', path: '/networks', handler: list, anywhere: true },
  { method: 'POST', path: '/networks/create', handler: create, anywhere: true },
  { method: 'GET', path: '/networks/:id', handler: inspect, anywhere: true },
  { method: 'DELETE', path: '/networks/:id', handler: remove, anywhere: true },
  { method: 'POST', path: '/networks/:id/connect', handler: attach, anywhere: true },
  { method: 'POST', path: '/networks/:id/disconnect', handler: attach, anywhere: true },
]
