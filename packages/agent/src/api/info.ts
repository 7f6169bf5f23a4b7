import type { Api, Call, Route } from './call.ts'
import { clusterShape } from './docker/cluster-shape.ts'
import { nodeAddress } from './docker/node-shape.ts'
import { enginePath } from './engine/proxy.ts'
import { oldestApiVersion } from './engine/engine-client.ts'
import { rulesTrouble } from './rules-trouble.ts'
import { voterTrouble } from './voter-trouble.ts'
import { sendJson } from './reply.ts'
import { isObject } from './schema-errors.ts'

const cutOffWarning =
  'WARNING: no other node of the cluster answers, nor does the way to them: this node takes nothing over from them'
const windingDownWarning =
  'WARNING: this node is no member of its cluster any more, and still stops and removes what it ran'

/** `GET /info`: the engine's answer with Moot's `Swarm`; Moot's part alone while the engine is down. */
async function info(api: Api, call: Call): Promise<void> {
  const Swarm = swarmInfo(api)
  try {
    const answer = await api.engine.json(enginePath(api, call), call.signal)
    if (answer.status === 200 && isObject(answer.body)) {
      const { Warnings } = answer.body
      const ours = warnings(api)
      const warned = [...(Array.isArray(Warnings) ? (Warnings as unknown[]) : []), ...ours]
      sendJson(call.res, 200, { ...answer.body, Swarm, ...(ours.length > 0 && { Warnings: warned }) })
      return
    }
    call.log.warn({ status: answer.status }, 'the engine refused /info')
  } catch (error) {
    call.log.debug({ err: error }, 'answering /info without the engine')
  }
  sendJson(call.res, 200, {
    ID: api.cluster.self,
    Name: ownHostname(api),
    ServerVersion: `moot ${api.agentVersion}`,
    OSType: 'linux',
    Swarm,
    Warnings: ["WARNING: this node's Docker engine does not answer: only the Swarm part is known"],
  })
}

function warnings({ cluster }: Api): readonly string[] {
  const isCutOff = cluster.status()['cutOff'] === true
  const troubles = [rulesTrouble(cluster), voterTrouble(cluster)].filter((trouble) => trouble !== undefined)
  return [
    ...(cluster.status()['windingDown'] === true ? [windingDownWarning] : []),
    ...(isCutOff ? [cutOffWarning] : []),
    ...troubles.map((trouble) => `WARNING: ${trouble}`),
    ...networkWarnings(cluster),
  ]
}

function networkWarnings(cluster: Api['cluster']): readonly string[] {
  if (cluster.state().kind !== 'active') return []
  const network = cluster.network()
  const ports = network
    .troubles()
    .map(({ protocol, port, why }) => `WARNING: port ${port}/${protocol} is not answered here: ${why}`)
  const ability = network.ability()
  if (ability.kind === 'kernel') return ports
  const words =
    ability.kind === 'userland'
      ? 'published ports are passed on in userland'
      : 'published ports are not answered here'
  return [`WARNING: ${words}, and networks reach one node: ${ability.why}`, ...ports]
}

function swarmInfo(api: Api): Record<string, unknown> {
  const { cluster, settings } = api
  const state = cluster.state()
  if (state.kind !== 'active') {
    const Error = state.kind === 'removed' ? `this node was removed from cluster ${state.clusterId}` : ''
    return {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error,
      RemoteManagers: null,
    }
  }
  const view = cluster.view()
  const members = [...view.nodes.values()]
  const address = (id: string): string => {
    const node = members.find(({ name }) => name === id)
    return node === undefined ? '' : nodeAddress(node, view.records.get(node.name as typeof view.self))
  }
  return {
    NodeID: cluster.self,
    NodeAddr: address(cluster.self),
    LocalNodeState: 'active',
    ControlAvailable: true,
    Error: '',
    RemoteManagers: members
      .map(({ name }) => ({ NodeID: name, Addr: `${address(name)}:${settings.meshPort}` }))
      .sort((left, right) => (left.NodeID < right.NodeID ? -1 : 1)),
    Nodes: members.length,
    Managers: members.filter(({ spec }) => spec.Role === 'manager').length,
    ...(view.cluster === undefined ? {} : { Cluster: clusterShape(view.cluster) }),
  }
}

function ownHostname(api: Api): string {
  if (api.cluster.state().kind !== 'active') return ''
  return api.cluster.view().records.get(api.cluster.self)?.status?.hostname ?? ''
}

/** `GET /version`: the engine's answer with Moot among its components, or Moot alone. */
async function version(api: Api, call: Call): Promise<void> {
  const moot = { Name: 'Moot', Version: api.agentVersion, Details: { NodeVersion: process.version } }
  const answer = await api.engine.json(enginePath(api, call), call.signal).catch(() => undefined)
  if (answer !== undefined && answer.status === 200 && isObject(answer.body)) {
    const components: unknown = answer.body['Components']
    const Components = [...(Array.isArray(components) ? (components as unknown[]) : []), moot]
    sendJson(call.res, 200, { ...answer.body, Components })
    return
  }
  sendJson(call.res, 200, {
    Platform: { Name: 'Moot' },
    Components: [moot],
    Version: api.agentVersion,
    ApiVersion: api.engine.apiVersion(),
    MinAPIVersion: oldestApiVersion,
    GitCommit: '',
    GoVersion: '',
    Os: process.platform,
    Arch: process.arch === 'x64' ? 'amd64' : process.arch,
    KernelVersion: '',
  })
}

export const infoRoutes: readonly Route[] = [
  { method: 'GET', path: '/info', handler: info, anywhere: true },
  { method: 'GET', path: '/version', handler: version, anywhere: true },
]
