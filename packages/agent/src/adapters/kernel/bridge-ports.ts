import { KernelRefusedError } from '../../ports/data-plane.errors.ts'
import type { KernelCalls } from './calls.ts'

interface BridgePort {
  readonly ifname?: string
  readonly master?: string
  readonly linkinfo?: { readonly info_slave_data?: { readonly hairpin?: boolean } }
}

/**
 * Packets between containers of one bridge pass our rules too: or a backend's answers to its neighbour would not be
 * translated back. Docker often asks for that on all bridges; we ask for it on ours.
 */
export function filterBridge(bridge: string): string {
  return `link set ${bridge} type bridge nf_call_iptables 1`
}

/**
 * A bridge sends nothing back where it came from, and so keeps a container from reaching itself through a virtual IP; its
 * port may be told to.
 */
export async function allowHairpins(calls: KernelCalls, bridges: ReadonlySet<string>): Promise<void> {
  const ports = (await calls.list(
    'ip',
    ['-details', 'link', 'show', 'type', 'bridge_slave'],
    'list the ports of bridges',
  )) as readonly BridgePort[]
  const lines = ports
    .filter(
      ({ master, linkinfo }) => bridges.has(master ?? '') && linkinfo?.info_slave_data?.hairpin !== true,
    )
    .map(({ ifname }) => `link set ${ifname} type bridge_slave hairpin on`)
  if (lines.length === 0) return
  try {
    await calls.run('ip', ['-force', '-batch', '-'], 'set ports of bridges', `${lines.join('\n')}\n`)
  } catch (error) {
    // A container that has ended meanwhile has no port any more; all others were set.
    if (!(error instanceof KernelRefusedError)) throw error
  }
}
