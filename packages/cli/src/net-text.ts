import { formatTable } from './table.ts'

export interface NetAnswer {
  readonly node: { readonly name: string }
  readonly dataPlane:
    | { readonly kind: 'kernel'; readonly version: string }
    | { readonly kind: 'userland' | 'none'; readonly why: string }
  readonly tunnel?: {
    readonly device: string
    readonly address?: string
    readonly port: number
    readonly mtuBytes: number
    readonly encryption?: { readonly by: 'kernel' | 'wireguard-go' | 'none'; readonly why?: string }
  }
  readonly peers: readonly PeerAnswer[]
  readonly nameServer: {
    readonly running: boolean
    readonly counts?: Readonly<Record<string, number>>
    readonly why?: string
  }
  readonly networks: readonly NetworkAnswer[]
  readonly problems: readonly string[]
}

interface PeerAnswer {
  readonly name: string
  readonly address: string
  readonly liveness: string
  readonly probe?: string
  readonly roundTripMs?: number
  readonly inTunnel: boolean
  readonly packets?: 'sealed' | 'open'
  readonly problems: readonly string[]
}

interface NetworkAnswer {
  readonly id: string
  readonly name: string
  readonly subnet?: string
  readonly internal: boolean
  readonly attachable: boolean
  readonly ingress: boolean
  readonly options: Readonly<Record<string, string>>
  readonly blocks: readonly string[]
  readonly bridge?: { readonly name: string; readonly address: string }
  readonly services?: number
  readonly problems: readonly string[]
}

interface ServiceAnswer {
  readonly name: string
  readonly by: 'vip' | 'dnsrr' | 'ports'
  readonly virtualIp?: string
  readonly ports: readonly {
    readonly mode: 'ingress' | 'host'
    readonly protocol: string
    readonly port?: number
    readonly target: number
  }[]
  readonly endpoints: readonly EndpointAnswer[]
  readonly problems: readonly string[]
}

interface EndpointAnswer {
  readonly task: string
  readonly nodeName: string
  readonly address?: string
  readonly answers: boolean
  readonly standing: 'first' | 'second' | 'unready' | 'out'
  readonly why?: string
}

export interface InspectAnswer {
  readonly network: NetworkAnswer
  readonly services: readonly ServiceAnswer[]
}

/** The network as one node has it. */
export function overviewText(answer: NetAnswer): string {
  const { node, dataPlane, tunnel, peers, nameServer, networks, problems } = answer
  const blocks = [
    labelled([
      ['node', node.name],
      ['data plane', dataPlaneText(dataPlane)],
      ...(tunnel === undefined ? [] : tunnelLines(tunnel)),
      ['names', namesLine(nameServer)],
      ...problems.map((problem) => ['problem', problem] as const),
    ]),
  ]
  if (peers.length > 0) blocks.push(peersTable(peers))
  blocks.push(
    networks.length > 0
      ? networksTable(networks)
      : 'no networks: "docker network create --driver overlay NAME" makes one',
  )
  return blocks.join('\n\n')
}

function dataPlaneText(dataPlane: NetAnswer['dataPlane']): string {
  if (dataPlane.kind === 'kernel') return dataPlane.version
  const what = dataPlane.kind === 'userland' ? 'published ports in userland, no networks over nodes' : 'none'
  return `${what}: ${dataPlane.why}`
}

type Line = readonly [label: string, text: string]

function labelled(lines: readonly Line[]): string {
  const width = Math.max(...lines.map(([label]) => label.length)) + 2
  return lines.map(([label, text]) => `${label.padEnd(width)}${text}`).join('\n')
}

function tunnelLines({ address, port, device, mtuBytes, encryption }: Required<NetAnswer>['tunnel']): Line[] {
  const at = address === undefined ? '' : ` at ${address}`
  return [
    ['tunnel', `VXLAN${at}, UDP port ${port}, device ${device}, MTU ${mtuBytes}`],
    ...(encryption === undefined ? [] : [['', encryptionText(encryption)] as const]),
  ]
}

function encryptionText({ by, why = '' }: NonNullable<Required<NetAnswer>['tunnel']['encryption']>): string {
  if (by === 'none') return `NOT ENCRYPTED: ${why}`
  return `encrypted by WireGuard${by === 'kernel' ? '' : ' (wireguard-go)'}, to and from who is sealed`
}

function namesLine({ running, counts, why }: NetAnswer['nameServer']): string {
  if (!running) return why === undefined ? 'not started: no service has a name yet' : `no answer: ${why}`
  return `${counts?.['answered'] ?? 0} questions answered, ${counts?.['forwarded'] ?? 0} passed on`
}

function peersTable(peers: readonly PeerAnswer[]): string {
  return formatTable(peers, [
    { title: 'PEER', value: ({ name }) => name },
    { title: 'ADDRESS', value: ({ address }) => address },
    { title: 'STATE', value: ({ liveness }) => liveness },
    { title: 'RTT', value: roundTrip },
    { title: 'TUNNEL', value: ({ inTunnel }) => (inTunnel ? 'yes' : 'no') },
    { title: 'PACKETS', value: ({ packets = '' }) => (packets === 'open' ? 'in the open' : packets) },
    { title: 'PROBLEM', value: ({ problems }) => problems.join('; ') },
  ])
}

function roundTrip({ probe = '', roundTripMs: ms }: PeerAnswer): string {
  if (ms === undefined) return probe
  return ms < 0.05 ? '<0.1 ms' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}

function networksTable(networks: readonly NetworkAnswer[]): string {
  return formatTable(networks, [
    { title: 'NETWORK', value: ({ name }) => name },
    { title: 'SUBNET', value: ({ subnet = '' }) => subnet },
    { title: 'SERVICES', value: ({ services = '' }) => String(services) },
    { title: 'HERE', value: ({ bridge }) => bridge?.address ?? '' },
    { title: 'BLOCKS', value: ({ blocks }) => blocks.join(', '), optional: true },
    { title: 'OPTIONS', value: optionsText, optional: true },
    { title: 'PROBLEM', value: ({ problems }) => problems.join('; ') },
  ])
}

function optionsText({ internal, attachable, ingress, options }: NetworkAnswer): string {
  return [
    ...(internal ? ['internal'] : []),
    ...(attachable ? ['attachable'] : []),
    ...(ingress ? ['ingress'] : []),
    ...Object.entries(options).map(([name, value]) => (value === '' ? name : `${name}=${value}`)),
  ].join(', ')
}

/** One network, its services, and their endpoints. */
export function networkText({ network, services }: InspectAnswer): string {
  const { id, name, subnet, bridge, blocks, problems } = network
  const options = optionsText(network)
  const shown = [
    labelled([
      ['network', `${name} (${id})`],
      ['subnet', subnet ?? 'none yet'],
      ...(options === '' ? [] : [['options', options] as const]),
      [
        'here',
        bridge === undefined
          ? 'no task of this node is on it'
          : `bridge ${bridge.name} at ${bridge.address}, of ${blocks.join(', ')}`,
      ],
      ...problems.map((problem) => ['problem', problem] as const),
    ]),
  ]
  if (services.length > 0) shown.push(servicesTable(services))
  const endpoints = services.flatMap((service) => service.endpoints)
  if (endpoints.length > 0) shown.push(endpointsTable(endpoints))
  return shown.join('\n\n')
}

function servicesTable(services: readonly ServiceAnswer[]): string {
  return formatTable(services, [
    { title: 'SERVICE', value: ({ name }) => name },
    { title: 'VIRTUAL IP', value: virtualIpText },
    { title: 'PORTS', value: portsText },
    {
      title: 'ANSWERING',
      value: ({ endpoints }) => `${endpoints.filter(({ answers }) => answers).length} of ${endpoints.length}`,
    },
    { title: 'PROBLEM', value: ({ problems }) => problems.join('; ') },
  ])
}

function virtualIpText({ by, virtualIp }: ServiceAnswer): string {
  if (by === 'vip') return virtualIp ?? 'none yet'
  return by === 'dnsrr' ? 'dnsrr' : 'ports only'
}

function portsText({ ports }: ServiceAnswer): string {
  return ports
    .map(
      ({ mode, port, target, protocol }) =>
        `${mode === 'host' ? 'host' : '*'}:${port ?? '?'}->${target}/${protocol}`,
    )
    .join(', ')
}

function endpointsTable(endpoints: readonly EndpointAnswer[]): string {
  return formatTable(endpoints, [
    { title: 'TASK', value: ({ task }) => task },
    { title: 'NODE', value: ({ nodeName }) => nodeName },
    { title: 'ADDRESS', value: ({ address = '' }) => address },
    { title: 'STANDING', value: standingText },
  ])
}

function standingText({ answers, standing, why = '' }: EndpointAnswer): string {
  switch (standing) {
    case 'first':
      return 'answers'
    case 'second':
      return `${answers ? 'answers, as there is no better one' : 'second choice'}: ${why}`
    case 'unready':
      return `unready: ${why}`
    case 'out':
      return `left out: ${why}`
  }
}
