import {
  addressFact,
  type Drawn,
  type NodeId,
  type ResourceId,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
  type WireGuardEnd,
} from '@moot/crdt-state'
import type { LivenessMap } from '../membership/liveness.ts'
import { isStewardOf } from '../steward.ts'
import type { View } from '../view.ts'
import { type AttachedServices, Attaching } from './attached-services.ts'
import { attachmentsOf } from './attachments.ts'
import { BlockTables } from './block-tables.ts'
import type { BlockTable } from './blocks.ts'
import { clientsOf } from './clients.ts'
import { Endpoints, type ServiceEndpoints } from './endpoints.ts'
import { Fronts } from './fronts.ts'
import { type Guests, guestsOf } from './guests.ts'
import { MemberStatuses } from './members.ts'
import type { KernelReach } from './node-plane.ts'
import type { NameTable } from './name-table.ts'
import { NameTables } from './name-tables.ts'
import { PlaneNetworks } from './plane-networks.ts'
import {
  memberHosts,
  membersInside,
  type PeerMarks,
  peerMarks,
  type Peers,
  peersOf,
  ownEnd,
} from './peers.ts'
import type { Cidr, Forward, Plane } from './plane.ts'
import { type PublishedPorts, publishedPorts } from './published-ports.ts'
import { keepSame, remember, sameJson, sameMap, sameSet } from './remember.ts'
import { withoutFormerSelves } from './seals.ts'
import { drawSubnets, poolOf, type Subnets, type SubnetStanding, subnetsOf } from './subnets.ts'
import { type VirtualIps, virtualIpsOf } from './virtual-ips.ts'
import type { PeerTrouble, ServiceWait, SubnetWait } from './waits.ts'

export interface NetworkInput {
  readonly view: View
  readonly liveness: LivenessMap
  /** What connections of this host are marked with already, also by the agent before this one. */
  readonly marks: PeerMarks
  readonly reach: KernelReach
  /** This node's own end; absent where it has none. */
  readonly wireGuard?: WireGuardEnd | undefined
}

/** What follows from a view for the cluster's networks. Parts of which nothing changed are the same values (`===`) as before. */
export interface NetworkOutlook {
  readonly subnets: Subnets
  readonly blocks: ReadonlyMap<ResourceId, BlockTable>
  readonly services: AttachedServices
  readonly virtualIps: VirtualIps['held']
  readonly ports: PublishedPorts['held']
  readonly endpoints: ReadonlyMap<ServiceId, ServiceEndpoints>
  readonly guests: Guests
  /** Undefined: its kernel balances nothing, or this node has no IPv4 address that others know it by, so that nothing can be led to it. */
  readonly plane: Plane | undefined
  /** What this node's kernel does not balance, and its forwarder has to pass on. */
  readonly forwards: readonly Forward[]
  readonly marks: PeerMarks
  /** What this node is to write beside specs, as their steward. */
  readonly facts: ReadonlyMap<ResourceId, ReadonlyMap<string, unknown>>
  readonly waits: Waits
}

export interface Waits {
  readonly networks: ReadonlyMap<ResourceId, SubnetWait>
  readonly services: ReadonlyMap<ServiceId, readonly ServiceWait[]>
  readonly peers: readonly PeerTrouble[]
}

/** Of one node; it remembers between calls what did not change, as the placer does. */
export interface Network {
  update(input: NetworkInput): NetworkOutlook
  /**
   * Of the last update. Apart from it, because the names of a network in which one changed are copied: 6 ms for 20,000 of them.
   *
   * @param specOf the spec that a task of this node runs, which need not be its service's newest.
   */
  nameTable(specOf: (task: TaskEntry) => ServiceSpec | undefined): NameTable
}

type Draws = ReadonlyMap<ResourceId, ReadonlyMap<string, unknown>>

export function createNetwork(): Network {
  const memory = createMemory()
  const names = new NameTables()
  let last: { readonly view: View; readonly outlook: NetworkOutlook } | undefined
  return {
    update(input) {
      const outlook = outlookOf(memory, input)
      last = { view: input.view, outlook }
      return outlook
    },
    nameTable(specOf) {
      if (last === undefined) return { networks: [], clients: [] }
      const { view, outlook } = last
      const clients = clientsOf(
        view.records.get(view.self),
        (spec) => attachmentsOf(spec, view.networks),
        specOf,
      )
      return { networks: names.update(view.self, outlook, outlook.subnets, view.networks), clients }
    },
  }
}

function outlookOf(
  memory: Memory,
  { view, liveness, marks: earlier, reach, wireGuard }: NetworkInput,
): NetworkOutlook {
  const { self, nodes, networks } = view
  const members = memory.members.update(view)
  const hosts = memory.hosts(members)
  const subnets = memory.subnets(networks)
  const drawn = memory.drawnSubnets(networks, subnets, view.cluster, hosts)
  const services = memory.attaching.update(view)
  const blocks = memory.blocks.update(view, liveness, subnets)
  const virtualIps = memory.virtualIps(services, subnets)
  const ports = memory.ports(view.services)
  const endpoints = memory.endpoints.update({ view, liveness, services, tables: blocks })
  const marks = memory.marks(self, nodes, earlier)
  const peers = memory.heirs(memory.peers(self, members, marks, wireGuard), liveness)
  const fronted = memory.fronts.update({
    self,
    reach,
    services,
    virtualIps: virtualIps.held,
    ports: ports.held,
    endpoints,
  })
  const planeNetworks = memory.planeNetworks.update(self, networks, { subnets, blocks, peers })
  const draws = memory.draws(drawn.draws, virtualIps.draws, ports.draws)
  return {
    subnets,
    blocks,
    services,
    virtualIps: virtualIps.held,
    ports: ports.held,
    endpoints,
    guests: memory.guests(nodes, view.records, liveness, blocks),
    plane: memory.plane(
      memory.self(self, members, wireGuard),
      reach,
      planeNetworks,
      peers,
      fronted.frontends,
    ),
    forwards: fronted.forwards,
    marks,
    facts: memory.facts(draws, self, nodes, liveness),
    waits: {
      networks: memory.subnetWaits(subnets, drawn.waits),
      services: memory.serviceWaits(services, virtualIps.waits, ports.waits),
      peers: memory.peerTroubles(peers, memory.inside(members, subnets)),
    },
  }
}

type Memory = ReturnType<typeof createMemory>

/** Each step works anew only with inputs that changed. */
function createMemory() {
  let subnets: Subnets = new Map()
  let heldIps: VirtualIps['held'] = new Map()
  let heldPorts: PublishedPorts['held'] = new Map()
  let marks: PeerMarks = new Map()
  let peers: Peers = { peers: [], troubles: [] }
  let heirs = peers
  let self: Plane['self'] | undefined
  let guests: Guests = new Map()
  return {
    members: new MemberStatuses(),
    attaching: new Attaching(),
    blocks: new BlockTables(),
    endpoints: new Endpoints(),
    fronts: new Fronts(),
    hosts: remember(memberHosts),
    subnets: remember((networks: View['networks']) => {
      return (subnets = keepSame(subnets, subnetsOf(networks), sameStanding))
    }),
    drawnSubnets: remember(
      (networks: View['networks'], standings: Subnets, cluster: View['cluster'], hosts: readonly number[]) =>
        drawSubnets(networks, standings, poolOf(cluster?.spec), hosts),
    ),
    virtualIps: remember((services: AttachedServices, standings: Subnets) => {
      const all = virtualIpsOf([...services.values()], standings)
      heldIps = keepSame(heldIps, all.held, sameMap)
      return { held: heldIps, draws: all.draws, waits: all.waits }
    }),
    ports: remember((services: View['services']) => {
      const all = publishedPorts(services)
      heldPorts = keepSame(heldPorts, all.held, sameJson)
      return { ...all, held: heldPorts }
    }),
    guests: remember((...from: Parameters<typeof guestsOf>) => {
      return (guests = keepSame(guests, guestsOf(...from), sameJson))
    }),
    marks: remember((self: NodeId, nodes: View['nodes'], earlier: PeerMarks) => {
      const others = [...nodes.keys()].filter((node) => node !== self)
      return (marks = keepSame(marks, peerMarks(others, earlier), Object.is))
    }),
    // What else members say of themselves, such as their volumes, changes nothing here.
    peers: remember((...from: Parameters<typeof peersOf>) => {
      const now = peersOf(...from)
      return sameJson(peers, now) ? peers : (peers = now)
    }),
    heirs: remember((all: Peers, liveness: LivenessMap): Peers => {
      const now = withoutFormerSelves(all.peers, liveness)
      if (now === all.peers) return all
      const next = { ...all, peers: now }
      return sameJson(heirs, next) ? heirs : (heirs = next)
    }),
    inside: remember(membersInside),
    planeNetworks: new PlaneNetworks(),
    self: remember((...from: Parameters<typeof ownEnd>) => {
      const now = ownEnd(...from)
      return sameJson(self, now) ? self : (self = now)
    }),
    plane: remember(
      (
        self: Plane['self'] | undefined,
        reach: KernelReach,
        networks: Plane['networks'],
        { peers }: Peers,
        frontends: Plane['frontends'],
      ): Plane | undefined =>
        reach === 'nowhere' ? undefined : self && { self, networks, peers, frontends },
    ),
    draws: remember(drawsOf),
    facts: remember(factsOf),
    subnetWaits: remember(subnetWaitsOf),
    serviceWaits: remember(serviceWaitsOf),
    peerTroubles: remember((peers: Peers, inside: readonly PeerTrouble[]) => [...peers.troubles, ...inside]),
  }
}

function sameStanding(a: SubnetStanding, b: SubnetStanding): boolean {
  if (a.kind === 'waits' || b.kind === 'waits') return sameJson(a, b)
  return a.cidr === b.cidr && sameSet(a.reserved, b.reserved)
}

function drawsOf(
  subnets: ReadonlyMap<ResourceId, Drawn<Cidr>>,
  virtualIps: VirtualIps['draws'],
  ports: PublishedPorts['draws'],
): Draws {
  const draws = new Map<ResourceId, Map<string, unknown>>()
  const add = (resource: ResourceId, [key, value]: readonly [string, unknown]): void => {
    const others = draws.get(resource)
    if (others === undefined) draws.set(resource, new Map([[key, value]]))
    else others.set(key, value)
  }
  for (const [network, drawn] of subnets) add(network, addressFact.subnet(drawn))
  for (const [service, all] of virtualIps) {
    for (const [network, drawn] of all) add(service, addressFact.virtualIp(network, drawn))
  }
  for (const [service, all] of ports) {
    for (const [port, drawn] of all) add(service, addressFact.port(port, drawn))
  }
  return draws
}

function factsOf(draws: Draws, self: NodeId, nodes: View['nodes'], liveness: LivenessMap): Draws {
  if (draws.size === 0) return draws
  return new Map([...draws].filter(([id]) => isStewardOf(id, self, nodes.keys(), liveness)))
}

function subnetWaitsOf(subnets: Subnets, drawn: ReadonlyMap<ResourceId, SubnetWait>): Waits['networks'] {
  const waits = new Map<ResourceId, SubnetWait>()
  for (const [id, standing] of subnets) {
    if (standing.kind === 'waits') waits.set(id, drawn.get(id) ?? standing.wait)
  }
  return waits
}

function serviceWaitsOf(
  services: AttachedServices,
  virtualIps: VirtualIps['waits'],
  ports: PublishedPorts['waits'],
): Waits['services'] {
  const waits = new Map<ServiceId, readonly ServiceWait[]>()
  for (const [id, { attachments }] of services) {
    const all = [...attachments.waits, ...(virtualIps.get(id) ?? []), ...(ports.get(id) ?? [])]
    if (all.length > 0) waits.set(id, all)
  }
  return waits
}
