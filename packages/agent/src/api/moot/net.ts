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
import type { Encryption, NetworkAbility } from '../../networks.ts'
import { param } from '../call.ts'
import { nodeAddress } from '../docker/node-shape.ts'
import { networkBy } from '../networks.ts'
import { serviceSchema, servicesAnswer } from './net-services.ts'
import { abilityAnswer, abilitySchema, wireGuardAnswer, wireGuardSchema } from './network-ability.ts'
import { operation, type Operation } from './operation.ts'

const tunnelSchema = z.object({
  kind: z.literal('vxlan'),
  device: z.string(),
  address: z.string().optional().describe("This node's own, on the way between hosts."),
  port: z.number().describe('UDP, on each host.'),
  mtuBytes: z.number(),
  encryption: wireGuardSchema.optional(),
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
  packets: z
    .enum(['sealed', 'open'])
    .optional()
    .describe('Whether they are encrypted, to it and from it. None: nothing is to go there.'),
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
  services: z.number().optional().describe('None: this node has no part in networks.'),
  problems: z.array(z.string()),
})

export const netOperations: readonly Operation[] = [
  operation({
    method: 'GET',
    path: '/net',
    summary: 'The network as this node has it: tunnel, peers and how far they are, networks, name server',
    answer: z.object({
      node: z.object({ id: z.string(), name: z.string() }),
      dataPlane: abilitySchema,
      tunnel: tunnelSchema.optional(),
      peers: z.array(peerSchema),
      nameServer: nameServerSchema,
      networks: z.array(networkSchema),
      problems: z.array(z.string()).describe("This node's own."),
    }),
    run: async ({ cluster }, { signal }) => {
      const found = await cluster.networkFindings(signal)
      const { ability } = found
      const seen: Seen = { view: cluster.view(), outlook: cluster.networks(), ability }
      const [encryption, liveness] = [cluster.encryption(), cluster.liveness()]
      const { view, outlook } = seen
      const { self } = view
      const counts = outlook && servicesByNetwork(outlook.services)
      return {
        node: { id: self, name: nodeDisplayName(view, self) },
        dataPlane: abilityAnswer(ability),
        ...tunnelAnswer(found, outlook, encryption),
        peers: [...view.nodes.keys()]
          .filter((node) => node !== self)
          .map((node) => ({
            ...peerAnswer(node, seen, found, liveness.get(node)?.kind),
            ...packetsTo(node, encryption),
          }))
          .toSorted((a, b) => compareText(a.name, b.name)),
        nameServer: nameServerAnswer(found),
        networks: [...view.networks.values()]
          .toSorted((a, b) => compareText(a.name, b.name))
          .map((network) => networkAnswer(network, seen, counts)),
        problems: ownProblems(seen, found),
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
      const ability = cluster.network().ability()
      const seen: Seen = { view: cluster.view(), outlook: cluster.networks(), ability }
      const { view, outlook } = seen
      const network = networkBy([...view.networks.values()], param(call, 'ref'))
      return {
        network: networkAnswer(network, seen, outlook && servicesByNetwork(outlook.services)),
        services: outlook === undefined ? [] : servicesAnswer(api, network.id, outlook, namesIn(view)),
      }
    },
  }),
]

/** What a node goes by. */
interface Seen {
  readonly view: View
  readonly outlook: NetworkOutlook | undefined
  readonly ability: NetworkAbility
}

function namesIn(view: View): ResourceNames {
  return (id: ResourceId) => view.networks.get(id)?.name ?? view.services.get(id as ServiceId)?.name ?? id
}

function tunnelAnswer(
  { tunnel }: ClusterFindings,
  outlook: NetworkOutlook | undefined,
  encryption: Encryption | undefined,
): { tunnel?: z.input<typeof tunnelSchema> } {
  if (tunnel.kind !== 'found') return {}
  const { peers: _, ...rest } = tunnel.value
  const address = outlook?.plane?.self.underlay
  return {
    tunnel: {
      ...rest,
      ...(address === undefined ? {} : { address }),
      ...(encryption === undefined ? {} : { encryption: wireGuardAnswer(encryption.wireGuard) }),
    },
  }
}

function packetsTo(
  node: NodeId,
  encryption: Encryption | undefined,
): Pick<z.input<typeof peerSchema>, 'packets'> {
  if (encryption?.sealed.includes(node) === true) return { packets: 'sealed' }
  return encryption?.open.includes(node) === true ? { packets: 'open' } : {}
}

function peerAnswer(
  id: NodeId,
  { view, outlook }: Seen,
  { probes, tunnel }: ClusterFindings,
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
  { view, outlook, ability }: Seen,
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
      ...(ability.kind !== 'kernel' ? ['it reaches over this host only ("moot net" says why)'] : []),
      ...(wait === undefined ? [] : [explainSubnetWait(wait, namesIn(view))]),
    ],
  }
}

function ownProblems({ view, outlook, ability }: Seen, { failure, tunnel }: ClusterFindings): string[] {
  return [
    ...(ability.kind === 'kernel' && outlook?.plane === undefined
      ? ['this node has no IPv4 address that others know it by: its tasks are on no network of the cluster']
      : []),
    ...(failure === undefined ? [] : [`what follows from the cluster could not be applied here: ${failure}`]),
    ...(tunnel.kind === 'failed' ? [`the tunnel could not be looked at: ${tunnel.why}`] : []),
    ...troublesOf(view.self, view, outlook),
  ]
}
