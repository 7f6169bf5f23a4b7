import {
  NameTakenError,
  type Resource,
  RollbackUnavailableError,
  type ServiceId,
  type ServiceSpec,
} from '@moot/crdt-state'
import { taskCounts, updateStatus } from './task-view.ts'
import { readJson } from './body.ts'
import { type Api, authorOf, type Call, flag, param, type Route, versionIndex } from './call.ts'
import { serviceShape } from './docker/service-shape.ts'
import { badRequest } from './errors.ts'
import { readFilters } from './filters.ts'
import { sendEmpty, sendJson } from './reply.ts'
import { resolve } from './resolve.ts'
import { readServiceSpec } from './service-spec/body.ts'
import { resumeUpdate } from './service-spec/resume.ts'
import { triedAgain } from './service-spec/tried-again.ts'
import { freeServiceName } from './service-spec/names.ts'

export function serviceOf(api: Api, reference: string): Resource<ServiceSpec> {
  return resolve(
    'service',
    reference,
    api.cluster.view().services.values(),
    (service) => service.id,
    (service) => service.name,
  )
}

export function modeName({ Mode }: ServiceSpec): string {
  if (Mode.Global !== undefined) return 'global'
  if (Mode.ReplicatedJob !== undefined) return 'replicated-job'
  return Mode.GlobalJob === undefined ? 'replicated' : 'global-job'
}

function list(api: Api, call: Call): void {
  const filters = readFilters(call.query, ['id', 'label', 'mode', 'name', 'runtime'])
  const withStatus = flag(call.query, 'status')
  const view = api.cluster.view()
  const found = [...view.services.values()].filter(
    (service) =>
      filters.prefix('id', service.id) &&
      filters.prefix('name', service.name) &&
      filters.exact('mode', modeName(service.spec)) &&
      filters.exact('runtime', service.spec.TaskTemplate.Runtime || 'container') &&
      filters.labels('label', service.spec.Labels),
  )
  sendJson(
    call.res,
    200,
    found.map((service) =>
      serviceShape(service, {
        insertDefaults: flag(call.query, 'insertDefaults'),
        updateStatus: updateStatus(api, service),
        networks: api.cluster.networks(),
        ...(withStatus ? { status: taskCounts(api, service) } : {}),
      }),
    ),
  )
}

function inspect(api: Api, call: Call): void {
  const service = serviceOf(api, param(call, 'id'))
  const insertDefaults = flag(call.query, 'insertDefaults')
  sendJson(
    call.res,
    200,
    serviceShape(service, {
      insertDefaults,
      updateStatus: updateStatus(api, service),
      networks: api.cluster.networks(),
    }),
  )
}

async function create(api: Api, call: Call): Promise<void> {
  const body = await readJson(api, call)
  const view = api.cluster.view()
  const taken = (name: string): boolean =>
    [...view.services.values()].some((service) => service.name === name)
  const { spec, warnings } = readServiceSpec(body, view, {
    name: () => freeServiceName(taken),
    maxReplicas: api.settings.maxReplicasPerService,
    ability: api.cluster.network().ability().kind,
  })
  if (taken(spec.Name)) throw new NameTakenError('service', spec.Name)
  const written = await api.cluster.create('service', spec.Name, spec, authorOf(api, call))
  sendJson(call.res, 201, {
    ID: written.resource.id,
    Warnings: orNull([...warnings, ...registryAuthWarning(call), ...written.warnings]),
  })
}

async function update(api: Api, call: Call): Promise<void> {
  const service = serviceOf(api, param(call, 'id'))
  const index = versionIndex(call, 'service')
  const rollback = call.query.get('rollback') ?? ''
  if (rollback !== '' && rollback !== 'previous') {
    throw badRequest(`invalid rollback '${rollback}': only 'previous' is known`)
  }
  const body = await readJson(api, call)
  if (rollback === 'previous') return rollBack(api, call, service, index)
  const { spec, warnings } = readServiceSpec(body, api.cluster.view(), {
    name: () => '',
    maxReplicas: api.settings.maxReplicasPerService,
    ability: api.cluster.network().ability().kind,
    service: service.id as ServiceId,
  })
  if (spec.Name !== service.name) throw badRequest('renaming services is not supported')
  if (modeName(spec) !== modeName(service.spec)) throw badRequest('service mode change is not allowed')
  const author = authorOf(api, call)
  const written = await api.cluster.update('service', service.id, index, spec, author, 'update', triedAgain)
  const resumed = await resumeUpdate(api, service, written.resource.spec, author)
  return sendJson(call.res, 200, {
    Warnings: orNull([
      ...warnings,
      ...registryAuthWarning(call),
      ...new Set([...written.warnings, ...resumed]),
    ]),
  })
}

/** Server-side: the body is ignored, as in Docker. What was there before becomes the previous spec: a second rollback undoes the first. */
async function rollBack(api: Api, call: Call, service: Resource<ServiceSpec>, index: number): Promise<void> {
  if (service.previous === undefined) throw new RollbackUnavailableError(service.name)
  const written = await api.cluster.update(
    'service',
    service.id,
    index,
    service.previous,
    authorOf(api, call),
    'rollback',
  )
  sendJson(call.res, 200, { Warnings: orNull(written.warnings) })
}

async function remove(api: Api, call: Call): Promise<void> {
  const service = serviceOf(api, param(call, 'id'))
  const written = await api.cluster.remove('service', service.id, authorOf(api, call))
  sendEmpty(call.res, 200, written.warnings)
}

/** Go's clients expect null where there is no warning; an empty list makes some of them print an empty line. */
function orNull(warnings: readonly string[]): readonly string[] | null {
  return warnings.length === 0 ? null : warnings
}

function registryAuthWarning(call: Call): string[] {
  const header = call.req.headers['x-registry-auth']
  const text = Array.isArray(header) ? header.join('') : (header ?? '')
  const decoded = Buffer.from(text, 'base64url').toString('utf8').trim()
  if (['', '{}', 'null'].includes(decoded)) return []
  return [
    'registry credentials are not stored in the cluster yet: each node pulls with what its own engine knows, or uses an image that is present',
  ]
}

export const serviceRoutes: readonly Route[] = [
  { method: 'GET', path: '/services', handler: list },
  { method: 'POST', path: '/services/create', handler: create },
  { method: 'GET', path: '/services/:id', handler: inspect },
  { method: 'DELETE', path: '/services/:id', handler: remove },
  { method: 'POST', path: '/services/:id/update', handler: update },
]
