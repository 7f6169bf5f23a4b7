/** The identity port: ed25519 over bytes. The node's key signs its record and its tombstones; peers' are checked. */
export interface Identity {
  /** Raw 32-byte public key. */
  readonly publicKey: Uint8Array
  sign(bytes: Uint8Array): Uint8Array
  /** Is it this key's signature of these bytes? Never throws: a malformed one does not hold. */
  verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean
  /**
   * The 32 bytes that only this key's holder and that one's can know, the same from both sides: not yet a key, derive
   * one from them. Undefined where there are none: what is malformed or of low order is nobody's key. Never throws.
   */
  agree(publicKey: Uint8Array): Uint8Array | undefined
}
