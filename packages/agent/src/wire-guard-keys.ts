import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { RoundKey } from '@moot/crdt-state'
import { replaceFile } from './kept-file.ts'

/** A key pair of this node: the public key, and when it was made by this node's clock. */
export interface KeptKey extends RoundKey {
  readonly madeAtMs: number
}

/**
 * This node's private keys of WireGuard. They never leave its disk: the program that hands them to the kernel reads the file
 * itself. No peer can give one back, and none has to: where one is lost another is made.
 */
export interface WireGuardKeys {
  /** By round. */
  list(): readonly KeptKey[]
  /** Durable when it returns. `secretHex`: 32 random bytes. */
  make(round: number, secretHex: string, atMs: number): KeptKey
  remove(round: number): void
}

/** Where the private key of a round lies in a data directory, as `wg` reads it: base64. */
export function wireGuardKeyFile(directory: string, round: number): string {
  return join(directory, `wireguard-${round}.key`)
}

export function directoryWireGuardKeys(directory: string): WireGuardKeys {
  return {
    list() {
      const keys = readdirSync(directory).flatMap((name) => {
        const round = /^wireguard-(\d{1,15})\.key$/.exec(name)?.[1]
        return round === undefined ? [] : (readKey(directory, Number(round)) ?? [])
      })
      return keys.sort((a, b) => a.round - b.round)
    },
    make(round, secretHex, atMs) {
      const secret = Buffer.from(secretHex, 'hex')
      replaceFile(wireGuardKeyFile(directory, round), `${secret.toString('base64')}\n`)
      return { round, key: publicKeyOf(secret), madeAtMs: atMs }
    },
    remove: (round) => rmSync(wireGuardKeyFile(directory, round), { force: true }),
  }
}

/** Undefined where the file holds no key. A key with a flipped bit is one as good as any other, which nobody knows yet. */
function readKey(directory: string, round: number): KeptKey | undefined {
  const path = wireGuardKeyFile(directory, round)
  const secret = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64')
  if (secret.length !== secretBytes) return undefined
  return { round, key: publicKeyOf(secret), madeAtMs: statSync(path).mtimeMs }
}

/** The twin: in memory. */
export function memoryWireGuardKeys(): WireGuardKeys {
  const keys = new Map<number, KeptKey>()
  return {
    list: () => [...keys.values()].sort((a, b) => a.round - b.round),
    make(round, secretHex, atMs) {
      const made = { round, key: publicKeyOf(Buffer.from(secretHex, 'hex')), madeAtMs: atMs }
      keys.set(round, made)
      return made
    },
    remove(round) {
      keys.delete(round)
    },
  }
}

const secretBytes = 32
/** RFC 8410: what stands before the 32 bytes of a private key of X25519, and of a public one. */
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex')
const publicPrefixBytes = 12

/** As `wg pubkey` gives it. */
function publicKeyOf(secret: Buffer): string {
  const key: KeyObject = createPrivateKey({
    key: Buffer.concat([privatePrefix, secret]),
    format: 'der',
    type: 'pkcs8',
  })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return spki.subarray(publicPrefixBytes).toString('base64')
}
