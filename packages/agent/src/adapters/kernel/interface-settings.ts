import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { KernelSettingError } from '../../ports/data-plane.errors.ts'

/** Of this process' network namespace: /proc, unlike /sys, shows whoever looks its own. */
const ipv4 = '/proc/sys/net/ipv4'

export function isInterface(name: string): boolean {
  return existsSync(`${ipv4}/conf/${name}`)
}

/** A bridge that was made anew under its old name has lost what was set. */
export function isBridgeSet(name: string): boolean {
  return isInterface(name) && read(`conf/${name}/route_localnet`) === '1'
}

export function setTunnelDevice(name: string): void {
  set(`conf/${name}/rp_filter`, looseFilter())
  // Clients at 127.0.0.1 are balanced to containers elsewhere.
  set(`conf/${name}/route_localnet`, '1')
}

/** What comes in there has the address of a host that is reached by another interface. */
export function setWireGuardDevice(name: string): void {
  set(`conf/${name}/rp_filter`, looseFilter())
}

export function setBridge(name: string): void {
  // A container on several networks may answer through another bridge.
  set(`conf/${name}/rp_filter`, looseFilter())
  // Containers take their whole subnet for local: the bridge answers ARP for what is not, at once.
  set(`conf/${name}/proxy_arp`, '1')
  set(`neigh/${name}/proxy_delay`, '0')
  // The last one says that all are set.
  set(`conf/${name}/route_localnet`, '1')
}

export function unsetBridge(name: string): void {
  if (!isInterface(name)) return
  set(`conf/${name}/proxy_arp`, '0')
  set(`conf/${name}/route_localnet`, '0')
}

export function forwardPackets(): void {
  set('ip_forward', '1')
}

/** The stricter of the interface's filter and the host's counts, but "loose" (2) wins over "strict" (1). */
function looseFilter(): string {
  return read('conf/all/rp_filter') === '0' ? '0' : '2'
}

function read(name: string): string {
  return readFileSync(`${ipv4}/${name}`, 'utf8').trim()
}

function set(name: string, value: string): void {
  try {
    if (read(name) !== value) writeFileSync(`${ipv4}/${name}`, value)
  } catch (error) {
    throw new KernelSettingError(`${ipv4}/${name}`, value, error)
  }
}
