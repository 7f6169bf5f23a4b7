import { describe, expect, test } from 'vitest'
import type { ServiceId } from '@moot/crdt-state'
import { service } from '../../core/placement/fixtures.ts'
import type { View } from '../../core/view.ts'
import type { NetworkAbility } from '../../networks.ts'
import { readServiceSpec } from './body.ts'

const ports = (...all: readonly object[]) => ({ EndpointSpec: { Ports: all } })
const ingress = (PublishedPort: number) => ({
  Protocol: 'tcp',
  TargetPort: 80,
  PublishedPort,
  PublishMode: 'ingress',
})
const host = (PublishedPort: number) => ({ ...ingress(PublishedPort), PublishMode: 'host' })

const web = service('web', ports(ingress(8080)))
const edge = service('edge', ports(host(8443)))
const view = {
  services: new Map([web, edge].map((each) => [each.id as ServiceId, each])),
  networks: new Map(),
} as unknown as View

function read(body: object, options: { ability?: NetworkAbility['kind']; service?: ServiceId } = {}) {
  const asked = { Name: 'api', TaskTemplate: { ContainerSpec: { Image: 'api' } }, ...body }
  return readServiceSpec(asked, view, { name: () => '', maxReplicas: 100, ability: 'kernel', ...options })
}

describe('a port that every node answers on', () => {
  test('is refused where another service has it, in either mode, and says whose it is', () => {
    expect(() => read(ports(ingress(8080)))).toThrow(
      /port '8080' is already in use by service 'web' .* ingress port/,
    )
    expect(() => read(ports(ingress(8443)))).toThrow(/by service 'edge' .* host-published port/)
  })

  test('is no obstacle to the service itself, nor is one in host mode to another in host mode', () => {
    expect(read(ports(ingress(8080)), { service: web.id as ServiceId }).warnings).toEqual([])
    expect(read(ports(host(8443))).warnings).toEqual([])
    expect(read(ports(ingress(8081))).spec.EndpointSpec?.Ports).toHaveLength(1)
  })

  test('is not the one that the hosts speak to each other on', () => {
    const udp = (port: number) => ports({ ...ingress(port), Protocol: 'udp' })
    expect(() => read(ports(ingress(7420)))).toThrow(/7420.*what the hosts speak to each other on/)
    for (const port of [7422, 7423, 7424])
      expect(() => read(udp(port))).toThrow(`'${port}' is what the hosts`)
    expect(read(ports(ingress(7422))).warnings).toEqual([])
  })

  test('is refused on a host that cannot have it, with what to do instead', () => {
    expect(() => read(ports(ingress(8081)), { ability: 'none' })).toThrow(/mode=host,target=80/)
  })

  test('is accepted where it is passed on in userland, but for SCTP', () => {
    expect(read(ports(ingress(8081)), { ability: 'userland' }).warnings).toEqual([])
    const sctp = { ...ingress(8081), Protocol: 'sctp' }
    expect(() => read(ports(sctp), { ability: 'userland' })).toThrow(/cannot publish an SCTP port/)
  })
})
