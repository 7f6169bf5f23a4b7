import { networkInterfaces } from 'node:os'
import type { ClusterSpec, Resource } from '@moot/crdt-state'
import * as z from 'zod'
import { NotInClusterError } from '../errors.ts'
import { readJson } from './body.ts'
import { type Api, authorOf, type Call, flag, type Route, versionIndex } from './call.ts'
import { clusterShape, swarmSpec } from './docker/cluster-shape.ts'
import { ApiError, badRequest, notYet } from './errors.ts'
import { sendEmpty, sendJson } from './reply.ts'
import { isObject, parseWith } from './schema-errors.ts'

function clusterOf(api: Api): Resource<ClusterSpec> {
  const { cluster } = api.cluster.view()
  if (cluster === undefined) throw new NotInClusterError()
  return cluster
}

async function inspect(api: Api, call: Call): Promise<void> {
  const cluster = clusterOf(api)
  const token = await api.joinTokens.current()
  sendJson(call.res, 200, { ...clusterShape(cluster), JoinTokens: { Worker: token, Manager: token } })
}

/** Docker's own port of the swarm; it means nothing here, and its clients send it unasked. */
const dockerSwarmPort = /:2377$/

function advertised(text: string | undefined): string | undefined {
  const address = (text ?? '').replace(dockerSwarmPort, '')
  if (address === '') return undefined
  // Docker takes an interface's name too; the mesh takes addresses.
  const [first] = (networkInterfaces()[address] ?? []).filter(({ internal }) => !internal)
  return first?.address ?? address
}

const initSchema = z.object({
  AdvertiseAddr: z.string().optional(),
  ForceNewCluster: z.boolean().optional(),
  AutoLockManagers: z.boolean().optional(),
  Availability: z.enum(['', 'active', 'pause', 'drain']).optional(),
})

async function init(api: Api, call: Call): Promise<void> {
  const body = parseWith(initSchema, await readJson(api, call), 'swarm')
  if (body.ForceNewCluster === true) {
    throw notYet(
      'there is no quorum to lose, so there is nothing to force: the cluster works with one node left',
    )
  }
  if (body.AutoLockManagers === true) throw notYet('Moot does not lock its nodes at rest yet (--autolock)')
  const author = authorOf(api, call)
  api.joinTokens.keep(await api.cluster.init({ advertise: advertised(body.AdvertiseAddr), author }))
  await setAvailability(api, call, body.Availability)
  sendJson(call.res, 200, api.cluster.self)
}

const joinSchema = z.object({
  AdvertiseAddr: z.string().optional(),
  JoinToken: z.string().min(1),
  Availability: z.enum(['', 'active', 'pause', 'drain']).optional(),
})

/** `RemoteAddrs` is not needed: where the issuer can be reached stands in the token. */
async function join(api: Api, call: Call): Promise<void> {
  const body = parseWith(joinSchema, await readJson(api, call), 'join')
  if (body.JoinToken.startsWith('SWMTKN-')) {
    throw badRequest('invalid join token: this is a token of Docker Swarm; `moot token` makes one of Moot')
  }
  await api.cluster.join(body.JoinToken, {
    advertise: advertised(body.AdvertiseAddr),
    author: authorOf(api, call),
  })
  await setAvailability(api, call, body.Availability)
  sendEmpty(call.res, 200)
}

async function setAvailability(
  api: Api,
  call: Call,
  availability: '' | 'active' | 'pause' | 'drain' | undefined,
): Promise<void> {
  if (availability === undefined || availability === '' || availability === 'active') return
  const node = api.cluster.view().nodes.get(api.cluster.self)
  if (node === undefined) return
  const spec = { ...node.spec, Availability: availability }
  await api.cluster.update('node', node.id, node.versionIndex, spec, authorOf(api, call))
}

async function leave(api: Api, call: Call): Promise<void> {
  await api.cluster.leave({ force: flag(call.query, 'force'), author: authorOf(api, call) })
  sendEmpty(call.res, 200)
}

const updateSchema = z.object({
  Labels: z.record(z.string(), z.string()).optional(),
  Orchestration: z.object({ TaskHistoryRetentionLimit: z.number().int().min(0).optional() }).optional(),
})

async function update(api: Api, call: Call): Promise<void> {
  const cluster = clusterOf(api)
  const index = versionIndex(call, 'swarm')
  const body = await readJson(api, call)
  const wanted = parseWith(updateSchema, body, 'swarm')
  refuseOtherChanges(body, cluster.spec)
  if (flag(call.query, 'rotateManagerUnlockKey')) throw notYet('Moot does not lock its nodes at rest yet')
  const spec: ClusterSpec = {
    ...cluster.spec,
    Labels: wanted.Labels ?? cluster.spec.Labels,
    TaskHistoryRetentionLimit:
      wanted.Orchestration?.TaskHistoryRetentionLimit ?? cluster.spec.TaskHistoryRetentionLimit,
  }
  const written =
    JSON.stringify(spec) === JSON.stringify(cluster.spec)
      ? undefined
      : await api.cluster.update('cluster', cluster.id, index, spec, authorOf(api, call))
  if (flag(call.query, 'rotateWorkerToken') || flag(call.query, 'rotateManagerToken')) api.joinTokens.rotate()
  sendEmpty(call.res, 200, written?.warnings)
}

/** The answer's body has no room for warnings, so a setting that Moot does not have is refused, not ignored. */
function refuseOtherChanges(body: unknown, spec: ClusterSpec): void {
  if (!isObject(body)) return
  const shown = swarmSpec(spec)
  for (const [part, value] of Object.entries(body)) {
    if (part === 'Labels' || part === 'Orchestration') continue
    if (differs(value, shown[part])) {
      throw notYet(
        `Moot has no swarm setting "${part}": only Labels and the task history limit can be changed (docker swarm update --task-history-limit)`,
      )
    }
  }
}

/** Absent, empty, false and 0 are the same to Go. */
function differs(value: unknown, shown: unknown): boolean {
  if (isObject(value)) {
    const other = isObject(shown) ? shown : {}
    return Object.entries(value).some(([key, item]) => differs(item, other[key]))
  }
  if (Array.isArray(value)) return value.length > 0
  return (value || '') !== (shown || '')
}

export const swarmRoutes: readonly Route[] = [
  { method: 'GET', path: '/swarm', handler: inspect },
  { method: 'POST', path: '/swarm/init', handler: init, anywhere: true },
  { method: 'POST', path: '/swarm/join', handler: join, anywhere: true },
  { method: 'POST', path: '/swarm/leave', handler: leave, anywhere: true },
  { method: 'POST', path: '/swarm/update', handler: update },
  {
    method: 'GET',
    path: '/swarm/unlockkey',
    handler: (_api, call) => sendJson(call.res, 200, { UnlockKey: '' }),
  },
  {
    method: 'POST',
    path: '/swarm/unlock',
    handler: () => {
      throw new ApiError(409, 'swarm is not locked')
    },
  },
]
