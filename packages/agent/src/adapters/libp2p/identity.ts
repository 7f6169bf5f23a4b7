import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, Ed25519PublicKey, PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { nodeIdOf } from '@moot/crdt-state'
import type { Identity, NodeId } from '@moot/crdt-state'

function publicKeyOf(raw: Uint8Array): Ed25519PublicKey {
  const key = publicKeyFromRaw(raw)
  if (key.type !== 'Ed25519') throw new Error(`a node's key is ed25519, not ${key.type}`)
  return key
}

export function peerIdOf(publicKey: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyOf(publicKey))
}

/** The raw key that an ed25519 peer id carries; undefined for every other kind of peer id. */
export function rawKeyOf(peer: PeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}

export function nodeOf(peer: PeerId): NodeId | undefined {
  const key = rawKeyOf(peer)
  return key === undefined ? undefined : nodeIdOf(key)
}

/** A libp2p key that signs through the identity port: the secret itself stays where it is. */
export function libp2pKey(identity: Identity): Ed25519PrivateKey {
  const publicKey = publicKeyOf(identity.publicKey)
  return {
    type: 'Ed25519',
    publicKey,
    get raw(): Uint8Array {
      throw new Error("the node's secret key is not given to the network library")
    },
    equals: (other?: { readonly publicKey?: unknown }) => publicKey.equals(other?.publicKey),
    sign: (data) => identity.sign(data.subarray()),
  }
}
