import { generateIdentity } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { pairKey } from './pair-key.ts'

const [one, two, third] = Array.from({ length: 3 }, () => generateIdentity().identity) as [
  ReturnType<typeof generateIdentity>['identity'],
  ReturnType<typeof generateIdentity>['identity'],
  ReturnType<typeof generateIdentity>['identity'],
]

test('both of a pair find the same key, and every other pair another', () => {
  const key = pairKey(one, two.publicKey, 'cluster')
  expect(key).toHaveLength(32)
  expect(pairKey(two, one.publicKey, 'cluster')).toEqual(key)
  expect(pairKey(one, third.publicKey, 'cluster')).not.toEqual(key)
  expect(pairKey(two, third.publicKey, 'cluster')).not.toEqual(key)
})

test('the same two nodes have another key in another cluster', () => {
  expect(pairKey(one, two.publicKey, 'other')).not.toEqual(pairKey(one, two.publicKey, 'cluster'))
})

test('there is no key with what is no public key', () => {
  expect(pairKey(one, new Uint8Array(32), 'cluster')).toBeUndefined()
})
