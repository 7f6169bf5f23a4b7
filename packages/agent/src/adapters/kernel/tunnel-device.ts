import type { Plane } from '../../core/network/plane.ts'
import { defaults } from '../../defaults.ts'
import { UnderlayMissingError } from '../../ports/data-plane.errors.ts'
import type { Tunnel } from '../../ports/data-plane.ts'
import type { KernelCalls } from './calls.ts'
import { readPeers } from './routing-state.ts'
import type { KernelSettings } from './settings.ts'

/** RFC 791: what every link must carry. */
const mtuLeast = 576
/**
 * Of the tunnel's and of WireGuard's ends. The same on every host; nothing is ever sent to it or from it. Where rp_filter is on, be it loose, Linux drops whatever comes
 * in through an interface without an address from where another one leads (fib_frontend.c: `no_addr`): all clients of others.
 */
export const placeholder = '169.254.74.22/32'

interface VxlanLink {
  readonly ifname?: string
  readonly flags?: readonly string[]
  readonly mtu?: number
  readonly address?: string
  readonly linkinfo?: {
    readonly info_data?: {
      readonly id?: number
      readonly local?: string
      readonly port?: number
      readonly learning?: boolean
    }
  }
}

/** Makes the tunnel's end so. `isNew`: it was made anew, and nothing leads there yet. */
export async function ensureTunnelDevice(
  calls: KernelCalls,
  self: Plane['self'],
  settings: KernelSettings,
): Promise<{ readonly isNew: boolean; readonly mtu: number }> {
  const { device } = settings
  const linkMtu = await mtuOfLinkWith(calls, self.underlay)
  const carrierMtu = self.keys === undefined ? linkMtu : wireGuardMtu(linkMtu)
  const mtu = Math.max(mtuLeast, carrierMtu - defaults.tunnelOverheadBytes)
  const found = await findTunnelDevice(calls, device)
  const isNew = found === undefined || !isOurs(found, self, settings)
  const lines: string[] = []
  if (isNew) {
    if (found !== undefined) lines.push(`link del ${device}`)
    lines.push(
      `link add ${device} address ${self.mac} mtu ${mtu} type vxlan id ${settings.vni} dstport ${settings.tunnelPort} local ${self.underlay} nolearning`,
      `addr add ${placeholder} dev ${device} scope link`,
    )
  } else {
    if (found.address !== self.mac) lines.push(`link set ${device} address ${self.mac}`)
    if (found.mtu !== mtu) lines.push(`link set ${device} mtu ${mtu}`)
  }
  if (isNew || found.flags?.includes('UP') !== true) lines.push(`link set ${device} up`)
  await calls.batch('ip', lines, `make the tunnel device ${device}`)
  return { isNew, mtu }
}

/** Of WireGuard's own interfaces. */
export function wireGuardMtu(linkMtu: number): number {
  return Math.max(mtuLeast, linkMtu - defaults.wireGuardOverheadBytes)
}

export async function removeTunnelDevice(calls: KernelCalls, device: string): Promise<void> {
  if ((await findTunnelDevice(calls, device)) === undefined) return
  await calls.run('ip', ['link', 'del', device], `remove the tunnel device ${device}`)
}

/** As it is, whoever made it so. Undefined: there is none. */
export async function readTunnel(calls: KernelCalls, device: string): Promise<Tunnel | undefined> {
  const link = await findTunnelDevice(calls, device)
  if (link === undefined) return undefined
  return {
    kind: 'vxlan',
    device,
    port: link.linkinfo?.info_data?.port ?? 0,
    mtuBytes: link.mtu ?? 0,
    peers: await readPeers(calls, device),
  }
}

async function findTunnelDevice(calls: KernelCalls, device: string): Promise<VxlanLink | undefined> {
  const links = await calls.list('ip', ['-details', 'link', 'show', 'type', 'vxlan'], 'list tunnel devices')
  return (links as readonly VxlanLink[]).find(({ ifname }) => ifname === device)
}

function isOurs({ linkinfo }: VxlanLink, self: Plane['self'], settings: KernelSettings): boolean {
  const { id, local, port, learning } = linkinfo?.info_data ?? {}
  return id === settings.vni && local === self.underlay && port === settings.tunnelPort && learning === false
}

export async function mtuOfLinkWith(calls: KernelCalls, underlay: string): Promise<number> {
  const links = await calls.list('ip', ['-4', 'addr', 'show', 'to', underlay], 'find the link to the others')
  const mtu = links.map((link) => link['mtu']).find((each) => typeof each === 'number')
  if (mtu === undefined) throw new UnderlayMissingError(underlay)
  return mtu
}
