import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { NotInClusterError } from '../errors.ts'
import { attachedContainerRoutes } from './attached-containers.ts'
import type { Api, Call, Route } from './call.ts'
import { distributionRoutes } from './distribution.ts'
import { compareVersions, newestApiVersion, oldestApiVersion } from './engine/engine-client.ts'
import { passToEngine } from './engine/proxy.ts'
import { answerFor, badRequest } from './errors.ts'
import { eventRoutes } from './events.ts'
import { infoRoutes } from './info.ts'
import { mootRoutes } from './moot/routes.ts'
import { networkRoutes } from './networks.ts'
import { nodeRoutes } from './nodes.ts'
import { pingRoutes } from './ping.ts'
import { sendError } from './reply.ts'
import { configRoutes, secretRoutes } from './secrets-and-configs.ts'
import { logRoutes } from './service-logs.ts'
import { serviceRoutes } from './services.ts'
import { swarmRoutes } from './swarm.ts'
import { taskRoutes } from './tasks.ts'

const routes: readonly Route[] = [
  ...pingRoutes,
  ...infoRoutes,
  ...serviceRoutes,
  ...logRoutes,
  ...taskRoutes,
  ...nodeRoutes,
  ...networkRoutes,
  ...attachedContainerRoutes,
  ...secretRoutes,
  ...configRoutes,
  ...swarmRoutes,
  ...eventRoutes,
  ...distributionRoutes,
  ...mootRoutes,
]

/** Paths that are wholly Moot's: what they do not have is 404 here and never reaches the engine. */
const ownPaths = /^\/(services|tasks|nodes|secrets|configs|swarm|moot)(\/|$)/

export interface Router {
  /** Answers one request; never rejects. */
  handle(req: IncomingMessage, res: ServerResponse): Promise<void>
}

export function createRouter(api: Api, closing: AbortSignal): Router {
  const matcher = findMyWay({ maxParamLength: 1024 })
  for (const route of routes) matcher.on(route.method, route.path, () => undefined, route)

  function callOf(req: IncomingMessage, res: ServerResponse): Omit<Call, 'params'> {
    const id = randomUUID().slice(0, 8)
    const gone = new AbortController()
    res.once('close', () => gone.abort(new Error('the client went away')))
    return {
      req,
      res,
      id,
      log: api.logger.child({ request: id }),
      ...splitTarget(req.url ?? '/'),
      signal: AbortSignal.any([gone.signal, closing]),
    }
  }

  async function dispatch(call: Omit<Call, 'params'>): Promise<void> {
    checkVersion(api, call.version)
    const found = matcher.find((call.req.method ?? 'GET') as HTTPMethod, call.path)
    if (found === null) {
      if (ownPaths.test(call.path)) return sendError(call.res, 404, 'page not found')
      return passToEngine(api, { ...call, params: {} })
    }
    const route = found.store as Route
    if (route.anywhere !== true && api.cluster.state().kind !== 'active') throw new NotInClusterError()
    const whole: Call = { ...call, params: found.params }
    return route.streams === true ? await route.handler(api, whole) : await withinTime(api, whole, route)
  }

  return {
    async handle(req, res) {
      const call = callOf(req, res)
      const startedMs = performance.now()
      try {
        await dispatch(call)
      } catch (error) {
        await answerError(api, call, error)
      }
      const ms = Math.round(performance.now() - startedMs)
      call.log.debug({ method: req.method, path: call.path, status: res.statusCode, ms }, 'answered')
    },
  }
}

async function answerError(api: Api, call: Omit<Call, 'params'>, error: unknown): Promise<void> {
  // What is left of a body is read and dropped first: a connection that is closed with bytes unread takes the answer
  // with it.
  await dropBody(api, call.req)
  const known = answerFor(error)
  if (known !== undefined) {
    if (known.status === 413) call.res.shouldKeepAlive = false
    sendError(call.res, known.status, known.message)
    return
  }
  if (call.signal.aborted) {
    call.res.destroy()
    return
  }
  call.log.error({ err: error, method: call.req.method, path: call.path }, 'a request failed unexpectedly')
  sendError(call.res, 500, `the agent failed at this request; its log says more (request ${call.id})`)
}

/** Until the body has ended, or its sender has had its time. */
function dropBody({ clock, settings }: Api, req: IncomingMessage): Promise<void> {
  if (req.complete || req.readableEnded || req.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      cancel()
      resolve()
    }
    const cancel = clock.after(settings.apiLingerMs, done)
    req.once('end', done)
    req.once('close', done)
    req.resume()
  })
}

/** A handler that hangs must not hold its client for ever. What it still does then goes on in the background. */
async function withinTime(api: Api, call: Call, route: Route): Promise<void> {
  const limitMs = api.settings.apiRequestTimeoutMs
  const cancel = api.clock.after(limitMs, () => {
    call.log.error({ path: call.path, limitMs }, 'a request took too long')
    sendError(call.res, 503, `no answer within ${limitMs} ms: look at the result before you try again`)
  })
  try {
    await route.handler(api, call)
  } finally {
    cancel()
  }
}

/** `/v1.41/services?x=1` → version, path and query. */
export function splitTarget(target: string): {
  readonly path: string
  readonly query: URLSearchParams
  readonly version: string | undefined
} {
  const mark = target.indexOf('?')
  const whole = mark < 0 ? target : target.slice(0, mark)
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
  const match = /^\/v(\d+\.\d+)(\/.*)$/.exec(whole)
  return { path: match?.[2] ?? whole, query, version: match?.[1] }
}

function checkVersion(api: Api, version: string | undefined): void {
  if (version === undefined) return
  const newest =
    compareVersions(api.engine.engineApiVersion(), newestApiVersion) > 0
      ? api.engine.engineApiVersion()
      : newestApiVersion
  if (compareVersions(version, newest) > 0) {
    throw badRequest(
      `client version ${version} is too new. Maximum supported API version is ${api.engine.apiVersion()}`,
    )
  }
  if (compareVersions(version, oldestApiVersion) < 0) {
    throw badRequest(
      `client version ${version} is too old. Minimum supported API version is ${oldestApiVersion}, please upgrade your client to a newer version`,
    )
  }
}
