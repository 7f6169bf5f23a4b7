import { createHash, timingSafeEqual } from 'node:crypto'
import type { NodeId, Storage } from '@moot/crdt-state'
import * as z from 'zod'
import type { JoinToken } from '../cluster.ts'
import type { Defaults } from '../defaults.ts'
import type { Clock } from '../ports/clock.ts'
import { TokenRefusedError, TooManyTokensError } from './errors.ts'
import { formatToken } from './token.ts'

const storedSchema = z.object({
  id: z.string(),
  /** SHA-256 of the secret, hex: the secret itself is kept nowhere. */
  hash: z.hash('sha256'),
  expiresAtMs: z.number(),
  usedBy: z.string().optional(),
})
type StoredToken = z.infer<typeof storedSchema>

export interface IssuedToken {
  readonly id: string
  readonly expiresAtMs: number
  readonly usedBy: NodeId | undefined
}

/**
 * The tokens that this node made: redeemed here and nowhere else, so "once" needs no agreement, and expiring on this
 * node's clock, so no two clocks are compared. Kept across restarts.
 */
export interface TokenIssuer {
  create(options: {
    readonly ttlMs: number
    readonly clusterId: string
    readonly issuer: NodeId
    readonly publicKey: Uint8Array
    readonly addresses: readonly string[]
  }): Promise<JoinToken>
  /**
   * Resolves once it is on the disk that this joiner used the token; the same joiner may ask again (its answer was
   * lost). Rejects with `TokenRefusedError`.
   */
  redeem(id: string, secret: string, joiner: NodeId): Promise<'first' | 'again'>
  /** Tokens that may still be used: while there are none, no stranger needs to be heard. */
  outstanding(): readonly IssuedToken[]
  list(): readonly IssuedToken[]
}

export function issueTokens(options: {
  readonly storage: Storage
  readonly clock: Clock
  readonly settings: Pick<Defaults, 'joinTokensKept' | 'joinTriesMax' | 'joinTriesWindowMs'>
  /** `bytes` random bytes as hex. */
  readonly randomHex: (bytes: number) => string
}): TokenIssuer {
  const { storage, clock, settings } = options
  const tokens = new Map<string, StoredToken>()
  for (const { bytes } of storage.list('token')) {
    const token = storedToken(bytes)
    if (token !== undefined) tokens.set(token.id, token)
  }
  /** When wrong tokens were tried, monotonic. */
  let tries: number[] = []
  /** One redemption at a time: two joiners with one token must not both be first. */
  let last: Promise<unknown> = Promise.resolve()

  async function put(token: StoredToken): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(token))
    await storage.commit([{ kind: 'put', table: 'token', key: token.id, bytes }])
    tokens.set(token.id, token)
  }

  /** Used and expired ones are kept for a while, so that they can be told from unknown ones; the oldest go first. */
  async function forgetOldest(): Promise<void> {
    const done = [...tokens.values()]
      .filter((token) => token.usedBy !== undefined || token.expiresAtMs <= clock.wallMs())
      .toSorted((a, b) => a.expiresAtMs - b.expiresAtMs)
    const gone = done.slice(0, Math.max(0, tokens.size - settings.joinTokensKept))
    if (gone.length === 0) return
    await storage.commit(gone.map(({ id }) => ({ kind: 'delete', table: 'token', key: id })))
    for (const { id } of gone) tokens.delete(id)
  }

  function refuseGuessers(): void {
    tries = tries.filter((atMs) => atMs > clock.monotonicMs() - settings.joinTriesWindowMs)
    if (tries.length >= settings.joinTriesMax) throw new TokenRefusedError('too-many-tries')
  }

  async function redeem(id: string, secret: string, joiner: NodeId): Promise<'first' | 'again'> {
    refuseGuessers()
    const token = tokens.get(id)
    // The comparison takes the same time whether or not the token exists.
    const matches = timingSafeEqual(
      hashOf(secret),
      token === undefined ? hashOf('') : Buffer.from(token.hash, 'hex'),
    )
    if (token === undefined || !matches) {
      tries.push(clock.monotonicMs())
      throw new TokenRefusedError('unknown')
    }
    if (token.usedBy === joiner) return 'again'
    if (token.usedBy !== undefined) throw new TokenRefusedError('used')
    if (token.expiresAtMs <= clock.wallMs()) throw new TokenRefusedError('expired')
    await put({ ...token, usedBy: joiner })
    return 'first'
  }

  function list(): readonly IssuedToken[] {
    return [...tokens.values()].map(({ id, expiresAtMs, usedBy }) => ({
      id,
      expiresAtMs,
      usedBy: usedBy as NodeId | undefined,
    }))
  }

  return {
    async create({ ttlMs, clusterId, issuer, publicKey, addresses }) {
      await forgetOldest()
      // All that are left to forget are still good: a script in a loop must not fill the disk.
      if (tokens.size > settings.joinTokensKept) throw new TooManyTokensError(tokens.size)
      const id = options.randomHex(8)
      const secret = options.randomHex(16)
      const expiresAtMs = clock.wallMs() + ttlMs
      await put({ id, hash: hashOf(secret).toString('hex'), expiresAtMs })
      const key = Buffer.from(publicKey).toString('base64')
      return {
        id,
        token: formatToken({ clusterId, issuer, publicKey: key, addresses, id, secret }),
        expiresAtMs,
      }
    },
    redeem(id, secret, joiner) {
      const mine = last.then(() => redeem(id, secret, joiner))
      last = mine.catch(() => undefined)
      return mine
    },
    outstanding: () =>
      list().filter(({ usedBy, expiresAtMs }) => usedBy === undefined && expiresAtMs > clock.wallMs()),
    list,
  }
}

/** Undefined: of a version that this one cannot read. The agent starts all the same; that token is unknown. */
function storedToken(bytes: Uint8Array): StoredToken | undefined {
  try {
    return storedSchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch {
    return undefined
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}
