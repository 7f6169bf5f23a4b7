import { addressFact, type Resource, type ServiceId, type ServiceSpec } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { service } from '../placement/fixtures.ts'
import { drawnPortFirst, drawnPortLast, portHolder, publishedPorts } from './published-ports.ts'

type Service = Resource<ServiceSpec>
type Port = { TargetPort: number; PublishedPort?: number; Protocol?: string; PublishMode?: string }

const publishing = (name: string, ...Ports: Port[]): Service => service(name, { EndpointSpec: { Ports } })
const mapOf = (...services: readonly Service[]) =>
  new Map(services.map((each) => [each.id as ServiceId, each]))
const heldBy = (of: Service, ...others: readonly Service[]) =>
  publishedPorts(mapOf(of, ...others)).held.get(of.id as ServiceId)
const byId = (a: Service, b: Service) => (a.id < b.id ? -1 : 1)

function written(services: readonly Service[]): readonly Service[] {
  const { draws } = publishedPorts(mapOf(...services))
  return services.map((each) => {
    const facts = new Map(each.facts)
    for (const [port, drawn] of draws.get(each.id as ServiceId) ?? [])
      facts.set(...addressFact.port(port, drawn))
    return { ...each, facts }
  })
}

describe('a published port', () => {
  test('is answered on every node, one protocol beside the other', () => {
    const web = publishing('web', { TargetPort: 80, PublishedPort: 8080 })
    const dns = publishing('dns', { TargetPort: 53, PublishedPort: 8080, Protocol: 'udp' })
    expect(heldBy(web, dns)).toEqual([{ protocol: 'tcp', port: 8080, target: 80 }])
    expect(heldBy(dns, web)).toEqual([{ protocol: 'udp', port: 8080, target: 53 }])
  })

  test('of two services is the one’s with the lower id; the other waits, and has its other ports', () => {
    const [first, second] = ['a', 'b']
      .map((name) =>
        publishing(
          name,
          { TargetPort: 80, PublishedPort: 8080 },
          { TargetPort: 81, PublishedPort: name === 'a' ? 81 : 82 },
        ),
      )
      .sort(byId) as [Service, Service]
    expect(heldBy(first, second)).toHaveLength(2)
    expect(heldBy(second, first)).toHaveLength(1)
    expect(publishedPorts(mapOf(second, first)).waits).toEqual(
      new Map([[second.id, [{ kind: 'port-taken', port: '8080/tcp', by: first.id, mode: 'ingress' }]]]),
    )
  })

  test('waits for a service that has it in host mode: what engines have bound comes first', () => {
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) {
      const web = publishing('web', { TargetPort: 80, PublishedPort: 8080 })
      const host = publishing(name, { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' })
      expect(publishedPorts(mapOf(web, host)).waits.get(web.id as ServiceId)).toEqual([
        { kind: 'port-taken', port: '8080/tcp', by: host.id, mode: 'host' },
      ])
    }
  })

  test('published twice is published once', () => {
    const twice = publishing('web', { TargetPort: 80 }, { TargetPort: 80 })
    const [after] = written([twice])
    expect(heldBy(after!)).toHaveLength(1)
    expect(publishedPorts(mapOf(after!)).draws.size).toBe(0)
    expect(publishedPorts(mapOf(after!)).waits.size).toBe(0)
  })
})

describe('a port that nobody gave', () => {
  test('is drawn from Swarm’s range, and stays', () => {
    const web = publishing('web', { TargetPort: 80 }, { TargetPort: 53, Protocol: 'udp' })
    expect(publishedPorts(mapOf(web)).waits.get(web.id as ServiceId)).toHaveLength(2)
    const [after] = written([web])
    const held = heldBy(after!)!
    expect(held.map(({ target }) => target).sort((a, b) => a - b)).toEqual([53, 80])
    for (const { port } of held) expect(port >= drawnPortFirst && port <= drawnPortLast).toBe(true)
    expect(publishedPorts(mapOf(after!))).toMatchObject({ waits: new Map(), draws: new Map() })
  })

  test('gives way to who was given it, and draws anew', () => {
    // Whichever has the lower id.
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const [drawn] = written([publishing(`drawn-${name}`, { TargetPort: 80 })])
      const { port } = heldBy(drawn!)![0]!
      const given = publishing(name, { TargetPort: 80, PublishedPort: port })
      expect(heldBy(given, drawn!)).toHaveLength(1)
      const after = written([drawn!, given])
      expect(heldBy(after[0]!, given)![0]!.port).not.toBe(port)
    }
  })

  test('that was drawn as nonsense is drawn anew', () => {
    for (const value of [80, 1.5, 70_000]) {
      const odd = {
        ...publishing('odd', { TargetPort: 80 }),
        facts: new Map([addressFact.port('80/tcp', { n: 2, value })]),
      }
      expect(
        publishedPorts(mapOf(odd))
          .draws.get(odd.id as ServiceId)
          ?.get('80/tcp')?.n,
      ).toBe(3)
    }
  })
})

describe('a service that is to publish a port', () => {
  const port = { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' } as const
  const onHost = { ...port, PublishMode: 'host' } as const

  test('is told who has it, in either mode', () => {
    const web = publishing('web', port)
    const host = publishing('host', onHost)
    expect(portHolder(mapOf(web), undefined, port)).toEqual({ service: web.id, mode: 'ingress' })
    expect(portHolder(mapOf(web), undefined, onHost)).toEqual({ service: web.id, mode: 'ingress' })
    expect(portHolder(mapOf(host), undefined, port)).toEqual({ service: host.id, mode: 'host' })
  })

  test('does not stand in its own way, nor do two in host mode, which may be on different nodes', () => {
    const web = publishing('web', port)
    expect(portHolder(mapOf(web), web.id as ServiceId, port)).toBeUndefined()
    expect(portHolder(mapOf(publishing('host', onHost)), undefined, onHost)).toBeUndefined()
    expect(portHolder(mapOf(web), undefined, { ...port, PublishedPort: 0 })).toBeUndefined()
  })
})

describe('any services', () => {
  const port: fc.Arbitrary<Port> = fc.record(
    {
      TargetPort: fc.constantFrom(80, 81),
      PublishedPort: fc.constantFrom(8080, 8081, 30_000),
      Protocol: fc.constantFrom('tcp', 'udp'),
      PublishMode: fc.constantFrom('ingress', 'ingress', 'host'),
    },
    { requiredKeys: ['TargetPort'] },
  )
  const some = fc
    .uniqueArray(fc.tuple(fc.nat({ max: 30 }), fc.array(port, { maxLength: 3 })), {
      selector: ([n]) => n,
      maxLength: 5,
    })
    .map((all) => written(all.map(([n, ports]) => publishing(`s${n}`, ...ports))))

  test('have the same ports in whatever order they were learnt, and each port is one service’s', () => {
    fc.assert(
      fc.property(some, (services) => {
        const ports = publishedPorts(mapOf(...services))
        const other = publishedPorts(mapOf(...services.toReversed()))
        expect(other).toEqual(ports)
        const keys = [...ports.held.values()].flat().map(({ port, protocol }) => `${port}/${protocol}`)
        expect(new Set(keys).size).toBe(keys.length)
      }),
    )
  })

  test('that draw later change no earlier one’s port', () => {
    fc.assert(
      fc.property(some, fc.nat({ max: 30 }), (services, n) => {
        const late = publishing(`late${n}`, { TargetPort: 80 })
        const before = publishedPorts(mapOf(...services)).held
        const after = publishedPorts(mapOf(...written([...services, late]))).held
        for (const [id, held] of before) expect(after.get(id)).toEqual(held)
      }),
    )
  })
})
