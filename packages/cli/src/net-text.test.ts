import { describe, expect, it } from 'vitest'
import { type InspectAnswer, type NetAnswer, networkText, overviewText } from './net-text.ts'

const alone: NetAnswer = {
  node: { name: 'host-1' },
  dataPlane: { kind: 'none', why: 'it needs Linux, this is darwin' },
  peers: [],
  nameServer: { running: false },
  networks: [],
  problems: [],
}
const peer = { name: 'host-2', address: '10.0.0.2', liveness: 'alive', inTunnel: true, problems: [] }
const network = {
  id: 'abc',
  name: 'back',
  subnet: '10.128.0.0/18',
  internal: true,
  attachable: true,
  ingress: false,
  options: { encrypted: '' },
  blocks: [],
  problems: [],
}

describe('the overview', () => {
  it('of a node that can do nothing says why, and what to do next', () => {
    expect(overviewText(alone)).toBe(
      [
        'node        host-1',
        'data plane  none: it needs Linux, this is darwin',
        'names       not started: no service has a name yet',
        '',
        'no networks: "docker network create --driver overlay NAME" makes one',
      ].join('\n'),
    )
  })

  it('tells what is wrong: of the node, its name server, a peer, a network', () => {
    const text = overviewText({
      ...alone,
      nameServer: { running: false, why: 'it hangs' },
      problems: ['nft said no'],
      peers: [{ ...peer, problems: ['no IPv4 address'] }],
      networks: [{ ...network, problems: ['about to be drawn'] }],
    })
    expect(text).toContain('names       no answer: it hangs\nproblem     nft said no\n')
    expect(text).toMatch(/^host-2 .* no IPv4 address$/m)
    expect(text).toMatch(/^back .* internal, attachable, encrypted +about to be drawn$/m)
  })

  it.each([
    [{ by: 'kernel' }, 'encrypted by WireGuard, to and from who is sealed'],
    [{ by: 'none', why: 'wg is missing' }, 'NOT ENCRYPTED: wg is missing'],
  ] as const)('a tunnel with %j: %s', (encryption, shown) => {
    const tunnel = { device: 'moot0', port: 7422, mtuBytes: 1390, encryption }
    expect(overviewText({ ...alone, tunnel })).toContain(
      `tunnel      VXLAN, UDP port 7422, device moot0, MTU 1390\n            ${shown}\n`,
    )
  })

  it.each([
    [{ probe: 'answered', roundTripMs: 0.02 }, '<0.1 ms'],
    [{ probe: 'answered', roundTripMs: 0.26 }, '0.3 ms'],
    [{ probe: 'answered', roundTripMs: 41.7 }, '42 ms'],
    [{ probe: 'silent' }, 'silent'],
    [{ probe: 'refused' }, 'refused'],
    [{}, 'alive +yes'],
  ])('a peer at %j is shown as %s', (probed, shown) => {
    expect(overviewText({ ...alone, peers: [{ ...peer, ...probed }] })).toMatch(new RegExp(shown))
  })
})

describe('one network', () => {
  const endpoint = { task: 'web.1', nodeName: 'host-2', address: '10.128.16.1' }
  const service = { name: 'web', ports: [], endpoints: [], problems: [] }
  const of = (...services: InspectAnswer['services']): string => networkText({ network, services })

  it('says what each service’s name means, and where its ports are', () => {
    const text = of(
      { ...service, name: 'a', by: 'vip', virtualIp: '10.128.0.2' },
      { ...service, name: 'b', by: 'vip', problems: ['its virtual IP is about to be drawn'] },
      { ...service, name: 'c', by: 'dnsrr' },
      {
        ...service,
        name: 'd',
        by: 'ports',
        ports: [
          { mode: 'ingress', protocol: 'tcp', port: 8080, target: 80 },
          { mode: 'host', protocol: 'udp', target: 53 },
        ],
      },
    )
    expect(text).toContain('here     no task of this node is on it\n')
    expect(text).toMatch(/^a +10\.128\.0\.2 +0 of 0$/m)
    expect(text).toMatch(/^b +none yet +0 of 0 +its virtual IP is about to be drawn$/m)
    expect(text).toMatch(/^c +dnsrr +0 of 0$/m)
    expect(text).toMatch(/^d +ports only +\*:8080->80\/tcp, host:\?->53\/udp +0 of 0$/m)
  })

  it.each([
    [{ answers: true, standing: 'first' }, 'answers'],
    [{ answers: true, standing: 'second', why: 'in doubt' }, 'answers, as there is no better one: in doubt'],
    [{ answers: false, standing: 'second', why: 'in doubt' }, 'second choice: in doubt'],
    [{ answers: false, standing: 'unready', why: '503' }, 'unready: 503'],
    [{ answers: false, standing: 'out', why: 'it is to stop' }, 'left out: it is to stop'],
  ] as const)('an endpoint that is %j: %s', (stands, shown) => {
    const text = of({ ...service, by: 'dnsrr', endpoints: [{ ...endpoint, ...stands }] })
    expect(text.split('\n').at(-1)).toBe(`web.1  host-2  10.128.16.1  ${shown}`)
  })
})
