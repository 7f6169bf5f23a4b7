/** The identity port: ed25519 over bytes. The node's key signs its record and its tombstones. */
export interface Identity {
  /** Raw 32-byte public key. */
  readonly publicKey: Uint8Array
  sign(bytes: Uint8Array): Uint8Array
}
