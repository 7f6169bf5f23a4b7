import { type Resource, type ServiceId, type ServiceSpec, specDigest, taskStates } from '@moot/crdt-state'
import { networkOf } from '../core/network/attachments.ts'
import type { NetworkOutlook } from '../core/network/network.ts'
import type { ShownTask } from '../core/tasks-view.ts'
import { type Api, type Call, param, type Route } from './call.ts'
import { attachedNetworkShape } from './docker/network-shape.ts'
import { taskName, taskShape } from './docker/task-shape.ts'
import { badRequest } from './errors.ts'
import { booleanFilter, type Filters, readFilters } from './filters.ts'
import { nodeOf } from './nodes.ts'
import { sendJson } from './reply.ts'
import { resolve } from './resolve.ts'
import { serviceOf } from './services.ts'
import { allTasks, specOfTask, tasksOfService } from './task-view.ts'

export function taskOf(api: Api, reference: string): ShownTask {
  return resolve(
    'task',
    reference,
    allTasks(api),
    ({ task }) => task.id,
    ({ task }) => {
      const service = serviceOfTask(api, task.service)
      return service === undefined ? undefined : `${service.name}.${task.slot}`
    },
  )
}

function serviceOfTask(api: Api, id: ServiceId): Resource<ServiceSpec> | undefined {
  return api.cluster.view().services.get(id)
}

function shape(api: Api, shown: ShownTask, networks: NetworkOutlook | undefined): Record<string, unknown> {
  const service = serviceOfTask(api, shown.task.service)
  const spec = service === undefined ? undefined : specOfTask(api, service, shown.task)
  return taskShape(shown, service, spec, ({ id, network: name }) => {
    const network = networkOf(api.cluster.view().networks, id ?? name)
    return network && attachedNetworkShape(network, networks)
  })
}

const listFilters = ['_up-to-date', 'desired-state', 'id', 'label', 'name', 'node', 'runtime', 'service']

function list(api: Api, call: Call): void {
  const filters = readFilters(call.query, listFilters)
  const states = filters.values('desired-state').filter((state) => state !== '')
  for (const state of states) {
    if (!(taskStates as readonly string[]).includes(state.toLowerCase())) {
      throw badRequest(`invalid desired_state filter: '${state}'`)
    }
  }
  const wanted = new Set(states.map((state) => state.toLowerCase()))
  const upToDate = booleanFilter(filters, '_up-to-date')
  const nodes = new Set(filters.values('node').map((node) => nodeOf(api, node).name))
  const found = candidates(api, filters).filter(({ node, task }) => {
    const service = serviceOfTask(api, task.service)
    return (
      filters.prefix('id', task.id) &&
      filters.prefix('name', taskName(service, task)) &&
      // The *service's* labels, as swarmkit does: `docker stack ps` asks by the stack's label.
      filters.labels('label', service?.spec.Labels ?? {}) &&
      filters.exact('runtime', service?.spec.TaskTemplate.Runtime || 'container') &&
      (nodes.size === 0 || (node !== undefined && nodes.has(node))) &&
      (wanted.size === 0 || wanted.has(task.desired)) &&
      (upToDate !== true || (service !== undefined && specDigest(service.spec) === task.digest))
    )
  })
  const networks = api.cluster.networks()
  sendJson(
    call.res,
    200,
    found.map((shown) => shape(api, shown, networks)),
  )
}

function candidates(api: Api, filters: Filters): readonly ShownTask[] {
  if (!filters.has('service')) return allTasks(api)
  const services = new Set(filters.values('service').map((name) => serviceOf(api, name).id))
  return [...services].flatMap((id) => tasksOfService(api, id as ServiceId))
}

function inspect(api: Api, call: Call): void {
  sendJson(call.res, 200, shape(api, taskOf(api, param(call, 'id')), api.cluster.networks()))
}

export const taskRoutes: readonly Route[] = [
  { method: 'GET', path: '/tasks', handler: list },
  { method: 'GET', path: '/tasks/:id', handler: inspect },
]
