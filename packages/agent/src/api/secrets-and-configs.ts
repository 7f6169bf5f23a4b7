import { type Call, param, type Route, type Api } from './call.ts'
import { notFound, notYet } from './errors.ts'
import { readFilters } from './filters.ts'
import { sendJson } from './reply.ts'

/**
 * Docker's secrets and configs: not there yet. Lists are empty and inspections 404, so that `docker stack` commands
 * work for stacks that use none; making one is refused, and so nothing is stored.
 */
function routesFor(kind: 'secret' | 'config'): readonly Route[] {
  const plural = `${kind}s`
  const missing = (_api: Api, call: Call): never => {
    throw notFound(kind, param(call, 'id'))
  }
  return [
    {
      method: 'GET',
      path: `/${plural}`,
      handler: (_api, call) => {
        readFilters(call.query, ['id', 'label', 'name', 'names'])
        sendJson(call.res, 200, [])
      },
    },
    {
      method: 'POST',
      path: `/${plural}/create`,
      handler: () => {
        throw notYet(
          `Moot does not keep ${plural} yet: bind a file that is on every node, or pass the value in the environment`,
        )
      },
    },
    { method: 'GET', path: `/${plural}/:id`, handler: missing },
    { method: 'DELETE', path: `/${plural}/:id`, handler: missing },
    { method: 'POST', path: `/${plural}/:id/update`, handler: missing },
  ]
}

export const secretRoutes = routesFor('secret')
export const configRoutes = routesFor('config')
