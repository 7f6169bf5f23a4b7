import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hash,
  sign as cryptoSign,
  verify as cryptoVerify,
  type KeyObject,
} from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import type { Identity } from './keys.ts'
import { BadKeyError } from './errors.ts'

/** RFC 8410: what stands before the raw 32 bytes of an ed25519 key in PKCS #8 and in SPKI. */
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex')
/** The same of X25519. */
const agreementPrivatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex')
const agreementPublicPrefix = Buffer.from('302a300506032b656e032100', 'hex')
const keyBytes = 32

/** A new key. `secret` is the text to keep (mode 0600) and to give to `loadIdentity` later. */
export function generateIdentity(): { readonly identity: Identity; readonly secret: string } {
  const pkcs8 = generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' })
  const secret = pkcs8.subarray(privatePrefix.length).toString('base64')
  return { identity: loadIdentity(secret), secret }
}

/** From the secret's text (base64 of the 32 raw bytes). Throws `BadKeyError`. */
export function loadIdentity(secret: string): Identity {
  const raw = Buffer.from(secret.trim(), 'base64')
  if (raw.length !== keyBytes) throw new BadKeyError(raw.length)
  const privateKey = createPrivateKey({
    key: Buffer.concat([privatePrefix, raw]),
    format: 'der',
    type: 'pkcs8',
  })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  let agreementKey: KeyObject | undefined
  return {
    publicKey: Uint8Array.from(spki.subarray(publicPrefix.length)),
    sign: (bytes) => Uint8Array.from(cryptoSign(null, bytes, privateKey)),
    verify,
    agree: (publicKey) => agreed((agreementKey ??= agreementKeyOf(raw)), publicKey),
  }
}

/** The scalar behind an ed25519 key (RFC 8032, 5.1.5); X25519 clears and sets the same bits of it (RFC 7748, 5). */
function agreementKeyOf(secret: Uint8Array): KeyObject {
  const scalar = hash('sha512', secret, 'buffer').subarray(0, keyBytes)
  return createPrivateKey({
    key: Buffer.concat([agreementPrivatePrefix, scalar]),
    format: 'der',
    type: 'pkcs8',
  })
}

/** X25519 of two ed25519 keys. Half a millisecond: the other's key is put into Montgomery's form first (RFC 7748, 4.1). */
function agreed(privateKey: KeyObject, publicKey: Uint8Array): Uint8Array | undefined {
  if (publicKey.length !== keyBytes) return undefined
  try {
    const theirs = createPublicKey({
      key: Buffer.concat([agreementPublicPrefix, ed25519.utils.toMontgomery(publicKey)]),
      format: 'der',
      type: 'spki',
    })
    // Throws where the secret would be nought, as any key of low order makes it.
    return Uint8Array.from(diffieHellman({ privateKey, publicKey: theirs }))
  } catch {
    return undefined
  }
}

/** Importing a key costs more than half of a verification; a cluster has few keys. */
const importedKeys = new Map<string, KeyObject>()
const importedKeysMax = 2_048

function verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== keyBytes) return false
  try {
    return cryptoVerify(null, bytes, importedKey(publicKey), signature)
  } catch {
    return false
  }
}

function importedKey(publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString('base64')
  const known = importedKeys.get(name)
  if (known !== undefined) return known
  const key = createPublicKey({
    key: Buffer.concat([publicPrefix, publicKey]),
    format: 'der',
    type: 'spki',
  })
  if (importedKeys.size >= importedKeysMax) importedKeys.clear()
  importedKeys.set(name, key)
  return key
}

/**
 * Base64 in its one spelling; undefined for any other. Decoders pass over unused bits and strange letters, so a
 * signature would hold in many spellings, and two copies of one record or removal would not look the same.
 */
export function bytesInBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
