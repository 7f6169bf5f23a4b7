import {
  generateIdentity,
  memoryStorage,
  type NodeId,
  nodeIdOf,
  openSpecStore,
  type SpecStore,
} from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyText } from '@moot/crdt-state/testing/any-text'
import { damaged, damages } from '@moot/crdt-state/testing/damaged-bytes'
import { defaults } from '../defaults.ts'
import { JoinFailedError } from '../errors.ts'
import { memoryClock } from '../ports/clock.memory.ts'
import type { JoinHandler, Mesh } from '../ports/mesh.ts'
import { admitJoiners, joinThrough } from './admission.ts'
import { BadTokenError, TokenRefusedError } from './errors.ts'
import { issueTokens } from './issuer.ts'
import { formatToken, type JoinTokenContent, parseToken } from './token.ts'

/** Letters one by one, or a pattern, are slow to draw. */
const padded = (length: number, radix: 16 | 36): fc.Arbitrary<string> =>
  fc.nat().map((number) => number.toString(radix).padStart(length, '0'))
const id = padded(25, 36)
const address = fc.oneof(
  fc.tuple(fc.ipV4(), fc.nat({ max: 65_535 })).map(([host, port]) => `/ip4/${host}/tcp/${port}`),
  fc
    .tuple(fc.constantFrom('a.example', 'xn--bcher-kva.example'), fc.nat({ max: 65_535 }))
    .map(([host, port]) => `/dns/${host}/tcp/${port}`),
)
const addresses = fc.array(address, { minLength: 1, maxLength: 16 })
const content: fc.Arbitrary<JoinTokenContent> = fc
  .record({
    clusterId: id,
    publicKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    addresses,
    id: padded(16, 16),
    secret: padded(32, 16),
  })
  .map(({ publicKey, ...rest }) => ({
    ...rest,
    publicKey: Buffer.from(publicKey).toString('base64'),
    issuer: nodeIdOf(publicKey),
  }))

function parsed(text: string): JoinTokenContent | undefined {
  try {
    return parseToken(text)
  } catch (error) {
    if (error instanceof BadTokenError) return undefined
    throw error
  }
}

describe('a join token', () => {
  test('says what it was made of, whatever stands around it on the line', () => {
    const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/)
    fc.assert(
      fc.property(content, space, space, (content, before, after) => {
        expect(parseToken(before + formatToken(content) + after)).toEqual(content)
      }),
      { numRuns: 100 },
    )
  })

  test('of a host with more addresses than fit names the first of them, and can be used', () => {
    fc.assert(
      fc.property(content, fc.array(address, { minLength: 17, maxLength: 200 }), (content, addresses) => {
        const token = formatToken({ ...content, addresses })
        expect(parseToken(token)).toEqual({ ...content, addresses: addresses.slice(0, 16) })
      }),
      { numRuns: 20 },
    )
  })

  test('that was damaged is told to be none, or says the same', () => {
    fc.assert(
      fc.property(content, damages, anyText(40), (content, by, noise) => {
        const text = Buffer.from(damaged(Buffer.from(formatToken(content)), by)).toString('utf8')
        expect(parsed(text) ?? content).toEqual(content)
        for (const each of [noise, `MOOT-1-${noise}`]) expect(parsed(each)).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  test('with a sound checksum over anything else is told to be of another version', () => {
    const shape = fc.record(
      { c: fc.anything(), k: fc.anything(), a: fc.anything(), i: fc.anything(), s: fc.anything() },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(content, shape, (content, { c, k, a, i, s }) => {
        // Whoever made it did not check its parts.
        const made = {
          clusterId: c ?? content.clusterId,
          publicKey: k ?? content.publicKey,
          addresses: Array.isArray(a) ? a : [a],
          id: i ?? content.id,
          secret: s ?? content.secret,
        } as unknown as JoinTokenContent
        let text: string
        try {
          text = formatToken(made)
        } catch {
          // Not even JSON.
          return
        }
        const read = parsed(text)
        if (read === undefined) return
        expect(read.clusterId).toHaveLength(25)
        expect(read.addresses.every((each) => typeof each === 'string')).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

const { identity } = generateIdentity()
const issuer = nodeIdOf(identity.publicKey)
const clusterId = 'c'.repeat(25)
let drawn = 0
const newActor = (): string => String((drawn += 1)).padStart(32, '0')
const openSpecs = (): Promise<SpecStore> =>
  openSpecStore({ storage: memoryStorage(), identity, clusterId, newActor })

/** A mesh of which joining uses this much. */
function joiningMesh(answer: Uint8Array): {
  readonly mesh: Mesh
  readonly heard: () => JoinHandler | undefined
} {
  let handler: JoinHandler | undefined
  const mesh = {
    addresses: () => ['/ip4/10.0.0.1/tcp/7420'],
    join: async () => answer,
    onJoin: (given: JoinHandler | undefined) => {
      handler = given
    },
  } as unknown as Mesh
  return { mesh, heard: () => handler }
}

const noise = fc.oneof(
  fc.uint8Array(),
  fc.json().map((text) => Buffer.from(text)),
  fc.array(fc.jsonValue()).map((messages) => Buffer.from(JSON.stringify({ clusterId, messages }))),
)

describe('joining', () => {
  test('fails with words for people, whatever the issuer answers', async () => {
    const specs = await openSpecs()
    const token = { clusterId, issuer, publicKey: '', addresses: [], id: 'i', secret: 's' }
    await fc.assert(
      fc.asyncProperty(noise, async (answer) => {
        const { mesh } = joiningMesh(answer)
        const joined = joinThrough({ mesh, specs }, issuer, token, new AbortController().signal)
        expect(await joined.catch((error: unknown) => error)).toBeInstanceOf(JoinFailedError)
        expect(specs.all('node').size).toBe(0)
      }),
      { numRuns: 200 },
    )
  })

  test('is refused with words for people, whatever the joiner asks, and admits nobody', async () => {
    const specs = await openSpecs()
    const clock = memoryClock()
    const { mesh, heard } = joiningMesh(new Uint8Array())
    const storage = memoryStorage()
    const randomHex = (bytes: number): string => `${(drawn += 1)}`.padStart(bytes * 2, 'f')
    const settings = { ...defaults, joinTriesMax: Number.MAX_SAFE_INTEGER }
    const tokens = issueTokens({ storage, clock, settings, randomHex })
    const commit = async (): Promise<void> => undefined
    const admission = admitJoiners({
      self: issuer,
      clusterId,
      identity,
      introduction: () => [],
      specs,
      mesh,
      commit,
      issuer: tokens,
      clock,
    })
    const { id } = await admission.createToken(60_000)
    const joiner = { node: 'j'.repeat(25) as NodeId, publicKey: new Uint8Array(32) }
    const asked = fc.oneof(
      noise,
      fc
        .record({ token: fc.oneof(fc.constant(id), fc.string()), secret: fc.string(), addresses })
        .map((request) => Buffer.from(JSON.stringify(request))),
    )
    await fc.assert(
      fc.asyncProperty(asked, async (request) => {
        const error = await heard()!(joiner, request).catch((error: unknown) => error)
        expect(error instanceof JoinFailedError || error instanceof TokenRefusedError).toBe(true)
        expect(specs.all('node').size).toBe(0)
      }),
      { numRuns: 200 },
    )
    admission.stop()
  })

  test('is possible with a token that was kept, and its issuer starts whatever else is kept', async () => {
    const clock = memoryClock()
    await fc.assert(
      fc.asyncProperty(damages, fc.option(fc.oneof(fc.uint8Array(), noise)), async (by, row) => {
        const storage = memoryStorage()
        const open = (): ReturnType<typeof issueTokens> =>
          issueTokens({
            storage,
            clock,
            settings: defaults,
            randomHex: (bytes) => `${(drawn += 1)}`.padStart(bytes * 2, 'f'),
          })
        const { publicKey } = identity
        const made = { ttlMs: 60_000, clusterId, issuer, publicKey, addresses: ['/ip4/10.0.0.1/tcp/1'] }
        const [good, bad] = [await open().create(made), await open().create(made)]
        expect(open().list()).toHaveLength(2)
        const stored = storage.get('token', bad.id)!
        await storage.commit([
          { kind: 'put', table: 'token', key: bad.id, bytes: row ?? damaged(stored, by) },
        ])
        const tokens = open()
        const joiner = 'j'.repeat(25) as NodeId
        const { id, secret } = parseToken(good.token)
        expect(await tokens.redeem(id, secret, joiner)).toBe('first')
        const other = parseToken(bad.token)
        const outcome = await tokens.redeem(other.id, other.secret, joiner).catch((error: unknown) => error)
        expect(outcome === 'first' || outcome === 'again' || outcome instanceof TokenRefusedError).toBe(true)
      }),
      { numRuns: 150 },
    )
  })
})
