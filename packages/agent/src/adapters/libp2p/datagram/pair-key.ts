import { hkdfSync } from 'node:crypto'
import type { Identity } from '@moot/crdt-state'

/** Another version of the packet is another key: it is not read as ours. */
const version = 'moot datagram 1'

/**
 * The key of this node and one member in one cluster, which each finds for itself from its own secret and the other's
 * public key: nothing is exchanged, and a restarted agent has it again. Undefined for what is nobody's public key.
 */
export function pairKey(
  identity: Identity,
  publicKey: Uint8Array,
  clusterTag: string,
): Uint8Array | undefined {
  const secret = identity.agree(publicKey)
  return secret === undefined
    ? undefined
    : new Uint8Array(hkdfSync('sha256', secret, clusterTag, version, 32))
}
