import {
  type BlockClaims,
  isTerminal,
  type NetworkSpec,
  type Resource,
  type ResourceId,
  type TaskEntry,
} from '@moot/crdt-state'
import { explainBlockWait, explainSubnetWait } from '../explain/network.ts'
import { allocateAddress, bridgeAddress, mayGive, type OwnBlocks } from '../network/allocate.ts'
import { attachmentsOf } from '../network/attachments.ts'
import { blocksOf, type BlockTable, lostBlocks, nextBlock, nextClaims } from '../network/blocks.ts'
import { givenAddress } from '../network/endpoints.ts'
import { formatAddress, parseAddress } from '../network/ipv4.ts'
import { bridgeName } from '../network/node-plane.ts'
import type { HasSubnet } from '../network/subnets.ts'
import type { Overlay, TaskSetup } from './actions.ts'
import { changeTask, putBlocks, type Draft } from './draft.ts'

interface Waits {
  readonly kind: 'waits'
  readonly why: string
}

type Attached = { readonly kind: 'attached'; readonly setup: TaskSetup } | Waits

/**
 * Gives a task its addresses on networks that reach over hosts, out of blocks that this node has claimed; claims another where
 * none is free. Both stand in the record before there is a container with the address, and before the settle time of a claim is over
 * nothing is started, so that of two nodes which claimed one block at once the second has heard of it.
 */
export function attach(draft: Draft, task: TaskEntry, setup: TaskSetup): Attached {
  const { networks: outlook, view } = draft.input
  if (outlook === undefined) return { kind: 'attached', setup }
  const overlays: Overlay[] = []
  const given: NonNullable<TaskEntry['addresses']>[number][] = []
  const { networks: attached, waits } = attachmentsOf(setup.spec, view.networks)
  if (waits.length > 0) return { kind: 'waits', why: 'waiting for its networks' }
  for (const { network: id } of attached) {
    const network = view.networks.get(id)
    if (network === undefined || network.spec.Driver !== 'overlay') continue
    const placed = placeOn(draft, network, (own) => addressFor(draft, task, id, own))
    if (placed.kind === 'waits') return placed
    const { overlay } = placed
    const [, bits] = overlay.subnet.split('/')
    given.push({ network: network.name, id, address: `${overlay.address}/${bits}` })
    overlays.push(overlay)
  }
  if (overlays.length === 0) return { kind: 'attached', setup }
  const named = changeTask(draft, task, { addresses: given })
  return { kind: 'attached', setup: { ...setup, task: named, overlays } }
}

/** What this node has of a network, as it will be; or why the network is of no use here. */
export function ownBlocksOn(
  draft: Draft,
  network: Resource<NetworkSpec>,
):
  | {
      readonly kind: 'has'
      readonly own: OwnBlocks
      readonly standing: HasSubnet
      readonly table: BlockTable
    }
  | Waits {
  const { networks: outlook } = draft.input
  const standing = outlook?.subnets.get(network.id)
  const table = outlook?.blocks.get(network.id)
  if (standing?.kind === 'has' && table !== undefined)
    return { kind: 'has', own: ownBlocks(draft, standing, table), standing, table }
  const wait = outlook?.waits.networks.get(network.id) ?? { kind: 'not-drawn' }
  return { kind: 'waits', why: `network ${network.name}: ${explainSubnetWait(wait, namesIn(draft))}` }
}

/** A container's place on a network: `choose` finds an address in what this node has of it, or another block is claimed. */
export function placeOn(
  draft: Draft,
  network: Resource<NetworkSpec>,
  choose: (own: OwnBlocks) => number | undefined,
): { readonly kind: 'placed'; readonly overlay: Overlay } | Waits {
  const has = ownBlocksOn(draft, network)
  if (has.kind === 'waits') return has
  const address = choose(has.own)
  const gateway = bridgeAddress(has.own)
  if (address === undefined || gateway === undefined) {
    const why = claimBlock(draft, has.table)
    return why === undefined ? placeOn(draft, network, choose) : { kind: 'waits', why }
  }
  const overlay = {
    network,
    bridge: bridgeName(network.id),
    subnet: has.standing.cidr,
    gateway: formatAddress(gateway),
    address: formatAddress(address),
  }
  return { kind: 'placed', overlay }
}

/**
 * Addresses of a network that no other container may get here, and the one that was given last. Also what somebody put there past
 * this agent: the engine would not start another with the same.
 */
export function addressesInUse(
  draft: Draft,
  network: ResourceId,
  except?: TaskEntry,
): { readonly inUse: ReadonlySet<number>; readonly latest: number | undefined } {
  const inUse = new Set<number>()
  let latest: { readonly address: number; readonly atMs: number } | undefined
  const given = (address: number | undefined, atMs: number, isOver: boolean): void => {
    if (address === undefined) return
    if (!isOver) inUse.add(address)
    if (latest === undefined || atMs > latest.atMs) latest = { address, atMs }
  }
  for (const other of draft.tasks.values()) {
    if (other.id !== except?.id)
      given(givenAddress(other, network), other.createdAtMs, isTerminal(other.state))
  }
  for (const guest of draft.guests.values()) {
    if (guest.network === network) given(parseAddress(guest.address), guest.createdAtMs, false)
  }
  for (const seen of draft.input.guests.seen ?? []) {
    const address = seen.network === network ? parseAddress(seen.address ?? '') : undefined
    if (address !== undefined) inUse.add(address)
  }
  return { inUse, latest: latest?.address }
}

/** Networks of which this node has lost the block that its bridge's own address is in: all that is on the bridge goes, since it has one address. */
export function renumberedNetworks({ input: { networks, view }, own }: Draft): ReadonlySet<ResourceId> {
  const found = new Set<ResourceId>()
  for (const [id, claim] of own.blocks) {
    const table = networks?.blocks.get(id)
    const [first] = claim.blocks
    if (table !== undefined && first !== undefined && lostBlocks(table, view.self, claim).includes(first))
      found.add(id)
  }
  return found
}

/** What an engine tells of a container, with the networks' ids of what was given to it. */
export function addressesOf(
  task: TaskEntry,
  told: NonNullable<TaskEntry['addresses']>,
): NonNullable<TaskEntry['addresses']> {
  const given = (task.addresses ?? []).filter(({ id }) => id !== undefined)
  return [...given, ...told.filter(({ address }) => !given.some((each) => each.address === address))]
}

function ownBlocks(draft: Draft, { geometry, cidr, reserved }: HasSubnet, table: BlockTable): OwnBlocks {
  const before = blocksOf(table, draft.input.view.self)
  const claim = draft.blocks.get(table.network)
  const known = new Set(draft.own.blocks.get(table.network)?.blocks)
  const added = claim?.subnet === cidr ? claim.blocks.filter((block) => !known.has(block)) : []
  return { geometry, blocks: [...new Set([...before, ...added])], reserved }
}

/** The one that it has, if that is still this node's to give; else a free one. */
function addressFor(draft: Draft, task: TaskEntry, network: ResourceId, own: OwnBlocks): number | undefined {
  const { inUse, latest } = addressesInUse(draft, network, task)
  const has = givenAddress(task, network)
  const isOwn = has !== undefined && mayGive(own, has)
  return isOwn && !inUse.has(has) ? has : allocateAddress(own, inUse, latest)
}

/** Undefined: claimed. */
function claimBlock(draft: Draft, table: BlockTable): string | undefined {
  const { self } = draft.input.view
  const next = nextBlock(table, self)
  if (next.kind === 'waits') return explainBlockWait(next.wait, namesIn(draft))
  const claims = nextClaims(table, self, next.block) as BlockClaims
  if (draft.blocks.get(table.network)?.blocks.includes(next.block) === true)
    return 'another block of addresses is being claimed'
  putBlocks(draft, table.network, claims)
  return undefined
}

function namesIn(draft: Draft): (id: ResourceId) => string {
  return (id) => draft.input.view.networks.get(id)?.name ?? id
}
