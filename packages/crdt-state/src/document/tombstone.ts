import * as z from 'zod'
import { canonicalJson } from '../canonical-json.ts'
import { nodeIdOf, sha256Hex } from '../hash.ts'
import { bytesInBase64 } from '../identity.ts'
import type { Identity } from '../keys.ts'
import { specKinds } from '../schema/kinds.ts'
import type { Tombstone } from '../spec-store.ts'
import type { DocumentChange } from './automerge.ts'

export const tombstoneSchema: z.ZodType<Tombstone> = z.object({
  kind: z.enum(specKinds),
  name: z.string().min(1).max(1_024),
  incarnation: z.number().int().min(1).max(0xffff_ffff),
  author: z.object({ node: z.string(), client: z.string(), atMs: z.number() }),
  knew: z.record(z.string(), z.number()).exactOptional(),
  exclusive: z.number().int().min(1).max(0xffff_ffff).exactOptional(),
  publicKey: z.string(),
  signature: z.string(),
})

/** `knew` of a tombstone: sequence numbers by the first digits of the actor. */
export type Clock = Readonly<Record<string, number>>
const actorDigits = 8

export function clockOf(changes: readonly Pick<DocumentChange, 'actor' | 'seq'>[]): Clock {
  const clock: Record<string, number> = {}
  for (const { actor, seq } of changes) {
    const digits = actor.slice(0, actorDigits)
    clock[digits] = Math.max(clock[digits] ?? 0, seq)
  }
  return clock
}

/** Were all these changes known to the remover? Unknown (`knew` absent) counts as yes: nobody is alarmed for nothing. */
export function covers(
  tombstone: Tombstone,
  changes: readonly Pick<DocumentChange, 'actor' | 'seq'>[],
): boolean {
  const { knew } = tombstone
  return (
    knew === undefined || changes.every(({ actor, seq }) => seq <= (knew[actor.slice(0, actorDigits)] ?? 0))
  )
}

export function signTombstone(
  identity: Identity,
  clusterId: string,
  content: Omit<Tombstone, 'publicKey' | 'signature'>,
): Tombstone {
  return {
    ...content,
    publicKey: Buffer.from(identity.publicKey).toString('base64'),
    signature: Buffer.from(identity.sign(signedBytes(clusterId, content))).toString('base64'),
  }
}

export function isSigned(identity: Identity, clusterId: string, tombstone: Tombstone): boolean {
  const { publicKey, signature, ...content } = tombstone
  const key = bytesInBase64(publicKey)
  const proof = bytesInBase64(signature)
  if (key === undefined || proof === undefined) return false
  return identity.verify(key, signedBytes(clusterId, content), proof)
}

/**
 * A node that left signed its own removal. Who joins later has never seen it as a member, and could otherwise believe
 * neither this nor anything else that it removed.
 */
export function isOwnLeave({ kind, name, publicKey }: Tombstone): boolean {
  return kind === 'node' && name === nodeIdOf(Buffer.from(publicKey, 'base64'))
}

function signedBytes(clusterId: string, content: Omit<Tombstone, 'publicKey' | 'signature'>): Uint8Array {
  return Buffer.from(canonicalJson(['moot tombstone 1', clusterId, content]))
}

export function tombstoneHash(tombstone: Tombstone): string {
  return sha256Hex(canonicalJson(tombstone))
}

/** The higher incarnation; of two removals of one incarnation the same on every node. */
export function supersedes(a: Tombstone, b: Tombstone | undefined): boolean {
  if (b === undefined || a.incarnation !== b.incarnation) return a.incarnation > (b?.incarnation ?? 0)
  return tombstoneHash(a) < tombstoneHash(b)
}
