import { createHash } from 'node:crypto'
import { type NodeId, nodeIdOf } from '@moot/crdt-state'
import * as z from 'zod'
import { BadTokenError } from './errors.ts'

/**
 * What a join token says: where its issuer is and who it is, and the secret that only the issuer can check. The text is
 * `MOOT-1-` and base64url of JSON and a checksum, so that a slip of the hand is told from a wrong token.
 */
export interface JoinTokenContent {
  readonly clusterId: string
  readonly issuer: NodeId
  /** Raw ed25519 key of the issuer, base64: the joiner speaks to nobody else. */
  readonly publicKey: string
  readonly addresses: readonly string[]
  readonly id: string
  readonly secret: string
}

const prefix = 'MOOT-1-'
const checksumBytes = 4
const maxTokenLength = 4096
/** As many as fit on a line that people copy. The rest are of the same host, and the first is as good as any. */
const addressesMax = 16

const contentSchema = z.object({
  c: z.string().length(25),
  k: z.string(),
  a: z.array(z.string().max(256)).min(1).max(addressesMax),
  i: z.string().max(64),
  s: z.string().max(64),
})

export function formatToken(content: JoinTokenContent): string {
  const { clusterId: c, publicKey: k, addresses, id: i, secret: s } = content
  const a = addresses.slice(0, addressesMax)
  const body = Buffer.from(JSON.stringify({ c, k, a, i, s }))
  return prefix + Buffer.concat([body, checksumOf(body)]).toString('base64url')
}

/** Throws a `BadTokenError` that says what is wrong with the text. */
export function parseToken(text: string): JoinTokenContent {
  const trimmed = text.trim()
  if (trimmed.startsWith('SWMTKN-'))
    throw new BadTokenError("it is a token of Docker Swarm; Moot's begin with MOOT-1-")
  if (!trimmed.startsWith(prefix)) throw new BadTokenError('it does not begin with MOOT-1-')
  if (trimmed.length > maxTokenLength) throw new BadTokenError('it is too long')
  const bytes = Buffer.from(trimmed.slice(prefix.length), 'base64url')
  const body = bytes.subarray(0, Math.max(0, bytes.length - checksumBytes))
  if (!checksumOf(body).equals(bytes.subarray(body.length))) {
    throw new BadTokenError('its checksum does not hold: a character is missing or wrong')
  }
  const parsed = contentSchema.safeParse(jsonOf(body))
  if (!parsed.success) throw new BadTokenError('it was made by another version of Moot')
  const { c, k, a, i, s } = parsed.data
  const issuer = nodeIdOf(Uint8Array.from(Buffer.from(k, 'base64')))
  return { clusterId: c, issuer, publicKey: k, addresses: a, id: i, secret: s }
}

function checksumOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, checksumBytes)
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
