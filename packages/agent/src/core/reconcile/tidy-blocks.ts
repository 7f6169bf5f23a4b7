import { isClaim, isTerminal, type ResourceId } from '@moot/crdt-state'
import { bridgeAddress, emptyBlocks, type OwnBlocks } from '../network/allocate.ts'
import type { BlockTable } from '../network/blocks.ts'
import { givenAddress } from '../network/endpoints.ts'
import { blockOf } from '../network/geometry.ts'
import { parseAddress } from '../network/ipv4.ts'
import type { NetworkOutlook } from '../network/network.ts'
import { addressesInUse, ownBlocksOn } from './attach.ts'
import { containerOf, isDue, isUp, putBlocks, sameJson, type Draft } from './draft.ts'

/** Since when nobody has had an address in a block of this node's, ms on its clock. By network, then by block. */
export type IdleBlocks = ReadonlyMap<ResourceId, ReadonlyMap<number, number>>

type Outlook = Pick<NetworkOutlook, 'blocks' | 'subnets'>

/**
 * Claims of networks that are gone end once nobody here has an address there, of blocks that another node keeps, and of those in
 * which nobody has had an address for a while: an update may empty one and fill it again. Which are idle is kept in `draft.idleBlocks` for the next call.
 */
export function tidyBlocks(draft: Draft): void {
  const { guests, mayBeLost, networks: outlook, synced, view } = draft.input
  if (outlook === undefined || !synced) return
  for (const [id, claim] of draft.blocks) {
    const network = view.networks.get(id)
    if (network === undefined) {
      // Its document may only be lost here, and what runs has its addresses still.
      const isUnknown = mayBeLost('network', id) || guests.seen === undefined
      if (!isUnknown && addressesInUse(draft, id).inUse.size === 0) putBlocks(draft, id, undefined)
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
 * A disk may have lost this node's claim on a network. The blocks in which its tasks have their addresses are claimed again where nobody has
 * them by now, the bridge's own first: which that is, what runs on it tells. Where nothing does, or more than one bridge, all is replaced.
 *
 * @returns the networks that were claimed again.
 */
export function reclaimBlocks(draft: Draft, outlook: Outlook): ReadonlySet<ResourceId> {
  const claimed = new Set<ResourceId>()
  for (const [{ network, geometry, owners }, { blocks: inUse, bridges }] of unclaimedUse(draft, outlook)) {
    const [bridge, ...others] = bridges
    const standing = outlook.subnets.get(network)
    if (bridge === undefined || others.length > 0 || standing?.kind !== 'has') continue
    const { cidr, reserved } = standing
    const blocks = [...new Set([blockOf(geometry, bridge) ?? -1, ...inUse])]
    const isFree = !blocks.some((block) => owners.has(block))
    if (!isFree || bridgeAddress({ geometry, blocks, reserved }) !== bridge) continue
    putBlocks(draft, network, { network, subnet: cidr, blocks })
    claimed.add(network)
  }
  return claimed
}

interface Use {
  readonly blocks: Set<number>
  readonly bridges: Set<number>
}

/** What this node's tasks have of networks of which it claims nothing: blocks, and the own addresses of their bridges. */
function unclaimedUse(draft: Draft, { blocks: tables }: Outlook): ReadonlyMap<BlockTable, Use> {
  const found = new Map<BlockTable, Use>()
  for (const task of draft.own.tasks.values()) {
    if (!isClaim(task)) continue
    for (const { id } of task.addresses ?? []) {
      const table = id === undefined || draft.own.blocks.has(id) ? undefined : tables.get(id)
      const address = table && givenAddress(task, table.network)
      const block = table && address && blockOf(table.geometry, address)
      if (table === undefined || block === undefined) continue
      const use = found.get(table) ?? { blocks: new Set(), bridges: new Set() }
      found.set(table, use)
      use.blocks.add(block)
      for (const gateway of containerOf(draft, task)?.gateways ?? []) {
        const bridge = parseAddress(gateway)
        if (bridge !== undefined && blockOf(table.geometry, bridge) !== undefined) use.bridges.add(bridge)
      }
    }
  }
  return found
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
