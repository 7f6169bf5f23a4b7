import type { ResourceId, ServiceId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { nodeId } from '../placement/fixtures.ts'
import { explainBlockWait, explainPeerTrouble, explainServiceWait, explainSubnetWait } from './network.ts'

const names = (id: ResourceId) => id
const other = 'other' as ServiceId
const front = 'front' as ResourceId

describe('what a network waits for is said with what to do about it', () => {
  test.each([
    [{ kind: 'not-drawn' }, /about to be drawn/],
    [
      { kind: 'drawn-taken', subnet: '10.1.0.0/18', by: front },
      /10\.1\.0\.0\/18.* network front, which keeps it/,
    ],
    [
      { kind: 'given-taken', subnet: '10.1.0.0/18', by: front },
      /overlaps with that of network front.*--subnet/,
    ],
    [{ kind: 'too-small', subnet: '10.1.0.0/30' }, /10\.1\.0\.0\/30 is too small: .* takes a \/28/],
    [{ kind: 'not-for-hosts', subnet: '127.0.0.0/8', what: 'loopback' }, /not for hosts \(loopback\)/],
    [{ kind: 'pool-full', pool: ['10.128.0.0/9'], bits: 18 }, /no \/18 is free in 10\.128\.0\.0\/9/],
  ] as const)('%j', (wait, sentence) => {
    expect(explainSubnetWait(wait, names)).toMatch(sentence)
  })

  test('a node without an address for a container', () => {
    expect(explainBlockWait({ kind: 'no-subnet', network: front }, names)).toBe(
      'network front has no subnet yet',
    )
    const full = {
      kind: 'no-block-free',
      network: front,
      subnet: '10.1.0.0/28',
      blocks: 3,
      nodes: 3,
    } as const
    expect(explainBlockWait(full, names)).toBe(
      'all 3 blocks of network front (10.1.0.0/28) are taken by 3 nodes: the network needs a larger subnet, or fewer tasks',
    )
    expect(explainBlockWait({ ...full, nodes: 1 }, names)).toContain('taken by one node:')
  })
})

describe('what a service waits for is said with what to do about it', () => {
  test.each([
    [{ kind: 'no-network', target: 'later' }, /network later is not known/],
    [{ kind: 'no-ingress' }, /ingress is about to be made/],
    [{ kind: 'no-subnet', network: front }, /network front has no subnet/],
    [{ kind: 'vip-not-drawn', network: front }, /network front is about to be drawn/],
    [
      { kind: 'vip-taken', network: front, address: '10.1.0.9', by: other },
      /10\.1\.0\.9 .* service other, which keeps it/,
    ],
    [{ kind: 'vips-full', network: front, virtual: '10.1.0.0/30' }, /no virtual IP is free .*larger subnet/],
    [
      { kind: 'port-taken', port: '80/tcp', by: other, mode: 'ingress' },
      /published by service other, which comes first/,
    ],
    [{ kind: 'port-taken', port: '80/tcp', by: other, mode: 'host' }, /service other in host mode, which/],
    [{ kind: 'port-not-drawn', port: '80/tcp' }, /80\/tcp is about to be drawn/],
    [{ kind: 'ports-full', first: 30_000, last: 32_767 }, /between 30000 and 32767 is free/],
  ] as const)('%j', (wait, sentence) => {
    expect(explainServiceWait(wait, names)).toMatch(sentence)
  })
})

test.each([
  [{ kind: 'no-underlay' }, /^node-7: no IPv4 address/],
  [{ kind: 'no-mark' }, /^node-7: .*4,095/],
  [
    { kind: 'inside-subnet', address: '10.1.0.9', network: front, subnet: '10.1.0.0/18' },
    /10\.1\.0\.9 lies in .*network front/,
  ],
] as const)('a member that is not reached is named, with the reason: %j', (trouble, sentence) => {
  expect(explainPeerTrouble({ ...trouble, node: nodeId('x') }, () => 'node-7', names)).toMatch(sentence)
})
