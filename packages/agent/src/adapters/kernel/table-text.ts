import type { Plane } from '../../core/network/plane.ts'
import { foreignMarkMask, hex, type KernelSettings, ourMarkMask } from './settings.ts'

/**
 * The fixed part of our table: what a packet meets, hook by hook. All that changes with the cluster is in the sets and
 * maps, and in a chain for each frontend (`ruleset.ts`).
 */
export function rulesText(plane: Plane, settings: KernelSettings, tunnelMtu: number): string {
  return `${balancing(plane, settings)}
${replies(settings)}
${isolation(settings)}
${tunnel(plane, settings, tunnelMtu)}
`
}

/** What the rules ask: it is there, and full, before them (`transaction.ts`). */
export const setsText = `
  set bridges { type ifname; }
  set internal_bridges { type ifname; }
  set own_subnets { type ifname . ipv4_addr; flags interval; }
  set own_addresses { type ifname . ipv4_addr; }
  map gateways { type ifname : ipv4_addr; }
  set subnets { type ipv4_addr; flags interval; }
  set outward_subnets { type ipv4_addr; flags interval; }
  set virtual_subnets { type ipv4_addr; flags interval; }
  set peers { type ipv4_addr; }
  set sealed_peers { type ipv4_addr; }
  map reply_marks { type ether_addr : mark; }
  set targets { type inet_proto . inet_service; }
  set hairpins { type ipv4_addr . ipv4_addr; }
  set homeward { type ipv4_addr . ipv4_addr; flags interval; }
  map virtual_frontends { type ipv4_addr : verdict; }
  map published_frontends { type inet_proto . inet_service : verdict; }
`

/** Priorities are Docker's less 10, so that a packet that is ours has been translated when Docker's rules see it. */
function balancing({ self }: Plane, { device, dnsPort }: KernelSettings): string {
  return `
  chain prerouting_nat {
    type nat hook prerouting priority -110
    # What comes over the tunnel was translated where it entered.
    iifname "${device}" return
    iifname . ip daddr @own_subnets ip daddr vmap @virtual_frontends
    iifname . ip daddr @own_addresses meta l4proto { tcp, udp } th dport 53 redirect to :${dnsPort}
    iifname @internal_bridges return
    fib daddr type local meta l4proto . th dport vmap @published_frontends
  }
  chain output_nat {
    type nat hook output priority -110
    ip daddr vmap @virtual_frontends
    fib daddr type local meta l4proto . th dport vmap @published_frontends
  }
  chain postrouting_nat {
    type nat hook postrouting priority 90
    # A container that reaches itself would answer itself directly.
    ip saddr . ip daddr @hairpins snat to oifname map @gateways
    ip saddr 127.0.0.0/8 oifname "${device}" snat to ${self.underlay}
    ip saddr 127.0.0.0/8 snat to oifname map @gateways
    oifname "${device}" ip saddr . ip daddr @homeward snat to ${self.underlay}
    oifname "${device}" return
    oifname @bridges return
    ip saddr @outward_subnets ip daddr != @subnets masquerade
  }`
}

/**
 * The client's address survives the way over another node: what came in through a peer's tunnel is marked with that peer,
 * and its replies are routed by the mark (`routing.ts`), wherever the client's own address would lead.
 */
function replies({ device, mark }: KernelSettings): string {
  const ours = `${hex(ourMarkMask)} == ${hex(mark)}`
  return `
  chain prerouting_marks {
    type filter hook prerouting priority -150
    iifname "${device}" ct state new ip saddr != @subnets ct mark set ether saddr map @reply_marks
    iifname @bridges ct direction reply ct mark & ${ours} meta mark set ct mark
  }
  chain postrouting_marks {
    type filter hook postrouting priority -150
    # Its work is done; the tunnel's own packet inherits it, and would be looked for among the rules of replies.
    meta mark & ${ours} meta mark set meta mark & ${hex(foreignMarkMask)}
  }`
}

function isolation({ device, mark }: KernelSettings): string {
  return `
  chain forward {
    type filter hook forward priority -10
    iifname "${device}" goto ours
    oifname "${device}" goto ours
    iifname @bridges goto ours
    oifname @bridges goto ours
  }
  chain ours {
    ct state established,related goto pass
    # Untranslated, it would tell a client of an address that it never spoke to.
    ct state invalid drop
    iifname "${device}" goto from_tunnel
    iifname @bridges goto from_bridge
    # From the world: only what was published.
    ct status dnat goto pass
    drop
  }
  chain from_tunnel {
    oifname != @bridges drop
    oifname . ip saddr @own_subnets goto pass
    # Members' own processes.
    ip saddr @peers goto pass
    oifname @internal_bridges drop
    meta l4proto . th dport @targets goto pass
    drop
  }
  chain from_bridge {
    iifname . ip saddr != @own_subnets drop
    # Still virtual here: no service has this address.
    ip daddr @virtual_subnets reject with icmp host-unreachable
    iifname . ip daddr @own_subnets goto pass
    # Nor to a port that Docker publishes of another network's container: we let that through before its own rules see it.
    iifname @internal_bridges reject with icmp admin-prohibited
    ip daddr @subnets ct status dnat goto pass
    ip daddr @subnets reject with icmp admin-prohibited
    oifname "${device}" drop
  }
  chain pass {
    # Docker's policy drops what it did not make itself; its chain for users lets this mark through (docker-user.ts).
    # The peer is taken off the mark: or the tunnel's own packet, which inherits it, would be led into the tunnel again.
    meta mark set meta mark & ${hex(foreignMarkMask)} | ${hex(mark)}
    accept
  }
  chain input {
    type filter hook input priority -10
    iifname @bridges goto input_from_ours
    iifname "${device}" goto input_from_ours
  }
  chain input_from_ours {
    ct state established,related accept
    iifname . ip daddr @own_subnets accept
    iifname "${device}" drop
    iifname @internal_bridges drop
    ip daddr @subnets drop
  }
  chain output {
    type filter hook output priority -10
    ip daddr @virtual_subnets reject with icmp host-unreachable
    # A virtual IP's backend on the same bridge: containers must go on asking for the virtual IP.
    oifname @bridges icmp type redirect drop
  }
  chain prerouting_raw {
    type filter hook prerouting priority -300
    # A client may come from one port through two nodes to one container. The way in has a zone for each peer (of its MAC's last
    # 16 bits), so that the second is no part of the first; all ways back share one, so that it is given a port of its own.
    iifname "${device}" ct original zone set @ll,80,16
    # route_localnet opens this host's loopback to them.
    iifname @bridges ip daddr 127.0.0.0/8 drop
    iifname "${device}" ip daddr 127.0.0.0/8 drop
  }`
}

/** IPv4's 20 and TCP's 20. */
const tcpHeaderBytes = 40

/** The tunnel's own packets are not tracked: each connection inside would cost one more outside. */
function tunnel({ self }: Plane, { device, tunnelPort, lanes }: KernelSettings, mtu: number): string {
  const wireGuard = `{ ${lanes.map((lane) => `"${lane.device}"`).join(', ')} }`
  return `
  chain tunnel_prerouting {
    type filter hook prerouting priority -300
    udp dport ${tunnelPort} fib daddr type local notrack
  }
  chain tunnel_output {
    type filter hook output priority -300
    udp dport ${tunnelPort} ip daddr @sealed_peers oifname != ${wireGuard} drop
    udp dport ${tunnelPort} notrack
  }
  chain tunnel_input {
    type filter hook input priority -10
    udp dport ${tunnelPort} ip saddr != @peers drop
    udp dport ${tunnelPort} ip daddr != ${self.underlay} drop
    # WireGuard has proved whose address it is; on any other way anybody can write it.
    udp dport ${tunnelPort} ip saddr @sealed_peers iifname != ${wireGuard} drop
  }
  chain tunnel_forward {
    type filter hook forward priority -10
    # A container's: masqueraded it would come from a member, and lead into any network.
    udp dport ${tunnelPort} ip daddr @peers ip saddr != @peers drop
  }
  chain tunnel_mss {
    type filter hook forward priority -150
    oifname "${device}" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    # A peer that does not encrypt has a larger one, and says so: this end has to answer by its own.
    iifname "${device}" tcp flags & (syn | rst) == syn tcp option maxseg size set ${mtu - tcpHeaderBytes}
  }`
}
