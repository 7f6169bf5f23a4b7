import { bytesInBase64, canonicalJson, type Identity, type NodeId, nodeIdOf } from '@moot/crdt-state'
import * as z from 'zod'
import { defaults } from '../defaults.ts'

/**
 * What a node shows to a member that has never heard of it: who admitted it, who admitted that one, and so on towards
 * the founder. Members that were parted from all this let it in if one of these signers is one of theirs.
 */
export type Introduction = readonly SignedAdmission[]

/** `by` says that it let `key` into the cluster. Keys are raw ed25519, all in base64. */
export interface SignedAdmission {
  readonly key: string
  readonly by: string
  readonly signature: string
}

/** As JSON: two keys of 44 characters, a signature of 88, and their names. */
const linkMaxBytes = 256
export const introductionMaxBytes = defaults.introductionLinksMax * linkMaxBytes

export const introductionSchema: z.ZodType<Introduction> = z
  .array(z.object({ key: z.string().max(44), by: z.string().max(44), signature: z.string().max(88) }))
  .max(defaults.introductionLinksMax)

/** What a signer is to the node that was shown an introduction. */
export type Standing =
  /** A member. */
  | 'trusted'
  /** It left or was removed: its key may be in the wrong hands. */
  | 'former'
  | 'unknown'

export function signAdmission(identity: Identity, clusterId: string, key: Uint8Array): SignedAdmission {
  const admitted = base64(key)
  const signature = base64(identity.sign(signedBytes(clusterId, admitted)))
  return { key: admitted, by: base64(identity.publicKey), signature }
}

/** The introduction of a node that was admitted by the holder of `issuers`. */
export function extended(admission: SignedAdmission, issuers: Introduction): Introduction {
  return [admission, ...issuers].slice(0, defaults.introductionLinksMax)
}

/** Undefined: nobody admitted this node, so it has nothing to show. */
export function encodeIntroduction(introduction: Introduction): Uint8Array | undefined {
  return introduction.length === 0 ? undefined : new TextEncoder().encode(JSON.stringify(introduction))
}

/** Undefined: it cannot be read. Says nothing of whether its signatures hold. */
export function parseIntroduction(bytes: Uint8Array): Introduction | undefined {
  if (bytes.length > introductionMaxBytes) return undefined
  try {
    return introductionSchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch {
    return undefined
  }
}

/**
 * Does it vouch for the holder of this key? Each link was admitted by the next one's key, every signature holds, and of
 * the signers, from the newest, a trusted one comes before any former member: else a stolen key could go on admitting
 * nodes by showing who had once admitted it.
 */
export function vouches(
  introduction: Introduction,
  publicKey: Uint8Array,
  clusterId: string,
  standingOf: (signer: NodeId) => Standing,
  identity: Pick<Identity, 'verify'>,
): boolean {
  const keys = [base64(publicKey), ...introduction.map(({ by }) => by)]
  if (introduction.length === 0 || introduction.some(({ key }, index) => key !== keys[index])) return false
  // Signatures last: a stranger who names nobody here costs nothing.
  return (
    firstKnown(introduction, standingOf) === 'trusted' &&
    introduction.every((link) => holds(link, clusterId, identity))
  )
}

function firstKnown(introduction: Introduction, standingOf: (signer: NodeId) => Standing): Standing {
  for (const { by } of introduction) {
    const standing = standingOf(nodeIdOf(Buffer.from(by, 'base64')))
    if (standing !== 'unknown') return standing
  }
  return 'unknown'
}

function holds(
  { key, by, signature }: SignedAdmission,
  clusterId: string,
  identity: Pick<Identity, 'verify'>,
): boolean {
  const signer = bytesInBase64(by)
  const proof = bytesInBase64(signature)
  if (signer === undefined || proof === undefined) return false
  return identity.verify(signer, signedBytes(clusterId, key), proof)
}

function signedBytes(clusterId: string, key: string): Uint8Array {
  return new TextEncoder().encode(canonicalJson(['moot admission', clusterId, key]))
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
