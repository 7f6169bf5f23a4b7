import type { NodeId } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeId } from '../placement/fixtures.ts'
import { formatAddress } from './ipv4.ts'
import { MemberStatuses } from './members.ts'
import {
  memberHosts,
  membersInside,
  peerMarkLast,
  peerMarks,
  peersOf,
  tunnelMac,
  underlayOf,
} from './peers.ts'
import { network, viewOf, type Scene } from './scene.testing.ts'
import { subnetsOf } from './subnets.ts'

const scene: Scene = {
  hosts: [
    { name: 'a', address: '192.168.0.1' },
    { name: 'b', address: '192.168.0.2' },
    { name: 'c', address: '10.128.3.4' },
  ],
}
const members = new MemberStatuses().update(viewOf(scene))
const self = nodeId('a')
const marks = peerMarks([nodeId('b'), nodeId('c')], new Map())

describe('peers', () => {
  test('are all other members, with address, MAC and mark', () => {
    const { peers, troubles } = peersOf(self, members, marks)
    expect(peers).toEqual([
      {
        node: nodeId('b'),
        underlay: '192.168.0.2',
        mac: tunnelMac(nodeId('b')),
        mark: marks.get(nodeId('b')),
      },
      {
        node: nodeId('c'),
        underlay: '10.128.3.4',
        mac: tunnelMac(nodeId('c')),
        mark: marks.get(nodeId('c')),
      },
    ])
    expect(troubles).toEqual([])
  })

  test('are not those whose address is not known, which is said', () => {
    const view = viewOf(scene)
    const silent = new MemberStatuses().update({ ...view, records: new Map() })
    expect(peersOf(self, silent, marks)).toEqual({
      peers: [],
      troubles: [
        { kind: 'no-underlay', node: nodeId('b') },
        { kind: 'no-underlay', node: nodeId('c') },
      ],
    })
  })

  test('are reached where their mesh port is, never at a loopback address', () => {
    const [member] = members.values()
    const at = (...meshAddresses: string[]) =>
      underlayOf({ ...member!, status: { ...member!.status!, meshAddresses } })
    expect(at('/ip6/::1/tcp/7420', '/ip4/127.0.0.1/tcp/7420', '/ip4/10.9.0.1/tcp/7420')).toBe('10.9.0.1')
    expect(at()).toBe('192.168.0.1')
    const Addresses = ['/ip4/10.7.0.1/tcp/7420']
    const settings = { ...member!.settings, spec: { ...member!.settings.spec, Addresses } }
    expect(underlayOf({ settings, status: undefined })).toBe('10.7.0.1')
  })

  test('that lie in a network’s subnet are told', () => {
    const subnets = subnetsOf(
      new Map([network('front', { subnet: '10.128.0.0/18' })].map((each) => [each.id, each])),
    )
    const [front] = subnets.keys()
    expect(membersInside(members, subnets)).toEqual([
      {
        kind: 'inside-subnet',
        node: nodeId('c'),
        address: '10.128.3.4',
        network: front,
        subnet: '10.128.0.0/18',
      },
    ])
    expect(memberHosts(members).map(formatAddress)).toEqual(['10.128.3.4', '192.168.0.1', '192.168.0.2'])
  })

  test('are looked at anew only where a member says something new of itself', () => {
    const statuses = new MemberStatuses()
    const view = viewOf(scene)
    const before = statuses.update(view)
    const record = view.records.get(self)!
    expect(
      statuses.update({ ...view, records: new Map(view.records).set(self, { ...record, seq: 9 }) }),
    ).toBe(before)
    const status = { ...record.status!, hostname: 'new' }
    expect(
      statuses.update({ ...view, records: new Map(view.records).set(self, { ...record, status }) }),
    ).not.toBe(before)
  })
})

describe('a MAC of the tunnel', () => {
  test('is locally administered, of one host, and another for each node', () => {
    const macs = Array.from({ length: 500 }, (_, n) => tunnelMac(nodeId(`node${n}`)))
    for (const mac of macs) expect(mac).toMatch(/^02(:[0-9a-f]{2}){5}$/)
    expect(new Set(macs).size).toBe(500)
  })
})

describe('marks of peers', () => {
  const ids = Array.from({ length: 30 }, (_, n) => nodeId(`node${n}`))

  test('are from 1 to 4,095, one for each, and stay while a peer is a member, whoever comes and goes', () => {
    fc.assert(
      fc.property(fc.array(fc.subarray(ids), { minLength: 2, maxLength: 6 }), (turns) => {
        let marks: ReadonlyMap<NodeId, number> = new Map()
        for (const peers of turns) {
          const next = peerMarks(peers, marks)
          expect(new Set(next.keys())).toEqual(new Set(peers))
          expect(new Set(next.values()).size).toBe(peers.length)
          for (const [node, mark] of next) {
            expect(mark >= 1 && mark <= peerMarkLast).toBe(true)
            expect([undefined, mark]).toContain(marks.get(node))
          }
          marks = next
        }
      }),
    )
  })

  test('that are no marks, or two peers’ at once, are given anew', () => {
    const [a, b, c] = ids as [NodeId, NodeId, NodeId]
    const next = peerMarks(
      [a, b, c],
      new Map([
        [a, 7],
        [b, 7],
        [c, 0],
      ]),
    )
    expect(next.get(a)).toBe(7)
    expect(new Set(next.values()).size).toBe(3)
    expect([...next.values()].every((mark) => mark >= 1)).toBe(true)
  })

  test('are not for more than 4,095, which is said of the others', () => {
    const many = Array.from({ length: peerMarkLast + 2 }, (_, n) => nodeId(`many${n}`))
    const marks = peerMarks(many, new Map())
    expect(marks.size).toBe(peerMarkLast)
    expect(new Set(marks.values()).size).toBe(peerMarkLast)
    const without = new Map([...marks].filter(([node]) => node !== nodeId('b')))
    expect(peersOf(self, members, without).troubles).toContainEqual({ kind: 'no-mark', node: nodeId('b') })
  })
})
