import type { Address, Frontend, Plane } from '../../core/network/plane.ts'
import { Ranges } from './ranges.ts'
import { hex, type KernelSettings, peerMark } from './settings.ts'
import { hostedNetworks } from './usable-plane.ts'

/** Sets and maps of the table: its fixed rules (`table-text.ts`) look everything up in these. */
export const setNames = [
  'bridges',
  'internal_bridges',
  'own_subnets',
  'own_addresses',
  'gateways',
  'subnets',
  'outward_subnets',
  'virtual_subnets',
  'peers',
  'sealed_peers',
  'reply_marks',
  'targets',
  'hairpins',
  'homeward',
  'virtual_frontends',
  'published_frontends',
] as const
export type SetName = (typeof setNames)[number]

/** An element as nft writes it: key, and what it leads to where the set is a map. */
export type Elements = ReadonlyMap<string, string | undefined>

/** All of the table that changes with the plane. */
export interface Ruleset {
  readonly sets: Readonly<Record<SetName, Elements>>
  /** The rules of each frontend's own chain. */
  readonly chains: ReadonlyMap<string, readonly string[]>
}

export function rulesetOf(plane: Plane, settings: KernelSettings): Ruleset {
  const hosted = hostedNetworks(plane)
  const all = plane.networks
  return {
    sets: {
      bridges: keys(hosted.map(({ bridge }) => quoted(bridge.name))),
      internal_bridges: keys(
        hosted.filter(({ isInternal }) => isInternal).map(({ bridge }) => quoted(bridge.name)),
      ),
      own_subnets: keys(hosted.map(({ bridge, subnet }) => `${quoted(bridge.name)} . ${subnet}`)),
      own_addresses: keys(hosted.map(({ bridge }) => `${quoted(bridge.name)} . ${bridge.address}`)),
      gateways: new Map(hosted.map(({ bridge }) => [quoted(bridge.name), bridge.address])),
      subnets: keys(all.map(({ subnet }) => subnet)),
      outward_subnets: keys(all.filter(({ isInternal }) => !isInternal).map(({ subnet }) => subnet)),
      virtual_subnets: keys(all.map(({ virtual }) => virtual)),
      peers: keys(plane.peers.map(({ underlay }) => underlay)),
      sealed_peers: keys(plane.peers.filter(({ seal }) => seal?.isStrict).map(({ underlay }) => underlay)),
      reply_marks: new Map(plane.peers.map(({ mac, mark }) => [mac, hex(peerMark(settings, mark))])),
      targets: keys(
        plane.frontends.flatMap(({ at }) =>
          at.kind === 'published' ? [`${at.protocol} . ${at.target}`] : [],
        ),
      ),
      hairpins: keys(localBackends(plane).map((address) => `${address} . ${address}`)),
      homeward: keys(homeward(plane)),
      virtual_frontends: verdicts(plane.frontends, 'virtual'),
      published_frontends: verdicts(plane.frontends, 'published'),
    },
    chains: new Map(plane.frontends.map((frontend) => [chainOf(frontend.at), rulesOf(frontend)])),
  }
}

/** Backends behind this node's own bridges: those that a container's connection can come back to itself through. */
export function localBackends(plane: Plane): readonly Address[] {
  const hosted = hostedNetworks(plane)
  const here = new Ranges(hosted.map(({ subnet }) => subnet))
  const elsewhere = new Ranges(hosted.flatMap(({ routes }) => routes.map(({ block }) => block)))
  const backends = new Set(plane.frontends.flatMap(({ backends }) => backends))
  return [...backends].filter((address) => here.has(address) && !elsewhere.has(address))
}

/**
 * A member's own process that comes here and is balanced back to a container on its host: its packets would arrive there
 * with that host's own address as their source, and the replies end there, not here.
 */
function homeward(plane: Plane): string[] {
  const underlays = new Map(plane.peers.map(({ node, underlay }) => [node, underlay]))
  return plane.networks.flatMap(({ routes }) =>
    routes.map(({ block, to }) => `${underlays.get(to) ?? ''} . ${block}`),
  )
}

function verdicts(frontends: readonly Frontend[], kind: Frontend['at']['kind']): Elements {
  return new Map(
    frontends.filter(({ at }) => at.kind === kind).map(({ at }) => [keyOf(at), `goto ${chainOf(at)}`]),
  )
}

function keyOf(at: Frontend['at']): string {
  return at.kind === 'virtual' ? at.address : `${at.protocol} . ${at.port}`
}

function chainOf(at: Frontend['at']): string {
  return at.kind === 'virtual' ? `virtual-${at.address}` : `published-${at.protocol}-${at.port}`
}

function rulesOf({ at, backends }: Frontend): readonly string[] {
  if (backends.length === 0) {
    // Not left to hang: a client tries again elsewhere, or says so, at once.
    return ['meta l4proto tcp reject with tcp reset', 'reject with icmp port-unreachable']
  }
  const [match, port] = at.kind === 'virtual' ? ['', ''] : [`meta l4proto ${at.protocol} `, `:${at.target}`]
  if (backends.length === 1) return [`${match}dnat to ${backends[0]}${port}`]
  const map = backends.map((address, index) => `${index} : ${address}`).join(', ')
  return [`${match}dnat to numgen random mod ${backends.length} map { ${map} }${port}`]
}

function keys(elements: readonly string[]): Elements {
  return new Map(elements.map((element) => [element, undefined]))
}

function quoted(interfaceName: string): string {
  return `"${interfaceName}"`
}
