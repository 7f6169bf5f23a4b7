import { isClaim, isTerminal, type ResourceId } from '@moot/crdt-state'
import { emptyBlocks, type OwnBlocks } from '../network/allocate.ts'
import type { BlockTable } from '../network/blocks.ts'
import { givenAddress } from '../network/endpoints.ts'
import { blockOf } from '../network/geometry.ts'
import { formatRange, parseAddress } from '../network/ipv4.ts'
import type { NetworkOutlook } from '../network/network.ts'
import { addressesInUse, ownBlocksOn } from './attach.ts'
import { isDue, isUp, putBlocks, sameJson, type Draft } from './draft.ts'

/** Since when nobody has had an address in a block of this node's, ms on its clock. By network, then by block. */
export type IdleBlocks = ReadonlyMap<ResourceId, ReadonlyMap<number, number>>

/**
 * Claims of networks that are gone end once nobody here has an address there, of blocks that another node keeps, and of those in
 * which nobody has had an address for a while: an update may empty one and fill it again. Which are idle is kept in `draft.idleBlocks` for the next call.
 */
export function tidyBlocks(draft: Draft): void {
  const { networks: outlook, synced, view } = draft.input
  if (outlook === undefined || !synced) return
  for (const [id, claim] of draft.blocks) {
    const network = view.networks.get(id)
    if (network === undefined) {
      // Its document may only be lost here, and what runs has its addresses still.
      if (addressesInUse(draft, id).inUse.size === 0) putBlocks(draft, id, undefined)
      continue
    }
    const has = ownBlocksOn(draft, network)
    if (has.kind === 'waits') continue
    const idle = idleIn(draft, id, has.own)
    const given = new Set(
      [...idle].filter(([, sinceMs]) => isIdleLong(draft, sinceMs)).map(([block]) => block),
    )
    const blocks = has.own.blocks.filter((block) => !given.has(block))
    const left = [...idle].filter(([block]) => !given.has(block))
    if (left.length > 0) draft.idleBlocks.set(id, new Map(left))
    const claims = blocks.length === 0 ? undefined : { network: id, subnet: has.standing.cidr, blocks }
    if (!sameJson(claim, claims)) putBlocks(draft, id, claims)
  }
}

/**
 * A disk may have lost this node's claim on a network. The block in which its tasks have their addresses is claimed again where nobody has it by
 * now. Not where they are in several: which of them the bridge's own address is in, the claim said.
 *
 * @returns the networks of which that is so.
 */
export function reclaimBlocks(draft: Draft, tables: NetworkOutlook['blocks']): ReadonlySet<ResourceId> {
  const used = new Map<BlockTable, Set<number>>()
  for (const task of draft.own.tasks.values()) {
    if (!isClaim(task)) continue
    for (const { id } of task.addresses ?? []) {
      const table = id === undefined || draft.own.blocks.has(id) ? undefined : tables.get(id)
      const address = table === undefined ? undefined : givenAddress(task, table.network)
      if (table === undefined || address === undefined) continue
      const block = blockOf(table.geometry, address)
      if (block !== undefined) used.set(table, (used.get(table) ?? new Set()).add(block))
    }
  }
  const claimed = new Set<ResourceId>()
  for (const [{ network, geometry, owners }, [block, ...others]] of used) {
    if (block === undefined || others.length > 0 || owners.has(block)) continue
    putBlocks(draft, network, { network, subnet: formatRange(geometry.subnet), blocks: [block] })
    claimed.add(network)
  }
  return claimed
}

function isIdleLong(draft: Draft, sinceMs: number): boolean {
  return isDue(draft, sinceMs, draft.input.settings.blockIdleMs)
}

/** Nothing is idle while nobody knows which other containers are there. */
function idleIn(draft: Draft, id: ResourceId, own: OwnBlocks): ReadonlyMap<number, number> {
  const { guests, idleBlocks, nowMs } = draft.input
  if (guests.seen === undefined || own.blocks.length < 2) return new Map()
  const { inUse } = addressesInUse(draft, id)
  const known = idleBlocks.get(id)
  const empty = emptyBlocks(own, [...inUse, ...addressesLeft(draft)])
  return new Map(empty.map((block) => [block, known?.get(block) ?? nowMs]))
}

/** Of containers that are up although their task is over, or is not known (any more). */
function addressesLeft(draft: Draft): readonly number[] {
  const left: number[] = []
  for (const [id, containers] of draft.input.containers) {
    const task = draft.tasks.get(id)
    if (task !== undefined && !isTerminal(task.state)) continue
    for (const container of containers) {
      if (!isUp(container)) continue
      for (const { address } of container.addresses ?? []) {
        const number = parseAddress(address.split('/')[0] ?? '')
        if (number !== undefined) left.push(number)
      }
    }
  }
  return left
}
