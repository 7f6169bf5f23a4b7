import { createHash } from 'node:crypto'
import { canonicalJson } from './canonical-json.ts'
import type { NodeId, ResourceId } from './ids.ts'
import type { SpecKind } from './schema/resources.ts'

const idLength = 25
const idSpace = 36n ** BigInt(idLength)

export function sha256(bytes: Uint8Array | string): Buffer {
  return createHash('sha256').update(bytes).digest()
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** 25 base-36 characters (129 bits) of a SHA-256: the shape of Docker's ids. */
function base36Id(hash: Buffer): string {
  const number = BigInt(`0x${hash.toString('hex')}`) % idSpace
  return number.toString(36).padStart(idLength, '0')
}

/** A 25-character id that is a value of its parts; parts cannot run into each other (`a,bc` is not `ab,c`). */
export function digestId(...parts: string[]): string {
  return base36Id(sha256(canonicalJson(parts)))
}

export function nodeIdOf(publicKey: Uint8Array): NodeId {
  return base36Id(sha256(publicKey)) as NodeId
}

/** The document's id: the same on every side of a partition that creates this name. */
export function resourceId(kind: SpecKind, name: string, incarnation: number): ResourceId {
  return digestId('resource', kind, name, String(incarnation)) as ResourceId
}
