import { NameTakenError, type NetworkSpec, networkSpecSchema, type Resource } from '@moot/crdt-state'
import { explainSubnetWait } from '../core/explain/network.ts'
import { guestsOn } from '../core/network/guests.ts'
import { attachmentsOf } from '../core/network/attachments.ts'
import { givenSubnet, refusalOfSubnet } from '../core/network/subnets.ts'
import { nodeDisplayName } from '../core/view.ts'
import { parseJson, readBody } from './body.ts'
import { NotInClusterError } from '../errors.ts'
import { type Api, authorOf, type Call, param, type Route } from './call.ts'
import { containersOn, isBridgeOfOurs, networksOf } from './cluster-networks.ts'
import { networkShape, predefinedNetworks, predefinedNetworkShape } from './docker/network-shape.ts'
import { enginePath, passToEngine } from './engine/proxy.ts'
import { ApiError, badRequest, notYet } from './errors.ts'
import { booleanFilter, type Filters, readFilters } from './filters.ts'
import { sendEmpty, sendJson } from './reply.ts'
import { resolve } from './resolve.ts'
import { isObject, parseWith, unknownFields, unknownFieldsWarning } from './schema-errors.ts'

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
    return sendInspected(api, call, exact)
  }
  if (scope === 'swarm') {
    if ((predefinedNetworks as readonly string[]).includes(reference)) {
      return sendJson(call.res, 200, predefinedNetworkShape(reference))
    }
    return sendInspected(api, call, networkBy(ours, reference))
  }
  const local = await api.engine.json(enginePath(api, call), call.signal)
  if (local.status === 404 && scope !== 'local' && ours.some(({ id }) => id.startsWith(reference))) {
    return sendInspected(api, call, networkBy(ours, reference))
  }
  return sendJson(call.res, local.status, local.body)
}

async function sendInspected(api: Api, call: Call, network: Resource<NetworkSpec>): Promise<void> {
  const containers = await containersOn(api, call, network.id)
  sendJson(call.res, 200, networkShape(network, api.cluster.networks(), containers))
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
    ...(api.cluster.network().ability().kind !== 'kernel'
      ? [`network ${parsed.Name} reaches one node for now: tasks on other nodes are not on it`]
      : []),
    ...notEncryptedWarning(api, parsed),
    ...unknownFieldsWarning(unknownFields(body, known)),
    ...written.warnings,
  ]
  return sendJson(call.res, 201, { Id: written.resource.id, Warning: warnings.join('; ') })
}

/** `--opt encrypted`: here that is no matter of the network's, but of what the hosts have. */
function notEncryptedWarning({ cluster }: Api, { Name, Options }: NetworkSpec): readonly string[] {
  const asked = Options['encrypted']
  const encryption = cluster.encryption()
  if (asked === undefined || asked === 'false' || encryption === undefined) return []
  const { wireGuard, open } = encryption
  if (wireGuard.kind === 'none') {
    return [`network ${Name} is not encrypted to and from this node: ${wireGuard.why}`]
  }
  if (open.length === 0) return []
  const names = open.map((node) => nodeDisplayName(cluster.view(), node)).join(', ')
  return [`network ${Name} is not encrypted to and from ${names}: they have no WireGuard`]
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
  const { services, networks } = api.cluster.view()
  for (const service of services.values()) {
    // Those too that are on `ingress` for their ports, and name no network.
    if (attachmentsOf(service.spec, networks).networks.some((each) => each.network === network.id)) {
      throw badRequest(
        `rpc error: code = FailedPrecondition desc = network ${network.id} is in use by service ${service.id} (${service.name}): remove or update that one first`,
      )
    }
  }
  await refuseWithContainers(api, network)
  const written = await api.cluster.remove('network', network.id, authorOf(api, call))
  return sendEmpty(call.res, 204, written.warnings)
}

/** Here as the engine says at this moment; elsewhere as records tell. One that is stopped counts too: it could not be started again. */
async function refuseWithContainers(api: Api, { id }: Resource<NetworkSpec>): Promise<void> {
  const { cluster } = api
  const view = cluster.view()
  const here = (await cluster.guests())?.filter(({ network }) => network === id)
  const recorded = guestsOn(id, view.records, cluster.liveness())
    .filter(({ node }) => here === undefined || node !== cluster.self)
    .map(({ node, guest }) => ({ node, name: guest.container?.name ?? guest.address }))
  const [user] = [...(here ?? []).map(({ name }) => ({ node: cluster.self, name })), ...recorded]
  if (user === undefined) return
  throw badRequest(
    `rpc error: code = FailedPrecondition desc = network ${id} is in use by container ${user.name} on node ${nodeDisplayName(view, user.node)}: disconnect or remove that one first`,
  )
}

export const networkRoutes: readonly Route[] = [
  { method: 'GET', path: '/networks', handler: list, anywhere: true },
  { method: 'POST', path: '/networks/create', handler: create, anywhere: true },
  { method: 'GET', path: '/networks/:id', handler: inspect, anywhere: true },
  { method: 'DELETE', path: '/networks/:id', handler: remove, anywhere: true },
]
