import { type Lane, laneOf } from '../../core/network/seals.ts'
import type { Address, Plane } from '../../core/network/plane.ts'
import { defaults } from '../../defaults.ts'

/** A peer's public key → its allowed IPs, as `wg` writes them. */
export type LanePeers = ReadonlyMap<string, string>

/**
 * Whom WireGuard knows in one lane. Of a peer only its host's address is let through, which the tunnel's packets have: so it is
 * also proved whose packets they are.
 */
export function lanePeers(plane: Plane, lane: Lane): LanePeers {
  return new Map(
    plane.peers.flatMap(({ underlay, seal }) =>
      (seal?.keys ?? [])
        .filter(({ round }) => laneOf(round) === lane)
        .map(({ key }) => [key, allowedOf(underlay)] as const),
    ),
  )
}

/** What `wg show INTERFACE allowed-ips` prints. */
export function readLanePeers(listed: string): LanePeers {
  const lines = listed.split('\n').filter((line) => line !== '')
  return new Map(
    lines.map((line) => {
      const [key = '', allowed = ''] = line.split('\t')
      return [key, allowed]
    }),
  )
}

/** Arguments of `wg set INTERFACE`: those of peers that come or have moved, and those of peers that go. All others keep their sessions. */
export function lanePeerChanges(
  from: LanePeers,
  to: LanePeers,
  port: number,
): { readonly come: readonly string[]; readonly gone: readonly string[] } {
  return {
    come: [...to]
      .filter(([key, allowed]) => from.get(key) !== allowed)
      .flatMap(([key, allowed]) => [
        'peer',
        key,
        'endpoint',
        `${addressIn(allowed)}:${port}`,
        'persistent-keepalive',
        String(defaults.wireGuardKeepaliveSeconds),
        'allowed-ips',
        allowed,
      ]),
    gone: [...from.keys()].filter((key) => !to.has(key)).flatMap((key) => ['peer', key, 'remove']),
  }
}

function allowedOf(underlay: Address): string {
  return `${underlay}/32`
}

function addressIn(allowed: string): Address {
  return allowed.slice(0, -'/32'.length)
}
