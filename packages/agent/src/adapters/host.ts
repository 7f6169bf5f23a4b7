import { networkInterfaces } from 'node:os'

/** The first IPv4 address of this host that is neither loopback nor an engine's own bridge: what others may use. */
export function hostAddress(): string | undefined {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(lo|docker|br-|veth|moot)/.test(name)) continue
    const found = addresses?.find((address) => address.family === 'IPv4' && !address.internal)
    if (found !== undefined) return found.address
  }
  return undefined
}
