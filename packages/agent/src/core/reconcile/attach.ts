import { type BlockClaims, isTerminal, type ResourceId, type TaskEntry } from '@moot/crdt-state'
import { explainBlockWait, explainSubnetWait } from '../explain/network.ts'
import { allocateAddress, bridgeAddress, type OwnBlocks } from '../network/allocate.ts'
import { attachmentsOf } from '../network/attachments.ts'
import { blocksOf, type BlockTable, lostBlocks, nextBlock, nextClaims } from '../network/blocks.ts'
import { givenAddress } from '../network/endpoints.ts'
import { blockOf } from '../network/geometry.ts'
import { formatAddress } from '../network/ipv4.ts'
import { bridgeName } from '../network/node-plane.ts'
import type { HasSubnet } from '../network/subnets.ts'
import type { Overlay, TaskSetup } from './actions.ts'
import { changeTask, putBlocks, type Draft } from './draft.ts'

type Attached =
  { readonly kind: 'attached'; readonly setup: TaskSetup } | { readonly kind: 'waits'; readonly why: string }

/**
 * Gives a task its addresses on networks that reach over hosts, out of blocks that this node has claimed; claims another where
 * none is free. Both stand in the record before there is a container with the address, and before the settle time of a claim is over
 * nothing is started, so that of two nodes which claimed one block at once the second has heard of it.
 */
export function attach(draft: Draft, task: TaskEntry, setup: TaskSetup): Attached {
  const { networks: outlook, view } = draft.input
  if (outlook === undefined) return { kind: 'attached', setup }
  const nameOf = (id: ResourceId): string => view.networks.get(id)?.name ?? id
  const overlays: Overlay[] = []
  const given: NonNullable<TaskEntry['addresses']>[number][] = []
  const { networks: attached, waits } = attachmentsOf(setup.spec, view.networks)
  if (waits.length > 0) return { kind: 'waits', why: 'waiting for its networks' }
  for (const { network: id } of attached) {
    const network = view.networks.get(id)
    if (network === undefined || network.spec.Driver !== 'overlay') continue
    const standing = outlook.subnets.get(id)
    const table = outlook.blocks.get(id)
    if (standing?.kind !== 'has' || table === undefined) {
      const wait = outlook.waits.networks.get(id) ?? { kind: 'not-drawn' }
      return { kind: 'waits', why: `network ${network.name}: ${explainSubnetWait(wait, nameOf)}` }
    }
    const own = ownBlocks(draft, standing, table)
    const address = addressFor(draft, task, id, own)
    const gateway = bridgeAddress(own)
    if (address === undefined || gateway === undefined) {
      const why = claimBlock(draft, table, nameOf)
      if (why !== undefined) return { kind: 'waits', why }
      return attach(draft, task, setup)
    }
    const [, bits] = standing.cidr.split('/')
    given.push({ network: network.name, id, address: `${formatAddress(address)}/${bits}` })
    overlays.push({
      network,
      bridge: bridgeName(id),
      subnet: standing.cidr,
      gateway: formatAddress(gateway),
      address: formatAddress(address),
    })
  }
  if (overlays.length === 0) return { kind: 'attached', setup }
  const named = changeTask(draft, task, { addresses: given })
  return { kind: 'attached', setup: { ...setup, task: named, overlays } }
}

/** What an engine tells of a container, with the networks' ids of what was given to it. */
export function addressesOf(
  task: TaskEntry,
  told: NonNullable<TaskEntry['addresses']>,
): NonNullable<TaskEntry['addresses']> {
  const given = (task.addresses ?? []).filter(({ id }) => id !== undefined)
  return [...given, ...told.filter(({ address }) => !given.some((each) => each.address === address))]
}

/** Claims of networks that are gone, and of blocks that another node keeps, end. */
export function tidyBlocks(draft: Draft): void {
  const { networks: outlook, synced, view } = draft.input
  if (outlook === undefined || !synced) return
  for (const [id, claim] of draft.own.blocks) {
    const table = outlook.blocks.get(id)
    if (!view.networks.has(id)) putBlocks(draft, id, undefined)
    else if (table !== undefined && lostBlocks(table, view.self, claim).length > 0)
      putBlocks(draft, id, nextClaims(table, view.self))
  }
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
  const inUse = new Set<number>()
  let latest: { readonly address: number; readonly atMs: number } | undefined
  for (const other of draft.tasks.values()) {
    const address = givenAddress(other, network)
    if (address === undefined || other.id === task.id) continue
    if (!isTerminal(other.state)) inUse.add(address)
    if (latest === undefined || other.createdAtMs > latest.atMs) latest = { address, atMs: other.createdAtMs }
  }
  const has = givenAddress(task, network)
  const isOwn =
    has !== undefined && own.blocks.includes(blockOf(own.geometry, has) ?? -1) && has !== bridgeAddress(own)
  return isOwn && !inUse.has(has) ? has : allocateAddress(own, inUse, latest?.address)
}

/** Undefined: claimed. */
function claimBlock(draft: Draft, table: BlockTable, nameOf: (id: ResourceId) => string): string | undefined {
  const { self } = draft.input.view
  const next = nextBlock(table, self)
  if (next.kind === 'waits') return explainBlockWait(next.wait, nameOf)
  const claims = nextClaims(table, self, next.block) as BlockClaims
  if (draft.blocks.get(table.network)?.blocks.includes(next.block) === true)
    return 'another block of addresses is being claimed'
  putBlocks(draft, table.network, claims)
  return undefined
}
