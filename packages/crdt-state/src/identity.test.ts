import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { describe, expect, test } from 'vitest'
import {
  bytesInBase64,
  canonicalJson,
  digestId,
  generateIdentity,
  loadIdentity,
  nodeIdOf,
  resourceId,
} from './index.ts'

const bytes = Buffer.from('what was said')

describe('identity', () => {
  test('a signature holds for the key and the bytes that made it, and for no others', () => {
    const { identity } = generateIdentity()
    const other = generateIdentity().identity
    const signature = identity.sign(bytes)
    expect(identity.verify(identity.publicKey, bytes, signature)).toBe(true)
    expect(identity.verify(other.publicKey, bytes, signature)).toBe(false)
    expect(identity.verify(identity.publicKey, Buffer.from('other'), signature)).toBe(false)
  })

  test('base64 that says the same bytes in another spelling is not read', () => {
    expect(bytesInBase64('AQ==')).toEqual(Buffer.from([1]))
    for (const other of ['AR==', 'AQ', 'AQ=', 'A Q==', 'AQ==\n']) expect(bytesInBase64(other)).toBeUndefined()
    expect(bytesInBase64('_-8=')).toBeUndefined()
  })

  test('garbage for a key or a signature is no signature, and throws nothing', () => {
    const { identity } = generateIdentity()
    expect(identity.verify(Buffer.alloc(7), bytes, identity.sign(bytes))).toBe(false)
    expect(identity.verify(Buffer.alloc(32, 0xff), bytes, identity.sign(bytes))).toBe(false)
    expect(identity.verify(identity.publicKey, bytes, Buffer.from('short'))).toBe(false)
  })

  test('a key that was stored is the same key', () => {
    const { identity, secret } = generateIdentity()
    const again = loadIdentity(`${secret}\n`)
    expect(Buffer.from(again.publicKey)).toEqual(Buffer.from(identity.publicKey))
    expect(again.publicKey).toHaveLength(32)
    expect(identity.verify(identity.publicKey, bytes, again.sign(bytes))).toBe(true)
  })

  test('two agree on one secret, each with its own key and the other’s public one; a third finds another', () => {
    const [one, two, third] = Array.from({ length: 3 }, () => generateIdentity().identity)
    const secret = one!.agree(two!.publicKey)
    expect(secret).toHaveLength(32)
    expect(two!.agree(one!.publicKey)).toEqual(secret)
    expect(third!.agree(one!.publicKey)).not.toEqual(secret)
    expect(third!.agree(two!.publicKey)).not.toEqual(secret)
  })

  test('what two agree on never changes: agents of different releases must find the same', () => {
    const one = loadIdentity(Buffer.alloc(32, 1).toString('base64'))
    const two = loadIdentity(Buffer.alloc(32, 2).toString('base64'))
    const secret = Buffer.from(one.agree(two.publicKey)!).toString('hex')
    expect(secret).toMatchInlineSnapshot(`"4181d7302557342bdb6d061c4b1eebea828ecb625c3368b7111680793307220b"`)
    const key = x25519.getSharedSecret(
      ed25519.utils.toMontgomerySecret(Buffer.alloc(32, 1)),
      ed25519.utils.toMontgomery(two.publicKey),
    )
    expect(Buffer.from(key).toString('hex')).toBe(secret)
  })

  test.each([
    ['too short', '01'],
    ['no point of the curve', '02'.padEnd(64, '0')],
    ['the neutral point', '01'.padEnd(64, '0')],
    ['of order 2', 'ec'.padEnd(62, 'f') + '7f'],
    ['of order 4', '00'.padEnd(64, '0')],
    ['of order 8', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'],
    ['of order 8, the other', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'],
    ['a number beyond the field', 'ed'.padEnd(62, 'f') + '7f'],
  ])('with a key that is %s there is nothing to agree on', (_, key) => {
    expect(generateIdentity().identity.agree(Buffer.from(key, 'hex'))).toBeUndefined()
  })

  test('a key file that was cut is refused with what to do', () => {
    expect(() => loadIdentity('AAAA')).toThrow(expect.objectContaining({ code: 'ERR_BAD_KEY' }))
  })
})

describe('ids', () => {
  test('are 25 characters of base 36, the shape of Docker’s', () => {
    for (const id of [
      nodeIdOf(generateIdentity().identity.publicKey),
      resourceId('service', 'web', 1),
      digestId(),
    ]) {
      expect(id).toMatch(/^[0-9a-z]{25}$/)
    }
  })

  test('differ by kind, name and incarnation, and parts do not run into each other', () => {
    const ids = [
      resourceId('service', 'web', 1),
      resourceId('network', 'web', 1),
      resourceId('service', 'web', 2),
      resourceId('service', 'web1', 2),
      digestId('a', 'bc'),
      digestId('ab', 'c'),
      digestId('abc'),
    ]
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('never change: they are in every stored document', () => {
    expect(resourceId('service', 'web', 1)).toMatchInlineSnapshot(`"p32h7y4p0jy1cubby2q0m2n7d"`)
    expect(nodeIdOf(Buffer.alloc(32, 1))).toMatchInlineSnapshot(`"ia13ijpli4a337o6al0dox2mr"`)
  })
})

describe('canonical JSON', () => {
  test('does not depend on the order of keys', () => {
    expect(canonicalJson({ b: 1, a: { d: [1, undefined], c: null }, e: undefined })).toBe(
      '{"a":{"c":null,"d":[1,null]},"b":1}',
    )
    expect(canonicalJson(JSON.parse('{"__proto__":1,"10":1,"9":2}'))).toBe(
      canonicalJson(JSON.parse('{"9":2,"10":1,"__proto__":1}')),
    )
  })
})
