import { describe, expect, test } from 'vitest'
import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import { advertised, dialable, hostAndPort } from './address.ts'
import { peerIdOf } from './identity.ts'

const { publicKey } = generateIdentity().identity
const peer = peerIdOf(publicKey)
const node = nodeIdOf(publicKey)
const other = peerIdOf(generateIdentity().identity.publicKey)

describe('an address to advertise', () => {
  test.each([
    ['10.0.0.1', '/ip4/10.0.0.1/tcp/7420'],
    ['10.0.0.1:9000', '/ip4/10.0.0.1/tcp/9000'],
    ['fd00::1', '/ip6/fd00::1/tcp/7420'],
    ['[fd00::1]:9000', '/ip6/fd00::1/tcp/9000'],
    ['moot.example.org', '/dns/moot.example.org/tcp/7420'],
    ['moot.example.org:9000', '/dns/moot.example.org/tcp/9000'],
    ['/ip4/10.0.0.1/tcp/9000', '/ip4/10.0.0.1/tcp/9000'],
  ])('%s becomes %s with the peer id', (given, expected) => {
    expect(advertised(given, 7420, peer)).toBe(`${expected}/p2p/${peer.toString()}`)
  })

  test.each(['', ':7420', '10.0.0.1:70000', 'two words', '[fd00::1', '/ip4/nowhere/tcp/1'])(
    '"%s" is refused with what would do',
    (given) => {
      expect(() => advertised(given, 7420, peer)).toThrow(/give a host/)
    },
  )
})

test('of the addresses given for a node, those of others and unreadable ones are left out', () => {
  const found = dialable(node, [
    `/ip4/10.0.0.1/tcp/7420/p2p/${peer.toString()}`,
    `/ip4/10.0.0.2/tcp/7420/p2p/${other.toString()}`,
    '/ip4/10.0.0.3/tcp/7420',
    '/nonsense',
    '/ip4/10.0.0.4/tcp/7420/p2p/nobody',
  ])
  expect(found.map((address) => address.toString())).toEqual([
    `/ip4/10.0.0.1/tcp/7420/p2p/${peer.toString()}`,
    `/ip4/10.0.0.3/tcp/7420/p2p/${peer.toString()}`,
  ])
})

test('host and port are read from what libp2p prints', () => {
  expect(hostAndPort(`/ip6/fd00::1/tcp/7420/p2p/${peer.toString()}`)).toEqual({ host: 'fd00::1', port: 7420 })
  expect(hostAndPort('/unix/tmp')).toBeUndefined()
})
