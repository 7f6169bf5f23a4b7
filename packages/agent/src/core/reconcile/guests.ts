import type { GuestEntry, NetworkSpec, Resource, ResourceId } from '@moot/crdt-state'
import { allocateAddress, mayGive, type OwnBlocks } from '../network/allocate.ts'
import { blockRange } from '../network/geometry.ts'
import { formatAddress, formatRange, parseAddress } from '../network/ipv4.ts'
import type { Address, Cidr } from '../network/plane.ts'
import { addressesInUse, ownBlocksOn, placeOn, renumberedNetworks } from './attach.ts'
import { putGuest, type Draft } from './draft.ts'

/** A person wants to put a container on a network: it has an address, in the record, before it is there. */
export interface GuestWish extends Pick<GuestEntry, 'id' | 'network' | 'aliases' | 'nameservers'> {
  /** This one and no other (`--ip`). */
  readonly address?: Address
}

export type GuestVerdict =
  | { readonly kind: 'waits'; readonly why: string }
  | { readonly kind: 'refused'; readonly refusal: GuestRefusal }
  /** Its address is another node's by now: it has no name any more, and what is sent to it arrives elsewhere. */
  | { readonly kind: 'lost'; readonly guest: GuestEntry }

export type GuestRefusal =
  /** `blocks`: what this node has of the network. */
  | { readonly kind: 'not-ours'; readonly address: Address; readonly blocks: readonly Cidr[] }
  | { readonly kind: 'taken'; readonly address: Address }
  | { readonly kind: 'too-many'; readonly max: number }

/**
 * Entries follow what the engine shows: a container that stops keeps its address, one that is gone gives it back. An entry whose
 * container is being made stays while it is wished for.
 */
export function keepGuests(draft: Draft): void {
  const { guests, mayBeLost, synced, view } = draft.input
  const wished = new Set(guests.wishes.map(({ id }) => id))
  const renumbered = renumberedNetworks(draft)
  for (const [id, guest] of draft.guests) {
    const network = view.networks.get(guest.network)
    if (network === undefined) {
      if (synced && !mayBeLost('network', guest.network)) putGuest(draft, id, undefined)
    } else if (isLost(draft, guest, network, renumbered)) {
      putGuest(draft, id, undefined)
      draft.guestVerdicts.set(id, { kind: 'lost', guest })
    } else if (guests.seen !== undefined) follow(draft, guest, wished.has(id))
  }
}

function follow(draft: Draft, guest: GuestEntry, isWished: boolean): void {
  const seen = draft.input.guests.seen?.find(
    ({ container, network, address }) =>
      network === guest.network &&
      address === guest.address &&
      (guest.container === undefined || guest.container.id === container),
  )
  if (seen !== undefined) {
    const { container: id, name, isUp } = seen
    const { container: known } = guest
    if (known?.name !== name || known.isUp !== isUp)
      putGuest(draft, guest.id, { ...guest, container: { id, name, isUp } })
  } else if (!isWished) putGuest(draft, guest.id, undefined)
}

/** As with tasks, nothing is said of a network that has no subnet at the moment, and all go from a bridge that is to be made anew. */
function isLost(
  draft: Draft,
  { address }: GuestEntry,
  network: Resource<NetworkSpec>,
  renumbered: ReadonlySet<ResourceId>,
): boolean {
  if (!draft.input.synced) return false
  if (renumbered.has(network.id)) return true
  const has = ownBlocksOn(draft, network)
  const number = parseAddress(address)
  return has.kind === 'has' && (number === undefined || !mayGive(has.own, number))
}

/** Each wish has an address, or is told why not. */
export function placeGuests(draft: Draft): void {
  for (const wish of draft.input.guests.wishes) {
    if (draft.guests.has(wish.id)) continue
    const verdict = place(draft, wish)
    if (verdict !== undefined) draft.guestVerdicts.set(wish.id, verdict)
  }
}

function place(draft: Draft, wish: GuestWish): GuestVerdict | undefined {
  const { synced, settings, view, nowMs, guests } = draft.input
  if (!synced || guests.seen === undefined)
    return { kind: 'waits', why: 'this node has only just started, or its engine does not answer' }
  const network = view.networks.get(wish.network)
  if (network === undefined) return { kind: 'waits', why: 'the network is gone' }
  if (draft.guests.size >= settings.guestsMax)
    return { kind: 'refused', refusal: { kind: 'too-many', max: settings.guestsMax } }
  const has = ownBlocksOn(draft, network)
  if (has.kind === 'waits') return has
  const { inUse, latest } = addressesInUse(draft, network.id)
  const asked = wish.address === undefined ? undefined : parseAddress(wish.address)
  if (asked !== undefined && !mayGive(has.own, asked))
    return { kind: 'refused', refusal: notOurs(asked, has.own) }
  if (asked !== undefined && inUse.has(asked))
    return { kind: 'refused', refusal: { kind: 'taken', address: formatAddress(asked) } }
  const placed = placeOn(draft, network, (own) => asked ?? allocateAddress(own, inUse, latest))
  if (placed.kind === 'waits') return placed
  const { id, aliases, nameservers } = wish
  const { address } = placed.overlay
  putGuest(draft, id, { id, network: network.id, address, aliases, nameservers, createdAtMs: nowMs })
  return undefined
}

function notOurs(address: number, { geometry, blocks }: OwnBlocks): GuestRefusal {
  const ranges = blocks.map((block) => formatRange(blockRange(geometry, block)))
  return { kind: 'not-ours', address: formatAddress(address), blocks: ranges }
}
