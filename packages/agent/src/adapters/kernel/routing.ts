import type { Peer, Plane } from '../../core/network/plane.ts'
import { laneOf } from '../../core/network/seals.ts'
import { defaults } from '../../defaults.ts'
import { hex, type KernelSettings, ourMarkMask, peerMark, peerMarkShift, wholeMarkMask } from './settings.ts'

/**
 * What routes packets to peers, each kind by its key. Values are written in one way, whether wanted or read from the
 * kernel, so that a comparison tells what to change.
 */
export interface Routing {
  /** `TABLE DESTINATION` → `via … src …`. */
  readonly routes: ReadonlyMap<string, string>
  /** A peer's hop → MAC of its end of the tunnel. */
  readonly neighbours: ReadonlyMap<string, string>
  /** MAC → `ADDRESS` or `ADDRESS via INTERFACE`: the tunnel's forwarding entries. */
  readonly forwarding: ReadonlyMap<string, string>
  /** Priority → match and action. */
  readonly rules: ReadonlyMap<string, string>
}

/**
 * Peers are next hops by addresses that exist nowhere, said to be `onlink` on the tunnel, with permanent neighbour entries. So the
 * tunnel needs no addresses of the cluster's, and IPv6 may be off (`via inet6 fe80::…` then fails: "IPv6 is disabled on nexthop
 * device"). A hop is a peer's own, unlike its host's address: a host that was set up anew has that of its former self.
 */
export function peerHop(mark: number): string {
  return `169.254.${80 + (mark >> 8)}.${mark & 255}`
}

/** Undefined: it is no peer's hop. */
export function markOfHop(hop: string): number | undefined {
  const [, high, low] = /^169\.254\.(\d+)\.(\d+)$/.exec(hop) ?? []
  const mark = (Number(high) - 80) * 256 + Number(low)
  return peerHop(mark) === hop ? mark : undefined
}

export function routingOf(plane: Plane, settings: KernelSettings): Routing {
  const hops = new Map(plane.peers.map(({ node, mark }) => [node, peerHop(mark)]))
  const routes = new Map<string, string>()
  for (const { bridge, virtual, routes: blocks } of plane.networks) {
    // What this host itself sends there comes from the network, where it has a place in it.
    const source = bridge?.address ?? plane.self.underlay
    // Never used: but without it neither this host would send to a virtual IP, nor would bridges answer ARP for one.
    routes.set(`main ${virtual}`, routeText(undefined, source))
    for (const { block, to } of blocks) routes.set(`main ${block}`, routeText(hops.get(to), source))
  }
  for (const { mark } of plane.peers) {
    routes.set(`${replyTable(mark)} default`, routeText(peerHop(mark), undefined))
  }
  return {
    routes,
    neighbours: new Map(plane.peers.map(({ mark, mac }) => [peerHop(mark), mac])),
    forwarding: new Map(
      plane.peers.flatMap((peer) => {
        const way = wayTo(peer, settings)
        return way === undefined ? [] : [[peer.mac, way]]
      }),
    ),
    rules: replyRules(
      plane.peers.map(({ mark }) => mark),
      settings,
    ),
  }
}

/**
 * The tunnel's packets to a peer leave by the interface that its entry names, whatever routes say: so WireGuard needs neither
 * addresses nor routes of its own, and where its interface is gone nothing is sent.
 */
function wayTo({ underlay, seal }: Peer, { lanes }: KernelSettings): string | undefined {
  const sends = seal?.sends ?? { kind: 'open' }
  if (sends.kind === 'nothing') return undefined
  return sends.kind === 'open' ? underlay : `${underlay} via ${lanes[laneOf(sends.round)].device}`
}

export function routeText(via: string | undefined, source: string | undefined): string {
  const hop = via === undefined ? 'scope link' : `via ${via} onlink`
  return source === undefined ? hop : `${hop} src ${source}`
}

export function replyTable(mark: number): number {
  return defaults.replyTableFirst + mark
}

/** Peers in one group of rules: a group is a power of two, so that one rule matches it. */
const groupBits = 5
const groupSize = 2 ** groupBits
const firstGroupRule = 200
/** Behind the last group's last rule: marks have 12 bits. */
const rulesEnd = firstGroupRule + (4_096 / groupSize) * (groupSize + 1)

/** All that lies between is ours. */
export function isReplyRule(priority: number): boolean {
  return priority >= defaults.replyRulePriority && priority <= defaults.replyRulePriority + rulesEnd
}

/**
 * Rules are looked through one by one for each packet that is routed, whoever's: 500 in a row cost 1.4 µs. What is not marked
 * jumps over them all (0.05 µs), and what is marked over the groups that it is not in (0.1 µs).
 */
function replyRules(marks: readonly number[], settings: KernelSettings): ReadonlyMap<string, string> {
  const first = defaults.replyRulePriority
  const rules = new Map<string, string>()
  if (marks.length === 0) return rules
  rules.set(String(first), `not fwmark ${hex(settings.mark)}/${hex(ourMarkMask)} goto ${first + rulesEnd}`)
  rules.set(String(first + rulesEnd), 'nop')
  const groupMask = (ourMarkMask | ((4_096 - groupSize) << peerMarkShift)) >>> 0
  for (const mark of marks) {
    const group = mark >> groupBits
    const groupRule = first + firstGroupRule + group * (groupSize + 1)
    const groupMark = peerMark(settings, group << groupBits)
    rules.set(String(first + 1 + group), `fwmark ${hex(groupMark)}/${hex(groupMask)} goto ${groupRule}`)
    rules.set(String(groupRule), 'nop')
    rules.set(
      String(groupRule + 1 + (mark % groupSize)),
      `fwmark ${hex(peerMark(settings, mark))}/${hex(wholeMarkMask)} lookup ${replyTable(mark)}`,
    )
  }
  return rules
}
