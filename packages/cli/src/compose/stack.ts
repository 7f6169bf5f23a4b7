import type { NetworkSpec, ServiceSpec } from '@moot/crdt-state'
import type { LoadedStack } from './load.ts'
import { ignoredKeys, type StackFile } from './schema.ts'
import { type ConvertContext, networkName } from './context.ts'
import { convertService } from './service.ts'
import { ComposeError, labels } from './values.ts'

/** A stack as the agent takes it: networks to have first, then services. */
export interface ConvertedStack {
  readonly networks: readonly NetworkSpec[]
  /** Networks that must exist already. */
  readonly externalNetworks: readonly string[]
  readonly services: readonly ServiceSpec[]
  readonly warnings: readonly string[]
}

/** Throws a `ComposeError`. `environment` is what interpolation and value-less variables see. */
export function convertStack(
  namespace: string,
  { stack, directory }: LoadedStack,
  environment: Readonly<Record<string, string | undefined>>,
): ConvertedStack {
  const context: ConvertContext = { namespace, stack, directory, environment }
  const declared = Object.keys(stack.secrets).length + Object.keys(stack.configs).length
  if (declared > 0) {
    throw new ComposeError(
      'secrets and configs are not there yet in this version of Moot: use environment variables or volumes',
    )
  }
  const services = Object.entries(stack.services).map(([name, service]) =>
    convertService(context, name, service),
  )
  const used = new Set<string>()
  for (const service of Object.values(stack.services)) {
    const wanted = service.networks ?? ['default']
    for (const key of Array.isArray(wanted) ? wanted : Object.keys(wanted)) used.add(key)
  }
  const networks: NetworkSpec[] = []
  const externalNetworks: string[] = []
  for (const key of used) {
    const network = stack.networks[key]
    const name = networkName(context, key, 'networks')
    if (network?.external !== undefined && network.external !== false) externalNetworks.push(name)
    else networks.push(convertNetwork(namespace, name, network))
  }
  return { networks, externalNetworks, services, warnings: ignoredIn(stack) }
}

function convertNetwork(
  namespace: string,
  name: string,
  network: StackFile['networks'][string] | undefined,
): NetworkSpec {
  return {
    Name: name,
    Driver: network?.driver ?? 'overlay',
    Labels: { ...labels(network?.labels), 'com.docker.stack.namespace': namespace },
    Options: labels(network?.driver_opts),
    Attachable: network?.attachable ?? false,
    Internal: network?.internal ?? false,
    Ingress: false,
    EnableIPv6: false,
    ...(network?.ipam === undefined
      ? {}
      : {
          IPAM: {
            ...(network.ipam.driver === undefined ? {} : { Driver: network.ipam.driver }),
            Config: (network.ipam.config ?? []).map(({ subnet }) =>
              subnet === undefined ? {} : { Subnet: subnet },
            ),
          },
        }),
  }
}

function ignoredIn(stack: StackFile): string[] {
  const found = new Set<string>()
  for (const service of Object.values(stack.services)) {
    for (const key of ignoredKeys) if (service[key] !== undefined) found.add(key)
  }
  return found.size === 0 ? [] : [`a stack does not use, and ignores: ${[...found].toSorted().join(', ')}`]
}
