import { describe, expect, test } from 'vitest'
import { service } from '../placement/fixtures.ts'
import { attachmentsOf, ingressOf } from './attachments.ts'
import { network } from './scene.testing.ts'

const front = network('front')
const back = network('back', { Internal: true })
const ingress = network('ingress', { Ingress: true })
const all = new Map([front, back, ingress].map((each) => [each.id, each]))
const without = new Map([...all].filter(([id]) => id !== ingress.id))

const published = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } }
const onHost = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }] } }
const of = (spec: object, networks: readonly unknown[], known = all) =>
  attachmentsOf(service('web', { ...spec }, { Networks: networks }).spec, known)

describe('a service', () => {
  test('is on the networks of its template, by id or by name, with its aliases there', () => {
    expect(of({}, [{ Target: back.id, Aliases: ['db'] }, { Target: 'front' }])).toEqual({
      networks: [
        { network: back.id, aliases: ['db'] },
        { network: front.id, aliases: [] },
      ],
      publishedOn: undefined,
      ingress: undefined,
      waits: [],
    })
  })

  test('is on those of the older field where its template says nothing', () => {
    const older = { Networks: [{ Target: 'front' }] }
    expect(of(older, []).networks).toEqual([{ network: front.id, aliases: [] }])
    expect(of(older, [{ Target: 'back' }]).networks).toEqual([{ network: back.id, aliases: [] }])
  })

  test('that publishes ports is reached on its first network that is not internal', () => {
    const { publishedOn, networks } = of(published, [{ Target: 'back' }, { Target: 'front' }])
    expect(publishedOn).toBe(front.id)
    expect(networks).toHaveLength(2)
  })

  test.each([[[]], [[{ Target: 'back' }]], [[{ Target: 'bridge' }]]])(
    'that publishes ports and has no such network (%j) is on ingress too',
    (networks) => {
      const attachments = of(published, networks)
      expect(attachments.publishedOn).toBe(ingress.id)
      expect(attachments.ingress).toBe(ingress.id)
      expect(attachments.networks.at(-1)).toEqual({ network: ingress.id, aliases: [] })
    },
  )

  test('waits for ingress until that is made', () => {
    expect(of(published, [], without)).toMatchObject({
      publishedOn: undefined,
      waits: [{ kind: 'no-ingress' }],
    })
  })

  test('that publishes ports in host mode only needs no network', () => {
    expect(of(onHost, [])).toEqual({ networks: [], publishedOn: undefined, ingress: undefined, waits: [] })
  })

  test('waits for a network that is not known here yet, and is on no other instead', () => {
    const attachments = of(published, [{ Target: 'later' }])
    expect(attachments.waits).toEqual([{ kind: 'no-network', target: 'later' }])
    expect(attachments.publishedOn).toBeUndefined()
  })
})

test('of two ingress networks, which two sides of a partition made, all take the same', () => {
  const other = network('ingress-2', { Ingress: true })
  const two = [ingress, other].map((each) => [each.id, each] as const)
  expect(ingressOf(new Map(two))).toBe(ingressOf(new Map(two.toReversed())))
  expect(ingressOf(without)).toBeUndefined()
})
