import type { NetworkSpec, Resource } from '@moot/crdt-state'
import type { NetworkOutlook } from '../../core/network/network.ts'
import { timestamp, zeroTime } from '../reply.ts'

/** Docker's `Network` as `GET /networks` tells it; with the containers of this node as an inspection does. */
export function networkShape(
  network: Resource<NetworkSpec>,
  networks: Pick<NetworkOutlook, 'subnets'> | undefined,
  containers: Readonly<Record<string, unknown>> | null = null,
): Record<string, unknown> {
  const { spec } = network
  return {
    Name: network.name,
    Id: network.id,
    Created: timestamp(network.createdAtMs),
    Scope: 'swarm',
    Driver: spec.Driver,
    EnableIPv4: true,
    EnableIPv6: spec.EnableIPv6,
    IPAM: {
      Driver: spec.IPAM?.Driver ?? 'default',
      Options: spec.IPAM?.Options ?? null,
      Config: ipamConfig(network, networks),
    },
    Internal: spec.Internal,
    Attachable: spec.Attachable,
    Ingress: spec.Ingress,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: containers,
    Options: spec.Options,
    Labels: spec.Labels,
  }
}

/** As it was given, or else what was drawn. */
function ipamConfig(
  { id, spec }: Resource<NetworkSpec>,
  networks: Pick<NetworkOutlook, 'subnets'> | undefined,
): NonNullable<NonNullable<NetworkSpec['IPAM']>['Config']> {
  const given = spec.IPAM?.Config ?? []
  const standing = networks?.subnets.get(id)
  return given.length > 0 || standing?.kind !== 'has' ? given : [{ Subnet: standing.cidr }]
}

/** Swarm's form of a network, as it stands in a task's `NetworksAttachments`. */
export function attachedNetworkShape(
  network: Resource<NetworkSpec>,
  networks: Pick<NetworkOutlook, 'subnets'> | undefined,
): Record<string, unknown> {
  const { spec } = network
  return {
    ID: network.id,
    Version: { Index: network.versionIndex },
    CreatedAt: timestamp(network.createdAtMs),
    UpdatedAt: timestamp(network.updatedAtMs),
    Spec: {
      Name: network.name,
      Labels: spec.Labels,
      DriverConfiguration: { Name: spec.Driver, Options: spec.Options },
      IPv6Enabled: spec.EnableIPv6,
      Attachable: spec.Attachable,
      Internal: spec.Internal,
      Ingress: spec.Ingress,
      Scope: 'swarm',
    },
    DriverState: { Name: spec.Driver, Options: spec.Options },
    IPAMOptions: {
      Driver: { Name: spec.IPAM?.Driver ?? 'default' },
      Configs: ipamConfig(network, networks).map(({ Subnet, IPRange, Gateway }) => ({
        Subnet,
        Range: IPRange,
        Gateway,
      })),
    },
  }
}

/** Every engine has these; a service names them by their names (moby: "node-local networks"). */
export const predefinedNetworks = ['host', 'bridge', 'none'] as const

export function predefinedNetworkShape(name: string): Record<string, unknown> {
  return {
    Name: name,
    // The name is the id: it means something else on each node, and the same on all.
    Id: name,
    Created: zeroTime,
    Scope: 'swarm',
    Driver: name === 'none' ? 'null' : name,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: null,
    Options: {},
    Labels: {},
  }
}
