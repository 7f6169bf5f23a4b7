import { isIP } from 'node:net'
import type { Door } from './messages.ts'

/**
 * Where a member's datagrams may arrive, the likeliest first: its listener has one port for TCP and UDP. `used`: where
 * the open connection leads to; one that came from there tells its host, and a port that is of no use. Names are left
 * out: whom we are connected with has an address, and looking one up may take longer than a probe.
 */
export function doorsFor(
  used: (Door & { readonly direction: 'inbound' | 'outbound' }) | undefined,
  listed: readonly Door[],
): readonly Door[] {
  const ports = used?.direction === 'outbound' ? [used.port] : listed.map(({ port }) => port)
  const connected = used === undefined ? [] : ports.map((port) => ({ host: used.host, port }))
  const doors = [...connected, ...listed].filter(
    ({ host, port }) => isIP(host) !== 0 && port > 0 && port < 65_536,
  )
  return [...new Map(doors.map(({ host, port }) => [`${host} ${port}`, { host, port }])).values()]
}
