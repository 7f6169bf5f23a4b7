import type { Api, Call, Route } from './call.ts'
import { enginePath } from './engine/proxy.ts'
import { ApiError } from './errors.ts'
import { sendJson } from './reply.ts'

/**
 * `GET /distribution/IMAGE/json`: the engine asks the registry. A failure is 404, whatever it was: clients take that
 * for "cannot be pinned to a digest" and go on with a warning.
 */
async function inspect(api: Api, call: Call): Promise<void> {
  const image = call.path.slice('/distribution/'.length, -'/json'.length)
  const { registryLookupTimeoutMs } = api.settings
  const answer = await api.engine
    .json(enginePath(api, call), call.signal, registryLookupTimeoutMs)
    .catch(() => undefined)
  if (answer?.status === 200) return sendJson(call.res, 200, answer.body)
  throw new ApiError(404, `no registry told the digest of ${image}: nodes use the image that they have`)
}

export const distributionRoutes: readonly Route[] = [
  { method: 'GET', path: '/distribution/*', handler: inspect, anywhere: true },
]
