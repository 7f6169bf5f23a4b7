import type { GuestEntry, GuestId, NodeId, Resource, NetworkSpec } from '@moot/crdt-state'
import type { Logger } from 'pino'
import type { GuestPlace, GuestWanted } from './cluster.ts'
import { explainGuestRefusal } from './core/explain/network.ts'
import { bridgeName, ownAddress } from './core/network/node-plane.ts'
import type { NetworkOutlook } from './core/network/network.ts'
import type { Overlay } from './core/reconcile/actions.ts'
import type { GuestVerdict, GuestWish } from './core/reconcile/guests.ts'
import type { Defaults } from './defaults.ts'
import type { EngineWatch } from './engine-watch.ts'
import { AddressRefusedError, NetworkHereOnlyError, NoAddressError } from './errors.ts'
import { type Clock, withinTime } from './ports/clock.ts'
import type { Engine } from './ports/engine.ts'

/** Containers that people put on networks of the cluster: each has an address in the record before it is there. */
export interface Guests {
  /** What is being asked for at this moment. */
  wishes(): readonly GuestWish[]
  /** What a reconciliation said of them, once its changes are in the record. */
  told(verdicts: ReadonlyMap<GuestId, GuestVerdict>): void
  /**
   * `use` puts the container there; where it rejects, or none is there afterwards, the address is free again. Rejects with
   * `NetworkHereOnlyError`, `AddressRefusedError`, `NoAddressError` or an error of the engine.
   */
  attach<T>(wanted: GuestWanted, signal: AbortSignal, use: (place: GuestPlace) => Promise<T>): Promise<T>
}

interface Pending {
  readonly wish: GuestWish
  /** Why it has none yet. */
  why: string
  readonly settle: (guest: GuestEntry) => void
  readonly refuse: (error: Error) => void
}

export function createGuests(options: {
  readonly self: NodeId
  readonly engine: Pick<Engine, 'network'>
  readonly watch: Pick<EngineWatch, 'lookAtGuests'>
  readonly outlook: () => NetworkOutlook | undefined
  /** As this node's record says now. */
  readonly entry: (id: GuestId) => GuestEntry | undefined
  readonly network: (id: GuestEntry['network']) => Resource<NetworkSpec> | undefined
  /** Resolves once the kernel knows the bridges that there are now. */
  readonly bridged: (signal: AbortSignal) => Promise<void>
  /** What is wished for is another. */
  readonly changed: () => void
  readonly newId: () => GuestId
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: Pick<Defaults, 'settleMs' | 'guestWaitMs'>
  readonly stopping: AbortSignal
}): Guests {
  const { engine, watch, clock, logger, settings } = options
  const wishes = new Map<GuestId, GuestWish>()
  const pending = new Map<GuestId, Pending>()

  function placed(wish: GuestWish, signal: AbortSignal): Promise<GuestEntry> {
    const { promise, resolve, reject } = Promise.withResolvers<GuestEntry>()
    const why = 'this node has not decided on it in time'
    const waiting: Pending = { wish, why, settle: resolve, refuse: reject }
    pending.set(wish.id, waiting)
    const giveUp = (): void => reject(new NoAddressError(waiting.why))
    signal.addEventListener('abort', giveUp, { once: true })
    options.changed()
    return promise.finally(() => {
      signal.removeEventListener('abort', giveUp)
      pending.delete(wish.id)
    })
  }

  /** Of two nodes that claimed one block at once the second has heard of it by then, and another address was found. */
  async function settled(wish: GuestWish, signal: AbortSignal): Promise<GuestEntry> {
    for (;;) {
      const guest = await placed(wish, signal)
      await clock.sleep(settings.settleMs, signal).catch(() => {
        throw new NoAddressError('it was not settled in time')
      })
      if (options.entry(wish.id)?.address === guest.address) return guest
    }
  }

  function overlayOf({ network: id, address }: GuestEntry): Overlay {
    const outlook = options.outlook()
    const [network, standing, table] = [
      options.network(id),
      outlook?.subnets.get(id),
      outlook?.blocks.get(id),
    ]
    const has = standing?.kind === 'has' ? standing : undefined
    const gateway = has && table && ownAddress(options.self, has, table)
    if (network === undefined || has === undefined || gateway === undefined)
      throw new NoAddressError('the network has just changed: try again')
    return { network, bridge: bridgeName(id), subnet: has.cidr, gateway, address }
  }

  /** One that is not made yet gets another. */
  function tellLost({ container, address }: GuestEntry): void {
    if (container === undefined) return
    logger.error(
      { container: container.name, address },
      'the address of a container that a person put on a network is another node’s by now: disconnect it from the network and connect it again',
    )
  }

  return {
    wishes: () => [...wishes.values()],
    told(verdicts) {
      for (const [id, verdict] of verdicts) {
        const waiting = pending.get(id)
        if (verdict.kind === 'lost') tellLost(verdict.guest)
        else if (verdict.kind === 'refused')
          waiting?.refuse(new AddressRefusedError(explainGuestRefusal(verdict.refusal)))
        else if (waiting !== undefined) waiting.why = verdict.why
      }
      for (const { wish, settle } of pending.values()) {
        const guest = options.entry(wish.id)
        if (guest !== undefined) settle(guest)
      }
    },
    async attach(wanted, signal, use) {
      if (options.outlook() === undefined) throw new NetworkHereOnlyError()
      const wish = { ...wanted, id: options.newId() }
      wishes.set(wish.id, wish)
      const either = AbortSignal.any([signal, options.stopping])
      try {
        const guest = await withinTime(clock, settings.guestWaitMs, either, (bounded) =>
          settled(wish, bounded),
        )
        const overlay = overlayOf(guest)
        const bridge = await engine.network(overlay, either)
        await options.bridged(either)
        return await use({ bridge, address: guest.address, gateway: overlay.gateway })
      } finally {
        // A listing that began before the container was there would take its address for free.
        await watch.lookAtGuests()
        wishes.delete(wish.id)
        options.changed()
      }
    },
  }
}
