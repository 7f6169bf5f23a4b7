import type { ContainerId, NetworkSpec, Resource, ResourceId } from '@moot/crdt-state'
import { attachedTo } from '../../core/network/attachments.ts'
import { overlaps, parseRange } from '../../core/network/ipv4.ts'
import type { GuestObservation, Overlay, TaskSetup } from '../../core/reconcile/actions.ts'
import { BridgeInUseError, TaskRejectedError } from '../../ports/engine.errors.ts'
import type { Attachment } from './container.ts'
import { predefinedNetworks } from './container.ts'
import type { DockerConnection } from './connection.ts'
import { isStatus } from './failure.ts'
import { label, ownFilter, readOwner, taskName, type Ownership } from './labels.ts'
import { unaborted, waitFor } from '../../shared-call.ts'

interface ListedNetwork {
  readonly Id: string
  readonly Name: string
  readonly Labels: Readonly<Record<string, string>> | null
}

/** The part of an item of `GET /containers/json` that tells where it is. */
interface ListedGuest {
  readonly Id: string
  readonly Names: readonly string[]
  readonly Labels: Readonly<Record<string, string>>
  readonly State: string
  readonly NetworkSettings?: {
    readonly Networks: Readonly<
      Record<
        string,
        { readonly IPAddress: string; readonly IPAMConfig?: { readonly IPv4Address?: string } | null }
      >
    > | null
  }
}

/** The name on this engine of a bridge with this subnet and address. */
interface KnownNetwork {
  readonly subnet: string | undefined
  readonly name: Promise<string>
  isMade: boolean
}

/**
 * This engine's stand-ins for the cluster's networks: for now a local bridge each, made when the first task needs it.
 * A task reaches the others of its network on the same node only.
 */
export class LocalNetworks {
  readonly #connection: DockerConnection
  readonly #own: () => Ownership
  /** Being made, or known, by the network's id. Forgotten when the engine says that a network is gone. */
  readonly #names = new Map<ResourceId, KnownNetwork>()
  /** Networks that a container is just being made for: a sweep leaves them alone. */
  readonly #inUse = new Map<ResourceId, number>()

  constructor(connection: DockerConnection, own: () => Ownership) {
    this.#connection = connection
    this.#own = own
  }

  /** Makes a task's networks where they are missing, and keeps them from being swept while `use` runs. */
  async attach<T>(
    setup: TaskSetup,
    signal: AbortSignal,
    use: (attachments: readonly Attachment[]) => Promise<T>,
  ): Promise<T> {
    for (const { id } of setup.networks) this.#inUse.set(id, (this.#inUse.get(id) ?? 0) + 1)
    try {
      return await use(await this.#attachments(setup, signal))
    } finally {
      for (const { id } of setup.networks) {
        const left = (this.#inUse.get(id) ?? 1) - 1
        if (left === 0) this.#inUse.delete(id)
        else this.#inUse.set(id, left)
      }
    }
  }

  /** Its name here. Asked of the engine each time: a person's container is rare, and somebody may have removed the network. */
  have(overlay: Overlay, signal: AbortSignal): Promise<string> {
    if (this.#names.get(overlay.network.id)?.isMade === true) this.#names.delete(overlay.network.id)
    return this.#ensure(overlay.network, signal, overlay)
  }

  /** All containers on our networks that are no tasks of ours. */
  async guests(signal: AbortSignal): Promise<readonly GuestObservation[]> {
    const networks = await this.#listOwn(signal)
    const ids = new Map(networks.map(({ Name, Labels }) => [Name, Labels?.[label.network] as ResourceId]))
    if (networks.length === 0) return []
    const listed = await this.#usersOf(networks, signal)
    return listed
      .filter(({ Labels }) => readOwner(Labels, this.#own()) === undefined)
      .flatMap((container) => guestsOf(container, ids))
  }

  async detach({ container, network }: GuestObservation, signal: AbortSignal): Promise<void> {
    for (const { Id } of await this.#listOwn(signal, `${label.network}=${network}`)) {
      try {
        await this.#connection.request({
          method: 'POST',
          path: `/networks/${Id}/disconnect`,
          body: { Container: container, Force: true },
          signal,
        })
      } catch (error) {
        // 404: the container or the network is gone. 403 or, in Engine 20.10, 500: it is not on this one.
        if (!isStatus(error, 403, 404, 500)) throw error
      }
    }
  }

  /**
   * The engine was restarted, or somebody removed a network: ask again. Not of what is being made: of a name that is asked for
   * twice at once, older engines make two networks.
   */
  forget(): void {
    for (const [id, { isMade }] of this.#names) if (isMade) this.#names.delete(id)
  }

  /** Removes our networks that are neither wanted nor attached to any container, running or not. */
  async sweep(wanted: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const network of await this.#listOwn(signal)) {
      const id = network.Labels?.[label.network] as ResourceId | undefined
      if (id === undefined || wanted.has(id) || wanted.has(network.Name) || this.#inUse.has(id)) continue
      const users = await this.#usersOf([network], signal)
      // Asked again after the wait: a task may have come meanwhile.
      if (users.length > 0 || this.#inUse.has(id)) continue
      this.#names.delete(id)
      try {
        await this.#connection.request({ method: 'DELETE', path: `/networks/${network.Id}`, signal })
      } catch (error) {
        // 403: a container was attached meanwhile. 404: gone already.
        if (!isStatus(error, 403, 404)) throw error
      }
    }
  }

  async #attachments(setup: TaskSetup, signal: AbortSignal): Promise<readonly Attachment[]> {
    const attachments: Attachment[] = []
    for (const overlay of setup.overlays) {
      attachments.push({
        name: await this.#ensure(overlay.network, signal, overlay),
        // No names of services: the engine's own name server knows only what is on this node, and answers first.
        endpoint: { IPAMConfig: { IPv4Address: overlay.address } },
      })
    }
    // `Networks` beside the task template is the older place of the same list (Engine API, ServiceSpec).
    for (const wanted of attachedTo(setup.spec)) {
      const network = setup.networks.find(({ id, name }) => id === wanted.Target || name === wanted.Target)
      if (setup.overlays.some((overlay) => overlay.network.id === network?.id)) continue
      if (network === undefined) {
        if (!predefinedNetworks.has(wanted.Target)) {
          throw new TaskRejectedError(`network ${wanted.Target} not found: create it, or correct the service`)
        }
        attachments.push({ name: wanted.Target, endpoint: {} })
        continue
      }
      attachments.push({
        name: await this.#ensure(network, signal),
        endpoint: {
          Aliases: [...aliasesOf(setup, network)],
          ...(wanted.DriverOpts !== undefined && { DriverOpts: wanted.DriverOpts }),
        },
      })
    }
    return attachments
  }

  /** One creation per network at a time, whoever asks; the waiters share its outcome. */
  #ensure(network: Resource<NetworkSpec>, signal: AbortSignal, overlay?: Overlay): Promise<string> {
    const subnet = subnetLabel(overlay)
    const known = this.#names.get(network.id)
    if (known !== undefined && known.subnet === subnet) return waitFor(known.name, signal)
    const made: KnownNetwork = {
      subnet,
      name: this.#findOrCreate(network, unaborted, overlay),
      isMade: false,
    }
    this.#names.set(network.id, made)
    made.name.then(
      () => (made.isMade = true),
      () => {
        if (this.#names.get(network.id) === made) this.#names.delete(network.id)
      },
    )
    return waitFor(made.name, signal)
  }

  async #findOrCreate(
    network: Resource<NetworkSpec>,
    signal: AbortSignal,
    overlay: Overlay | undefined,
  ): Promise<string> {
    const existing = await this.#find(network.id, signal, overlay)
    if (existing !== undefined) return existing
    if (overlay !== undefined) await this.#makeRoom(overlay, signal)
    // Somebody else's network may have the name: then ours carries its id too.
    for (const name of [network.name, `${network.name}-${network.id.slice(0, 12)}`]) {
      try {
        await this.#connection.request({
          method: 'POST',
          path: '/networks/create',
          body: networkBody(network, name, this.#own(), overlay),
          signal,
          purpose: 'create',
        })
        return name
      } catch (error) {
        if (!isStatus(error, 409)) throw error
        const raced = await this.#find(network.id, signal, overlay)
        if (raced !== undefined) return raced
      }
    }
    throw new TaskRejectedError(
      `network ${network.name}: its name is taken on this node's engine, and so is the name with its id`,
    )
  }

  /** One that was made for another subnet or address of this node is of no use any more, and goes once nothing is attached to it. */
  async #find(
    id: ResourceId,
    signal: AbortSignal,
    overlay: Overlay | undefined,
  ): Promise<string | undefined> {
    for (const found of await this.#listOwn(signal, `${label.network}=${id}`)) {
      if (found.Labels?.[label.subnet] === subnetLabel(overlay)) return found.Name
      await this.#removeFor(found, overlay, signal)
    }
    return undefined
  }

  /** Of networks that there are no two overlap: one of ours that is in the way was another's, and has not been swept yet. */
  async #makeRoom(overlay: Overlay, signal: AbortSignal): Promise<void> {
    const wanted = parseRange(overlay.subnet)
    for (const found of await this.#listOwn(signal)) {
      const range = parseRange(found.Labels?.[label.subnet]?.split(' ')[0] ?? '')
      if (wanted === undefined || range === undefined || !overlaps(wanted, range)) continue
      await this.#removeFor(found, overlay, signal)
      this.#names.delete(found.Labels?.[label.network] as ResourceId)
    }
  }

  async #removeFor({ Id }: ListedNetwork, overlay: Overlay | undefined, signal: AbortSignal): Promise<void> {
    try {
      await this.#connection.request({ method: 'DELETE', path: `/networks/${Id}`, signal })
    } catch (error) {
      // 403: something is on it still, and two bridges cannot have one name or subnet. 404: gone already.
      if (isStatus(error, 403) && overlay !== undefined) throw new BridgeInUseError(overlay.network.name)
      if (!isStatus(error, 403, 404)) throw error
    }
  }

  #usersOf(networks: readonly ListedNetwork[], signal: AbortSignal): Promise<readonly ListedGuest[]> {
    // A container that was never started knows its networks by name alone (Engine 20.10).
    const network = networks.flatMap(({ Id, Name }) => [Id, Name])
    return this.#connection.request({
      method: 'GET',
      path: '/containers/json',
      query: { all: true, filters: JSON.stringify({ network }) },
      signal,
    })
  }

  #listOwn(signal: AbortSignal, ...labels: readonly string[]): Promise<readonly ListedNetwork[]> {
    const filters = ownFilter(this.#own(), { label: labels })
    return this.#connection.request({ method: 'GET', path: '/networks', query: { filters }, signal })
  }
}

function guestsOf(
  { Id, Names, State, NetworkSettings }: ListedGuest,
  ids: ReadonlyMap<string, ResourceId>,
): readonly GuestObservation[] {
  return Object.entries(NetworkSettings?.Networks ?? {}).flatMap(([on, { IPAddress, IPAMConfig }]) => {
    const network = ids.get(on)
    const address = IPAMConfig?.IPv4Address || IPAddress
    if (network === undefined) return []
    return [
      {
        container: Id as ContainerId,
        // The others are those of links: `/db/alias`.
        name: (Names.find((name) => name.lastIndexOf('/') === 0) ?? '').slice(1),
        isUp: State === 'running' || State === 'paused',
        network,
        ...(address !== '' && { address }),
      },
    ]
  })
}

/** Names for the engine's own name server: of the tasks that are on this node. */
function aliasesOf(setup: TaskSetup, { id, name }: Resource<NetworkSpec>): ReadonlySet<string> {
  const wanted = attachedTo(setup.spec).find(({ Target }) => Target === id || Target === name)
  return new Set([...(wanted?.Aliases ?? []), setup.spec.Name, taskName(setup)])
}

function subnetLabel(overlay: Overlay | undefined): string | undefined {
  return overlay && `${overlay.subnet} ${overlay.gateway}`
}

/**
 * The body of `POST /networks/create`. `overlay` becomes a bridge; its options mean nothing to a bridge. One that reaches over
 * hosts has the whole subnet, and what leaves it is not masqueraded by Docker (design/network.md).
 */
export function networkBody(
  network: Resource<NetworkSpec>,
  name: string,
  own: Ownership,
  reach?: Overlay,
): object {
  const { spec } = network
  const overlay = spec.Driver === 'overlay'
  const subnet = subnetLabel(reach)
  return {
    Name: name,
    CheckDuplicate: true,
    Driver: overlay ? 'bridge' : spec.Driver,
    Internal: spec.Internal,
    Attachable: spec.Attachable,
    // Docker makes no such network without a subnet of IPv6, and between hosts there is none.
    EnableIPv6: spec.EnableIPv6 && reach === undefined,
    ...(reach === undefined
      ? spec.IPAM !== undefined && {
          IPAM: { Driver: 'default', ...spec.IPAM, Config: spec.IPAM.Config ?? [] },
        }
      : { IPAM: { Driver: 'default', Config: [{ Subnet: reach.subnet, Gateway: reach.gateway }] } }),
    Options: {
      ...(overlay ? pick(spec.Options, 'com.docker.network.driver.mtu') : spec.Options),
      ...(reach !== undefined && {
        'com.docker.network.bridge.name': reach.bridge,
        'com.docker.network.bridge.enable_ip_masquerade': 'false',
        'com.docker.network.bridge.gateway_mode_ipv4': 'nat-unprotected',
      }),
    },
    Labels: {
      ...spec.Labels,
      [label.cluster]: own.cluster,
      [label.node]: own.node,
      [label.network]: network.id,
      ...(subnet !== undefined && { [label.subnet]: subnet }),
    },
  }
}

function pick(
  options: Readonly<Record<string, string>>,
  ...names: readonly string[]
): Record<string, string> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name)))
}
