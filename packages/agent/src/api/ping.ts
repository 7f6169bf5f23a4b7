import type { Api, Call, Route } from './call.ts'

/** `GET|HEAD /_ping`: how clients find out which API version to speak. Answered even when the engine is down. */
async function ping(api: Api, call: Call): Promise<void> {
  const engine = await api.engine.ping(call.signal)
  const body = call.req.method === 'HEAD' ? undefined : 'OK'
  call.res.writeHead(200, {
    'Api-Version': api.engine.apiVersion(),
    'Builder-Version': engine.builderVersion,
    'Docker-Experimental': engine.experimental,
    Ostype: engine.osType,
    Server: `Moot/${api.agentVersion}`,
    Swarm: api.cluster.state().kind === 'active' ? 'active/manager' : 'inactive',
    'Cache-Control': 'no-cache, no-store, must-revalidate',
    Pragma: 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': 2,
  })
  call.res.end(body)
}

export const pingRoutes: readonly Route[] = [
  { method: 'GET', path: '/_ping', handler: ping, anywhere: true },
  { method: 'HEAD', path: '/_ping', handler: ping, anywhere: true },
]
