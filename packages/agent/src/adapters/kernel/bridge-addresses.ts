import type { Address, Plane } from '../../core/network/plane.ts'
import type { KernelCalls } from './calls.ts'
import { isInterface } from './interface-settings.ts'

interface Listed {
  readonly ifname?: string
  readonly addr_info?: readonly { readonly local?: string }[]
}

export type BridgeAddresses = ReadonlyMap<string, readonly Address[]>

/** What bridges have for addresses, asked of the kernel only where a plane's are not as they were known to be. */
export async function bridgeAddresses(
  calls: KernelCalls,
  { networks }: Plane,
  known: BridgeAddresses | undefined,
): Promise<BridgeAddresses> {
  const isKnown = networks.every(({ bridge }) => {
    if (bridge === undefined) return true
    const addresses = known?.get(bridge.name)
    return isInterface(bridge.name) ? addresses?.includes(bridge.address) === true : addresses === undefined
  })
  if (known !== undefined && isKnown) return known
  const listed = (await calls.list(
    'ip',
    ['-4', 'addr', 'show', 'type', 'bridge'],
    'list addresses of bridges',
  )) as readonly Listed[]
  return new Map(
    // `ip` lists what it was not asked for too, as empty objects.
    listed.flatMap(({ ifname, addr_info = [] }) =>
      ifname === undefined ? [] : [[ifname, addr_info.flatMap(({ local }) => local ?? [])]],
    ),
  )
}
