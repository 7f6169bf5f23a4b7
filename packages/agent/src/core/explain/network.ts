import type { ResourceId } from '@moot/crdt-state'
import { smallestSubnetBits } from '../network/geometry.ts'
import type { InspectedEndpoint, Unreachable } from '../network/inspection.ts'
import type { Absence, Doubt } from '../network/standing.ts'
import type { GuestRefusal } from '../reconcile/guests.ts'
import type { BlockWait, PeerTrouble, ServiceWait, SubnetWait } from '../network/waits.ts'
import type { NodeNames } from './explain.ts'

/** How people call a network or a service. */
export type ResourceNames = (id: ResourceId) => string

/** Why a network has no subnet: what stands in the way, and what to do about it. */
export function explainSubnetWait(wait: SubnetWait, names: ResourceNames): string {
  switch (wait.kind) {
    case 'not-drawn':
      return 'its subnet is about to be drawn'
    case 'drawn-taken':
      return `${wait.subnet}, which was drawn for it while two parts of the cluster did not see each other, overlaps with the subnet of network ${names(wait.by)}, which keeps it: another is about to be drawn, and its tasks are replaced`
    case 'given-taken':
      return `subnet ${wait.subnet} overlaps with that of network ${names(wait.by)}, which comes first: create one of the two again with another --subnet`
    case 'too-small':
      return `subnet ${wait.subnet} is too small: a quarter of it is for virtual IPs and the rest for blocks of 4 addresses, one or more for each node, so it takes a /${smallestSubnetBits} (three nodes) or a larger one`
    case 'not-for-hosts':
      return `subnet ${wait.subnet} is not for hosts (${wait.what}): choose another, for example out of 10.0.0.0/8`
    case 'pool-full':
      return `no /${wait.bits} is free in ${wait.pool.join(', ')} that contains no member's address: remove a network, or create this one with --subnet`
  }
}

/** Why a node has no address for another container of a network. */
export function explainBlockWait(wait: BlockWait, names: ResourceNames): string {
  switch (wait.kind) {
    case 'no-subnet':
      return `network ${names(wait.network)} has no subnet yet`
    case 'no-block-free':
      return `all ${wait.blocks} blocks of network ${names(wait.network)} (${wait.subnet}) are taken by ${wait.nodes === 1 ? 'one node' : `${wait.nodes} nodes`}: the network needs a larger subnet, or fewer tasks`
  }
}

/** Why a person's container does not get the address that was asked for. */
export function explainGuestRefusal(refusal: GuestRefusal): string {
  switch (refusal.kind) {
    case 'not-ours': {
      const { address, blocks } = refusal
      const own =
        blocks.length === 0
          ? 'it has claimed none of this network yet'
          : `${blocks.join(', ')}, without its own address`
      return `invalid address ${address}: this node gives addresses out of its own blocks of the network only (${own}): choose another, or leave --ip out`
    }
    case 'taken':
      return `address ${refusal.address} is in use on this node: choose another, or leave --ip out`
    case 'too-many':
      return `this node has ${refusal.max} attached containers already, the most: remove or disconnect one first`
  }
}

/** Why a service does not answer somewhere. */
export function explainServiceWait(wait: ServiceWait, names: ResourceNames): string {
  switch (wait.kind) {
    case 'no-network':
      return `network ${wait.target} is not known here (yet)`
    case 'no-ingress':
      return 'it publishes ports and is on no network that the world can reach: the network ingress is about to be made'
    case 'no-subnet':
      return `network ${names(wait.network)} has no subnet yet`
    case 'vip-not-drawn':
      return `its virtual IP on network ${names(wait.network)} is about to be drawn; until then its name means its tasks`
    case 'vip-taken':
      return `virtual IP ${wait.address} on network ${names(wait.network)} is also that of service ${names(wait.by)}, which keeps it: another is about to be drawn`
    case 'vips-full':
      return `no virtual IP is free on network ${names(wait.network)} (${wait.virtual}): its name means its tasks, as with --endpoint-mode dnsrr; use a network with a larger subnet`
    case 'port-taken':
      return `port ${wait.port} is already published by service ${names(wait.by)}${wait.mode === 'host' ? ' in host mode' : ''}, which comes first: publish one of the two on another port`
    case 'port-not-drawn':
      return `the port on which every node answers for ${wait.port} is about to be drawn`
    case 'ports-full':
      return `no port between ${wait.first} and ${wait.last} is free: say on which one to publish it`
  }
}

/** Why a member, or what runs on it, is not reached over the cluster's networks. */
export function explainPeerTrouble(trouble: PeerTrouble, nodes: NodeNames, names: ResourceNames): string {
  const node = nodes(trouble.node)
  switch (trouble.kind) {
    case 'no-underlay':
      return `${node}: no IPv4 address of it is known (yet), so that nothing is sent there over networks of the cluster`
    case 'no-mark':
      return `${node}: networks reach 4,095 other nodes and no more`
    case 'inside-subnet':
      return `${node}: its address ${trouble.address} lies in the subnet ${trouble.subnet} of network ${names(trouble.network)}, so that nodes with tasks on that network do not reach it: move the node, or create the network again with another --subnet`
  }
}

/** Why a task is not sent what is meant for its service, or only where nobody else answers. Undefined: it is. */
export function explainEndpoint({ task, standing }: InspectedEndpoint): string | undefined {
  switch (standing.kind) {
    case 'first':
      return undefined
    case 'unready':
      return standing.why
    case 'second':
      return explainDoubt[standing.why]
    case 'out':
      return standing.why === 'not-running'
        ? `it does not run yet (${task.state})`
        : explainAbsence[standing.why]
  }
}

const explainDoubt: Readonly<Record<Doubt, string>> = {
  'node-in-doubt': 'some nodes cannot reach its node',
  'agent-down': "its node's agent does not answer; the host does",
  'not-seen-yet': "its node's agent has started anew, and has not seen it yet",
}

const explainAbsence: Readonly<Record<Exclude<Absence, 'not-running'> | Unreachable, string>> = {
  'not-wanted': 'it is to stop',
  'node-down': 'its node does not answer',
  'node-unknown': 'its node has not been heard of here',
  'no-address': 'it has no address on this network',
  'lost-address': "its address is not its node's any more: it is about to be replaced",
}
