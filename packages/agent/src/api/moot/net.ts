import type { NetworkSpec, NodeId, Resource, ResourceId, ServiceId } from '@moot/crdt-state'
import * as z from 'zod'
import type { ClusterFindings } from '../../cluster.ts'
import { explainPeerTrouble, explainSubnetWait, type ResourceNames } from '../../core/explain/network.ts'
import { blocksOf } from '../../core/network/blocks.ts'
import { blockRange } from '../../core/network/geometry.ts'
import { servicesByNetwork } from '../../core/network/inspection.ts'
import { formatRange } from '../../core/network/ipv4.ts'
import type { NetworkOutlook } from '../../core/network/network.ts'
import { compareText } from '../../core/placement/order.ts'
import { nodeDisplayName, type View } from '../../core/view.ts'
import { param } from '../call.ts'
import { nodeAddress } from '../docker/node-shape.ts'
import { networkBy } from '../networks.ts'
import { serviceSchema, servicesAnswer } from './net-services.ts'
import { operation, type Operation } from './operation.ts'

const dataPlaneSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('kernel'), version: z.string() }),
  z.object({
    kind: z.literal('none'),
    why: z.string().describe('What is missing, and what to do about it.'),
  }),
])

const tunnelSchema = z.object({
  kind: z.literal('vxlan'),
  device: z.string(),
  address: z.string().optional().describe("This node's own, on the way between hosts."),
  port: z.number().describe('UDP, on each host.'),
  mtuBytes: z.number(),
  encrypted: z.boolean(),
})

const peerSchema = z.object({
  id: z.string(),
  name: z.string(),
  address: z.string().describe('On the way between hosts; empty: none is known.'),
  liveness: z.string(),
  probe: z
    .enum(['answered', 'refused', 'silent'])
    .optional()
    .describe('What became of a question to its agent just now. Whoever is down is not asked.'),
  roundTripMs: z.number().optional(),
  inTunnel: z.boolean().describe("This node's kernel sends packets for it to that address."),
  problems: z.array(z.string()),
})

const countsSchema = z.record(z.string(), z.number()).describe('Questions by what became of them.')

const nameServerSchema = z.object({
  running: z.boolean().describe('It is started with the first network on which a service has a name.'),
  counts: countsSchema.optional(),
  why: z.string().optional().describe('Why it does not answer.'),
})

const networkSchema = z.object({
  id: z.string(),
  name: z.string(),
  driver: z.string(),
  subnet: z.string().optional(),
  internal: z.boolean().describe('No way out of it to the world.'),
  attachable: z.boolean(),
  ingress: z
    .boolean()
    .describe('Made for services that publish ports and are on no network that the world can reach.'),
  options: z.record(z.string(), z.string()),
  blocks: z.array(z.string()).describe("Ranges of addresses that are this node's."),
  bridge: z.object({ name: z.string(), address: z.string() }).optional().describe('On this node.'),
  services: z.number().optional().describe('None: networks reach over this host only.'),
  problems: z.array(z.string()),
})

export const netOperations: readonly Operation[] = [
  operation({
    method: 'GET',
    path: '/net',
    summary: 'The network as this node has it: tunnel, peers and how far they are, networks, name server',
    answer: z.object({
      node: z.object({ id: z.string(), name: z.string() }),
      dataPlane: dataPlaneSchema,
      tunnel: tunnelSchema.optional(),
      peers: z.array(peerSchema),
      nameServer: nameServerSchema,
      networks: z.array(networkSchema),
      problems: z.array(z.string()).describe("This node's own."),
    }),
    run: async ({ cluster }, { signal }) => {
      const found = await cluster.networkFindings(signal)
      const [view, outlook] = [cluster.view(), cluster.networks()]
      const { self } = view
      const counts = outlook && servicesByNetwork(outlook.services)
      return {
        node: { id: self, name: nodeDisplayName(view, self) },
        dataPlane: found.ability,
        ...tunnelAnswer(found, outlook),
        peers: [...view.nodes.keys()]
          .filter((node) => node !== self)
          .map((node) => peerAnswer(node, view, found, outlook, cluster.liveness().get(node)?.kind))
          .toSorted((a, b) => compareText(a.name, b.name)),
        nameServer: nameServerAnswer(found),
        networks: [...view.networks.values()]
          .toSorted((a, b) => compareText(a.name, b.name))
          .map((network) => networkAnswer(network, view, outlook, counts)),
        problems: ownProblems(view, found, outlook),
      }
    },
  }),
  operation({
    method: 'GET',
    path: '/net/:ref',
    summary:
      'One network, by name or id: its services, their virtual IPs and ports, and who answers for them',
    answer: z.object({ network: networkSchema, services: z.array(serviceSchema) }),
    run: (api, call) => {
      const { cluster } = api
      const [view, outlook] = [cluster.view(), cluster.networks()]
      const network = networkBy([...view.networks.values()], param(call, 'ref'))
      return {
        network: networkAnswer(network, view, outlook, outlook && servicesByNetwork(outlook.services)),
        services: outlook === undefined ? [] : servicesAnswer(api, network.id, outlook, namesIn(view)),
      }
    },
  }),
]

function namesIn(view: View): ResourceNames {
  return (id: ResourceId) => view.networks.get(id)?.name ?? view.services.get(id as ServiceId)?.name ?? id
}

function tunnelAnswer(
  { tunnel }: ClusterFindings,
  outlook: NetworkOutlook | undefined,
): { tunnel?: z.input<typeof tunnelSchema> } {
  if (tunnel.kind !== 'found') return {}
  const { peers: _, ...rest } = tunnel.value
  const address = outlook?.plane?.self.underlay
  return { tunnel: { ...rest, ...(address === undefined ? {} : { address }), encrypted: false } }
}

function peerAnswer(
  id: NodeId,
  view: View,
  { probes, tunnel }: ClusterFindings,
  outlook: NetworkOutlook | undefined,
  liveness = 'unknown',
): z.input<typeof peerSchema> {
  const peer = outlook?.plane?.peers.find(({ node }) => node === id)
  const settings = view.nodes.get(id)
  const probe = probes.get(id)
  const inside = tunnel.kind === 'found' ? tunnel.value.peers : []
  return {
    id,
    name: nodeDisplayName(view, id),
    address: peer?.underlay ?? (settings === undefined ? '' : nodeAddress(settings, view.records.get(id))),
    liveness,
    ...(probe === undefined ? {} : { probe: probe.kind }),
    ...(probe?.kind === 'answered' ? { roundTripMs: probe.roundTripMs } : {}),
    inTunnel: inside.some(({ mac, underlay }) => mac === peer?.mac && underlay === peer.underlay),
    problems: troublesOf(id, view, outlook),
  }
}

function troublesOf(id: NodeId, view: View, outlook: NetworkOutlook | undefined): string[] {
  const troubles = outlook?.waits.peers.filter(({ node }) => node === id) ?? []
  return troubles.map((each) =>
    explainPeerTrouble(each, (node) => nodeDisplayName(view, node), namesIn(view)),
  )
}

function nameServerAnswer({ nameServer }: ClusterFindings): z.input<typeof nameServerSchema> {
  if (nameServer.kind === 'found') return { running: true, counts: { ...nameServer.value } }
  return { running: false, ...(nameServer.kind === 'failed' ? { why: nameServer.why } : {}) }
}

function networkAnswer(
  { id, name, spec }: Resource<NetworkSpec>,
  view: View,
  outlook: NetworkOutlook | undefined,
  services: ReturnType<typeof servicesByNetwork> | undefined,
): z.input<typeof networkSchema> {
  const standing = outlook?.subnets.get(id)
  const table = outlook?.blocks.get(id)
  const bridge = outlook?.plane?.networks.find((network) => network.id === id)?.bridge
  const wait = outlook?.waits.networks.get(id)
  return {
    id,
    name,
    driver: spec.Driver,
    ...(standing?.kind === 'has' ? { subnet: standing.cidr } : {}),
    internal: spec.Internal,
    attachable: spec.Attachable,
    ingress: spec.Ingress,
    options: spec.Options,
    blocks:
      table === undefined
        ? []
        : blocksOf(table, view.self).map((block) => formatRange(blockRange(table.geometry, block))),
    ...(bridge === undefined ? {} : { bridge }),
    ...(services === undefined ? {} : { services: services.get(id) ?? 0 }),
    problems: [
      ...(outlook === undefined ? ['it reaches over this host only ("moot net" says why)'] : []),
      ...(wait === undefined ? [] : [explainSubnetWait(wait, namesIn(view))]),
    ],
  }
}

function ownProblems(
  view: View,
  { failure, tunnel }: ClusterFindings,
  outlook: NetworkOutlook | undefined,
): string[] {
  return [
    ...(outlook !== undefined && outlook.plane === undefined
      ? ['this node has no IPv4 address that others know it by: its tasks are on no network of the cluster']
      : []),
    ...(failure === undefined ? [] : [`what follows from the cluster could not be applied here: ${failure}`]),
    ...(tunnel.kind === 'failed' ? [`the tunnel could not be looked at: ${tunnel.why}`] : []),
    ...troublesOf(view.self, view, outlook),
  ]
}
