import { createHash, createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/**
 * A question and its answer, both of the same length: kind 1 | sender's tag 4 | nonce 8 | age 1 | MAC 8. What is
 * answered can be no amplifier then, and a datagram says nothing to whoever has no key.
 */
export const packetBytes = 22
const tagAt = 1
const nonceAt = 5
const ageAt = 13
const macAt = 14

const kindBytes = { question: 0x51, answer: 0x41 } as const

/** The age of the answering agent's main loop goes in these. */
export const ageUnitMs = 250
export const ageMax = 255

export interface Packet {
  readonly kind: 'question' | 'answer'
  /** Who sent it, as `tagOf` has it: a hint which key to try, no proof. */
  readonly tag: number
  /** Drawn by the asker, repeated by the answer. */
  readonly nonce: bigint
  /** In units of `ageUnitMs`, `ageMax` for all that is more. A question has 0. */
  readonly age: number
}

/** The pair's key, and which way it goes: what one says to the other cannot be sent back to it, or on to a third. */
export interface Direction {
  readonly key: KeyObject
  readonly from: string
  readonly to: string
}

/** Four bytes that stand for a member in this cluster; two may share them. */
export function tagOf(node: string, clusterTag: string): number {
  return createHash('sha256').update(`moot datagram\0${clusterTag}\0${node}`).digest().readUInt32BE()
}

/** The form in which a key is used: from its bytes each MAC would take ten times as long (35 µs instead of 4). */
export function macKey(key: Uint8Array): KeyObject {
  return createSecretKey(key)
}

export function encodePacket(packet: Packet, direction: Direction): Buffer {
  const bytes = Buffer.alloc(packetBytes)
  bytes[0] = kindBytes[packet.kind]
  bytes.writeUInt32BE(packet.tag, tagAt)
  bytes.writeBigUInt64BE(packet.nonce, nonceAt)
  bytes[ageAt] = packet.age
  bytes.set(macOf(bytes, direction), macAt)
  return bytes
}

/** What it says, proven or not; undefined for what is no packet of ours. */
export function readPacket(bytes: Buffer): Packet | undefined {
  if (bytes.length !== packetBytes) return undefined
  const kind = bytes[0] === kindBytes.question ? 'question' : 'answer'
  if (bytes[0] !== kindBytes[kind]) return undefined
  return {
    kind,
    tag: bytes.readUInt32BE(tagAt),
    nonce: bytes.readBigUInt64BE(nonceAt),
    age: bytes[ageAt] ?? 0,
  }
}

/** Was it made with this key, for this direction? */
export function isProven(bytes: Buffer, direction: Direction): boolean {
  return timingSafeEqual(bytes.subarray(macAt), macOf(bytes, direction))
}

function macOf(bytes: Buffer, { key, from, to }: Direction): Buffer {
  return createHmac('sha256', key)
    .update(bytes.subarray(0, macAt))
    .update(`${from}\0${to}`)
    .digest()
    .subarray(0, packetBytes - macAt)
}
