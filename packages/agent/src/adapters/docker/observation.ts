import type { ContainerId } from '@moot/crdt-state'
import type { ContainerObservation } from '../../core/reconcile/actions.ts'
import { readOwner, type Ownership } from './labels.ts'

type Ports = NonNullable<ContainerObservation['ports']>

/** The part of `GET /containers/{id}/json` that is read. */
export interface Inspected {
  readonly Id: string
  readonly State: {
    readonly Status: ContainerObservation['state']
    readonly ExitCode: number
    readonly OOMKilled: boolean
    readonly Error: string
    readonly Pid: number
    readonly Health?: { readonly Status: ContainerObservation['health'] | '' }
  }
  readonly Config: { readonly Labels: Readonly<Record<string, string>> | null }
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, readonly { readonly HostPort: string }[] | null>> | null
    readonly Networks: Readonly<
      Record<
        string,
        { readonly IPAddress: string; readonly IPPrefixLen: number; readonly Gateway: string } | null
      >
    > | null
  }
}

/** The part of an item of `GET /containers/json` that is read. */
export interface Listed {
  readonly Id: string
  readonly Labels: Readonly<Record<string, string>>
  readonly State: ContainerObservation['state']
  /** For people, and the only place where a listing tells the health: `Up 3 minutes (healthy)`. */
  readonly Status: string
}

/** Undefined where the container is not ours. */
export function observe(inspected: Inspected, own: Ownership): ContainerObservation | undefined {
  const owner = readOwner(inspected.Config.Labels ?? {}, own)
  if (owner === undefined) return undefined
  const { State: state } = inspected
  const ended = state.Status === 'exited' || state.Status === 'dead'
  const ports = publishedPorts(inspected)
  const addresses = networkAddresses(inspected)
  const gateways = gatewaysOf(inspected)
  return {
    container: inspected.Id as ContainerId,
    ...owner,
    state: state.Status,
    health: state.Health?.Status || 'none',
    ...(ended && { exitCode: state.ExitCode }),
    ...(state.OOMKilled && { oomKilled: true }),
    ...(state.Error !== '' && { error: state.Error }),
    ...(state.Pid > 0 && { pid: state.Pid }),
    ...(ports.length > 0 && { ports }),
    ...(addresses.length > 0 && { addresses }),
    ...(gateways.length > 0 && { gateways }),
  }
}

/** Does a listing agree with what was observed before? Then the container need not be inspected again. */
export function agrees(listed: Listed, known: ContainerObservation): boolean {
  if (listed.State !== known.state) return false
  if (known.state !== 'running') return true
  return /\((healthy|unhealthy)\)$/.exec(listed.Status)?.[1] === settledHealth(known.health)
}

/** What the listing alone tells: for a container that the engine cannot inspect, since a hung start holds its lock. */
export function fromListing(listed: Listed, own: Ownership): ContainerObservation | undefined {
  const owner = readOwner(listed.Labels, own)
  if (owner === undefined) return undefined
  const [, health] = /\((?:health: )?(healthy|unhealthy|starting)\)$/.exec(listed.Status) ?? []
  const [, exitCode] = /^(?:Exited|Dead) \((\d+)\)/.exec(listed.Status) ?? []
  return {
    container: listed.Id as ContainerId,
    ...owner,
    state: listed.State,
    health: (health ?? 'none') as ContainerObservation['health'],
    ...(exitCode !== undefined && { exitCode: Number(exitCode) }),
  }
}

function settledHealth(health: ContainerObservation['health']): string | undefined {
  return health === 'healthy' || health === 'unhealthy' ? health : undefined
}

/** Docker lists a port once for IPv4 and once for IPv6. */
function publishedPorts(inspected: Inspected): Ports {
  const ports = new Map<string, Ports[number]>()
  for (const [key, bindings] of Object.entries(inspected.NetworkSettings.Ports ?? {})) {
    const [target, protocol = 'tcp'] = key.split('/')
    for (const { HostPort } of bindings ?? []) {
      ports.set(`${key} ${HostPort}`, { protocol, target: Number(target), published: Number(HostPort) })
    }
  }
  return [...ports.values()]
}

function networkAddresses(inspected: Inspected): NonNullable<ContainerObservation['addresses']> {
  return Object.entries(inspected.NetworkSettings.Networks ?? {}).flatMap(([network, endpoint]) =>
    endpoint !== null && endpoint.IPAddress !== ''
      ? [{ network, address: `${endpoint.IPAddress}/${endpoint.IPPrefixLen}` }]
      : [],
  )
}

function gatewaysOf({ NetworkSettings }: Inspected): NonNullable<ContainerObservation['gateways']> {
  return Object.values(NetworkSettings.Networks ?? {}).flatMap((endpoint) => endpoint?.Gateway || [])
}
