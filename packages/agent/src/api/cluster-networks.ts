import type { NetworkSpec, Resource, ResourceId } from '@moot/crdt-state'
import type { Api, Call } from './call.ts'
import { isObject } from './schema-errors.ts'

/** Put on by the engine adapter (adapters/docker/labels.ts). */
const networkLabel = 'moot.network'

/** As much of an id as `docker network ls` shows. */
const shortIdLength = 12

/** Cluster networks; none on a node that is in no cluster (its engine's own are answered all the same). */
export function networksOf(api: Api): readonly Resource<NetworkSpec>[] {
  return api.cluster.state().kind === 'active' ? [...api.cluster.view().networks.values()] : []
}

/** By id, name or short id. What is shorter is a name of the engine's, if anything. */
export function clusterNetwork(api: Api, reference: string): Resource<NetworkSpec> | undefined {
  const all = networksOf(api)
  const exact = all.find(({ id, name }) => id === reference || name === reference)
  if (exact !== undefined || reference.length < shortIdLength) return exact
  const [only, ...others] = all.filter(({ id }) => id.startsWith(reference))
  return others.length === 0 ? only : undefined
}

/** The bridge that stands for a cluster network on this node is no network of its own to people. */
export function isBridgeOfOurs(network: unknown): boolean {
  return isObject(network) && isObject(network['Labels']) && networkLabel in network['Labels']
}

/** This engine's networks that stand for one of the cluster: as a rule one, or none. */
export async function bridgesOf(
  api: Api,
  { signal }: Pick<Call, 'signal'>,
  network: ResourceId,
): Promise<readonly { readonly id: string; readonly name: string }[]> {
  const filters = JSON.stringify({ label: [`${networkLabel}=${network}`] })
  const { body } = await api.engine.json(`/networks?filters=${encodeURIComponent(filters)}`, signal)
  return (Array.isArray(body) ? (body as unknown[]) : []).flatMap((each) => {
    const { Id: id, Name: name } = isObject(each) ? each : {}
    return typeof id === 'string' && typeof name === 'string' ? [{ id, name }] : []
  })
}

/** Docker's `Containers` of a network: those of this node. Null while the engine does not answer. */
export async function containersOn(
  api: Api,
  call: Pick<Call, 'signal' | 'log'>,
  network: ResourceId,
): Promise<Readonly<Record<string, unknown>> | null> {
  const containers: Record<string, unknown> = {}
  try {
    for (const { id } of await bridgesOf(api, call, network)) {
      const { body } = await api.engine.json(`/networks/${id}`, call.signal)
      if (isObject(body) && isObject(body['Containers'])) Object.assign(containers, body['Containers'])
    }
    return containers
  } catch (error) {
    call.log.debug({ err: error }, 'the engine does not say which containers are on a network')
    return null
  }
}
