import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import type { Plane } from '../../core/network/plane.ts'
import { lanePeerChanges, lanePeers, readLanePeers } from './wire-guard-peers.ts'

const plane: Plane = {
  self: { underlay: '10.0.0.1', mac: '02:00:00:00:00:01', keys: [{ round: 4, key: 'own' }] },
  networks: [],
  frontends: [],
  peers: [
    {
      node: 'two' as NodeId,
      underlay: '10.0.0.2',
      mac: '02:00:00:00:00:02',
      mark: 2,
      seal: {
        keys: [
          { round: 4, key: 'two4' },
          { round: 5, key: 'two5' },
        ],
        sends: { kind: 'sealed', round: 4 },
        isStrict: true,
      },
    },
    { node: 'plain' as NodeId, underlay: '10.0.0.3', mac: '02:00:00:00:00:03', mark: 3 },
  ],
}

describe('peers of WireGuard', () => {
  it('are those that have a key of the round, with the address of their host and no other', () => {
    expect([...lanePeers(plane, 0)]).toEqual([['two4', '10.0.0.2/32']])
    expect([...lanePeers(plane, 1)]).toEqual([['two5', '10.0.0.2/32']])
  })

  it('that are as they should be are left alone', () => {
    const has = readLanePeers('two4\t10.0.0.2/32\n')
    expect(lanePeerChanges(has, lanePeers(plane, 0), 7_423)).toEqual({ come: [], gone: [] })
  })

  it('that come take over an address, and those that go are taken away apart from that', () => {
    const has = readLanePeers('old\t10.0.0.2/32\nlost\t(none)\n')
    expect(lanePeerChanges(has, lanePeers(plane, 0), 7_423)).toEqual({
      come: 'peer two4 endpoint 10.0.0.2:7423 persistent-keepalive 25 allowed-ips 10.0.0.2/32'.split(' '),
      gone: 'peer old remove peer lost remove'.split(' '),
    })
  })
})
