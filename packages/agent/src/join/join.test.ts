import { generateIdentity, memoryStorage, type MemoryStorage, nodeIdOf, type NodeId } from '@moot/crdt-state'
import { beforeEach, describe, expect, it } from 'vitest'
import { defaults } from '../defaults.ts'
import { type MemoryClock, memoryClock } from '../ports/clock.memory.ts'
import { issueTokens, type TokenIssuer } from './issuer.ts'
import { type JoinTokenContent, parseToken } from './token.ts'

const { identity } = generateIdentity()
const issuer = nodeIdOf(identity.publicKey)
const anna = 'a'.repeat(25) as NodeId
const berta = 'b'.repeat(25) as NodeId

describe('join tokens', () => {
  let storage: MemoryStorage
  let clock: MemoryClock
  let tokens: TokenIssuer
  let drawn = 0
  const open = (): TokenIssuer =>
    issueTokens({
      storage,
      clock,
      settings: defaults,
      randomHex: (bytes) => `${drawn++}`.padStart(bytes * 2, 'f'),
    })
  const make = async (ttlMs = 60_000): Promise<JoinTokenContent> => {
    const addresses = ['/ip4/10.0.0.1/tcp/7420']
    const { token } = await tokens.create({
      ttlMs,
      clusterId: 'c'.repeat(25),
      issuer,
      publicKey: identity.publicKey,
      addresses,
    })
    return parseToken(token)
  }

  beforeEach(() => {
    storage = memoryStorage()
    clock = memoryClock()
    tokens = open()
  })

  it('say where the issuer is and who it is', async () => {
    expect(await make()).toMatchObject({
      clusterId: 'c'.repeat(25),
      issuer,
      addresses: ['/ip4/10.0.0.1/tcp/7420'],
    })
  })

  it.each([
    ['SWMTKN-1-abc', /token of Docker Swarm/],
    ['hello', /does not begin with MOOT-1-/],
    ['MOOT-1-', /checksum/],
    [`MOOT-1-${'A'.repeat(5_000)}`, /too long/],
  ])('%.12s is none, and the message says why', (text, message) =>
    expect(() => parseToken(text)).toThrow(message),
  )

  it('with a character changed or missing are recognised as mistyped', async () => {
    const { token } = await tokens.create({
      ttlMs: 1,
      clusterId: 'c'.repeat(25),
      issuer,
      publicKey: identity.publicKey,
      addresses: ['/ip4/10.0.0.1/tcp/7420'],
    })
    expect(() => parseToken(token.slice(0, -1))).toThrow(/checksum/)
    const at = token.length - 20
    expect(() =>
      parseToken(token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)),
    ).toThrow(/checksum/)
  })

  it('work once, and again for the joiner whose answer was lost', async () => {
    const { id, secret } = await make()
    await tokens.redeem(id, secret, anna)
    await tokens.redeem(id, secret, anna)
    await expect(tokens.redeem(id, secret, berta)).rejects.toMatchObject({ why: 'used' })
    expect(tokens.outstanding()).toEqual([])
  })

  it('are not redeemed twice by two joiners at the same moment', async () => {
    const { id, secret } = await make()
    const outcomes = await Promise.allSettled(
      [anna, berta].map((joiner) => tokens.redeem(id, secret, joiner)),
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it("expire on the issuer's clock", async () => {
    const { id, secret } = await make(1_000)
    await clock.advance(1_000)
    expect(tokens.outstanding()).toEqual([])
    await expect(tokens.redeem(id, secret, anna)).rejects.toMatchObject({ why: 'expired' })
  })

  it('a wrong secret and an unknown token are told alike', async () => {
    const { id } = await make()
    const wrong = await tokens.redeem(id, 'wrong', anna).catch((error: unknown) => String(error))
    const unknown = await tokens.redeem('nobody', 'wrong', anna).catch((error: unknown) => String(error))
    expect(wrong).toMatch(/not valid here/)
    expect(unknown).toBe(wrong)
  })

  it('guessing is stopped for a while', async () => {
    const { id, secret } = await make(3_600_000)
    for (let each = 0; each < defaults.joinTriesMax; each++)
      await tokens.redeem(id, 'wrong', anna).catch(() => undefined)
    await expect(tokens.redeem(id, secret, anna)).rejects.toMatchObject({ why: 'too-many-tries' })
    await clock.advance(defaults.joinTriesWindowMs)
    await tokens.redeem(id, secret, anna)
  })

  it('outlive the agent: what was used stays used, and what was not can be', async () => {
    const used = await make()
    await tokens.redeem(used.id, used.secret, anna)
    const open1 = await make()
    storage.crash()
    tokens = open()
    await expect(tokens.redeem(used.id, used.secret, berta)).rejects.toMatchObject({ why: 'used' })
    await tokens.redeem(open1.id, open1.secret, berta)
  })

  it('are kept in bounded number, the old ones that can no longer be used first', async () => {
    for (let each = 0; each < defaults.joinTokensKept + 5; each++) {
      await make(1_000)
      await clock.advance(1_000)
    }
    const { id } = await make()
    expect(tokens.list().length).toBeLessThanOrEqual(defaults.joinTokensKept + 1)
    expect(tokens.list().map((token) => token.id)).toContain(id)
  })

  it('are not made without end while none is used', async () => {
    for (let each = 0; each <= defaults.joinTokensKept; each++) await make()
    await expect(make()).rejects.toMatchObject({ code: 'ERR_TOO_MANY_TOKENS' })
    await clock.advance(60_000)
    await make()
  })

  it('no secret is on the disk', async () => {
    const { secret } = await make()
    for (const { bytes } of storage.list('token'))
      expect(new TextDecoder().decode(bytes)).not.toContain(secret)
  })
})
