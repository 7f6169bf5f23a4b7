import type { NodeId, ResourceId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import type { Plane } from '../../core/network/plane.ts'
import { UnfitPlaneError } from '../../ports/data-plane.errors.ts'
import { assertFit, usablePlane } from './usable-plane.ts'

const plane: Plane = {
  self: { underlay: '10.99.0.1', mac: '02:00:00:00:00:01' },
  networks: [
    {
      id: 'web' as ResourceId,
      subnet: '10.128.0.0/18',
      virtual: '10.128.0.0/20',
      isInternal: false,
      bridge: { name: 'moot-web', address: '10.128.16.1' },
      routes: [
        { block: '10.128.16.16/28', to: 'other' as NodeId },
        { block: '10.128.16.32/28', to: 'unknown' as NodeId },
      ],
    },
  ],
  peers: [{ node: 'other' as NodeId, underlay: '10.99.0.2', mac: '02:00:00:00:00:02', mark: 1 }],
  frontends: [
    { at: { kind: 'published', protocol: 'tcp', port: 80, target: 8_000 }, backends: ['10.128.16.2'] },
  ],
}
const [network] = plane.networks
const [peer] = plane.peers
const [frontend] = plane.frontends

describe('what may be handed to the kernel', () => {
  it.each<[string, Partial<Plane>]>([
    ['IPv4 address', { self: { underlay: '10.99.0.1\nflush', mac: '02:00:00:00:00:01' } }],
    ['MAC address', { peers: [{ ...peer!, mac: '02:00' }] }],
    ['mark of a peer', { peers: [{ ...peer!, mark: 4_096 }] }],
    ['IPv4 subnet', { networks: [{ ...network!, subnet: '10.128.0.0/33' }] }],
    ['interface name', { networks: [{ ...network!, bridge: { name: 'a" }', address: '10.128.16.1' } }] }],
    [
      'port',
      { frontends: [{ ...frontend!, at: { kind: 'published', protocol: 'tcp', port: 0, target: 1 } }] },
    ],
    ['IPv4 address', { frontends: [{ ...frontend!, backends: ['::1'] }] }],
  ])('is no %s that is none', (what, wrong) => {
    expect(() => assertFit(plane)).not.toThrow()
    expect(() => assertFit({ ...plane, ...wrong })).toThrow(UnfitPlaneError)
    expect(() => assertFit({ ...plane, ...wrong })).toThrow(what)
  })

  it('is no way to a member that is none, nor a bridge that is not there', () => {
    const usable = usablePlane(plane, () => [])
    expect(usable.networks[0]?.routes.map(({ to }) => to)).toEqual(['other'])
    expect(usable.networks[0]).not.toHaveProperty('bridge')
    const there = usablePlane(plane, (name) => (name === 'moot-web' ? ['10.128.16.1'] : []))
    expect(there.networks[0]?.bridge).toEqual(network?.bridge)
  })

  it('is a bridge with the address that it has, while one of a block that was lost is still there', () => {
    const former = usablePlane(plane, () => ['192.0.2.1', '10.128.40.1'])
    expect(former.networks[0]?.bridge).toEqual({ name: 'moot-web', address: '10.128.40.1' })
    const elsewhere = usablePlane(plane, () => ['192.0.2.1'])
    expect(elsewhere.networks[0]).not.toHaveProperty('bridge')
  })
})
