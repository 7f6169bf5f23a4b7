import type { ResourceId, ServiceId } from '@moot/crdt-state'
import * as z from 'zod'
import { explainEndpoint, explainServiceWait, type ResourceNames } from '../../core/explain/network.ts'
import { endpointsOn, type InspectedEndpoint, servicesOn } from '../../core/network/inspection.ts'
import type { NetworkOutlook } from '../../core/network/network.ts'
import { nodeDisplayName } from '../../core/view.ts'
import type { Api } from '../call.ts'

const endpointSchema = z.object({
  task: z.string().describe('SERVICE.SLOT; of a global service the slot is a node.'),
  id: z.string(),
  node: z.string(),
  nodeName: z.string(),
  address: z.string().optional(),
  answers: z.boolean().describe('Balancers and names lead to it.'),
  standing: z
    .enum(['first', 'second', 'unready', 'out'])
    .describe(
      '`second`: answers only where no other does. `unready`: found by its own name only. `out`: by none.',
    ),
  why: z.string().optional().describe('What speaks against it.'),
})

export const serviceSchema = z.object({
  id: z.string(),
  name: z.string(),
  by: z
    .enum(['vip', 'dnsrr', 'ports'])
    .describe(
      'What its name means: one address, or its tasks. `ports`: it is there for its published ports alone.',
    ),
  virtualIp: z.string().optional(),
  ports: z.array(
    z.object({
      mode: z.enum(['ingress', 'host']).describe('Answered by every node, or by those of its tasks.'),
      protocol: z.enum(['tcp', 'udp', 'sctp']),
      port: z.number().optional().describe('None: each engine has drawn its own.'),
      target: z.number().describe("The container's."),
    }),
  ),
  endpoints: z.array(endpointSchema),
  problems: z.array(z.string()),
})

export function servicesAnswer(
  { cluster }: Api,
  network: ResourceId,
  outlook: NetworkOutlook,
  names: ResourceNames,
): z.input<typeof serviceSchema>[] {
  const seen = { view: cluster.view(), liveness: cluster.liveness(), outlook }
  const endpointAnswer = (service: string, endpoint: InspectedEndpoint): z.input<typeof endpointSchema> => {
    const { node, task, address, answers, standing } = endpoint
    const why = explainEndpoint(endpoint)
    const nodeName = nodeDisplayName(seen.view, node)
    return {
      task: `${service}.${typeof task.slot === 'number' ? task.slot : nodeName}`,
      id: task.id,
      node,
      nodeName,
      ...(address === undefined ? {} : { address }),
      answers,
      standing: standing.kind,
      ...(why === undefined ? {} : { why }),
    }
  }
  return servicesOn(network, outlook).map(({ service: { id, name }, by, virtualIp, ports, waits }) => ({
    id,
    name,
    by,
    ...(virtualIp === undefined ? {} : { virtualIp }),
    ports: ports.map(({ port, ...rest }) => ({ ...rest, ...(port === undefined ? {} : { port }) })),
    endpoints: endpointsOn(id as ServiceId, network, seen).map((each) => endpointAnswer(name, each)),
    problems: waits.map((wait) => explainServiceWait(wait, names)),
  }))
}
