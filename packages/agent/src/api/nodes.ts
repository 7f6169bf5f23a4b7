import type { NodeId, NodeSpec, Resource } from '@moot/crdt-state'
import * as z from 'zod'
import { readJson } from './body.ts'
import { type Api, authorOf, type Call, flag, param, type Route, versionIndex } from './call.ts'
import { nodeShape, nodeStatusShape } from './docker/node-shape.ts'
import { badRequest } from './errors.ts'
import { readFilters } from './filters.ts'
import { sendEmpty, sendJson } from './reply.ts'
import { resolve } from './resolve.ts'
import { parseWith, unknownFields } from './schema-errors.ts'

export function nodeOf(api: Api, reference: string): Resource<NodeSpec> {
  const view = api.cluster.view()
  return resolve(
    'node',
    reference,
    view.nodes.values(),
    (node) => node.name,
    (node) => {
      const { Name } = node.spec
      return Name === undefined || Name === '' ? hostnameOf(api, node) : Name
    },
  )
}

function hostnameOf(api: Api, node: Resource<NodeSpec>): string | undefined {
  return api.cluster.view().records.get(node.name as NodeId)?.status?.hostname
}

function shape(api: Api, node: Resource<NodeSpec>): Record<string, unknown> {
  const { cluster, settings } = api
  return nodeShape(node, cluster.view(), cluster.liveness().get(node.name as NodeId), settings.meshPort)
}

function list(api: Api, call: Call): void {
  const filters = readFilters(call.query, ['id', 'label', 'membership', 'name', 'node.label', 'role'])
  const found = [...api.cluster.view().nodes.values()].filter((node) => {
    const named = [node.spec.Name, hostnameOf(api, node)].filter((name) => name !== undefined)
    const engineLabels = api.cluster.view().records.get(node.name as NodeId)?.status?.engineLabels ?? {}
    return (
      filters.prefix('id', node.name) &&
      (!filters.has('name') || named.some((name) => filters.prefix('name', name))) &&
      filters.exact('role', node.spec.Role) &&
      // Every member was accepted when it joined: none is pending.
      filters.exact('membership', 'accepted') &&
      // Docker's `label` means the engine's labels, `node.label` those of `docker node update --label-add`.
      filters.labels('label', { ...node.spec.Labels, ...engineLabels }) &&
      filters.labels('node.label', node.spec.Labels)
    )
  })
  sendJson(
    call.res,
    200,
    found.map((node) => shape(api, node)),
  )
}

function inspect(api: Api, call: Call): void {
  sendJson(call.res, 200, shape(api, nodeOf(api, param(call, 'id'))))
}

/** The part of a node's spec that Docker's clients write; the key and the addresses are not theirs. */
const nodeUpdateSchema = z.object({
  Name: z.string().max(63).optional(),
  Labels: z.record(z.string(), z.string()).default({}),
  Role: z.enum(['manager', 'worker']),
  Availability: z.enum(['active', 'pause', 'drain']),
})

async function update(api: Api, call: Call): Promise<void> {
  const node = nodeOf(api, param(call, 'id'))
  const index = versionIndex(call, 'node')
  const body = await readJson(api, call)
  const wanted = parseWith(nodeUpdateSchema, body, 'node')
  const [unknown] = unknownFields(body, wanted)
  // The answer's body has no room for warnings, so what would be ignored is refused.
  if (unknown !== undefined) throw badRequest(`invalid node: ${unknown}: Moot does not know this field`)
  const { Name: _, ...kept } = node.spec
  const spec: NodeSpec = {
    ...kept,
    ...(wanted.Name === undefined || wanted.Name === '' ? {} : { Name: wanted.Name }),
    Labels: wanted.Labels,
    Role: wanted.Role,
    Availability: wanted.Availability,
  }
  const written = await api.cluster.update('node', node.id, index, spec, authorOf(api, call))
  sendEmpty(call.res, 200, written.warnings)
}

async function remove(api: Api, call: Call): Promise<void> {
  const node = nodeOf(api, param(call, 'id'))
  const id = node.name as NodeId
  const { State } = nodeStatusShape(api.cluster.view(), id, api.cluster.liveness().get(id))
  if (!flag(call.query, 'force') && State !== 'down' && State !== 'unknown') {
    const hint = id === api.cluster.self ? 'run "docker swarm leave" here' : 'run "docker swarm leave" there'
    throw badRequest(`node ${id} is not down and can't be removed: ${hint} first, or use --force`)
  }
  const written = await api.cluster.remove('node', node.id, authorOf(api, call))
  sendEmpty(call.res, 200, written.warnings)
}

export const nodeRoutes: readonly Route[] = [
  { method: 'GET', path: '/nodes', handler: list },
  { method: 'GET', path: '/nodes/:id', handler: inspect },
  { method: 'DELETE', path: '/nodes/:id', handler: remove },
  { method: 'POST', path: '/nodes/:id/update', handler: update },
]
