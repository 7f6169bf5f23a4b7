import type { Peer, Plane } from '../core/network/plane.ts'

/** What this host's kernel can do for networks that reach over hosts. */
export type DataPlaneAbility =
  | { readonly kind: 'kernel'; readonly version: string; readonly wireGuard: WireGuardAbility }
  /** In people's words: what is missing, and what to do about it. */
  | { readonly kind: 'none'; readonly why: string }

/** What encrypts between hosts here. */
export type WireGuardAbility =
  | { readonly kind: 'kernel' }
  /** In a process of its own: slower than the kernel's. */
  | { readonly kind: 'wireguard-go' }
  /** In people's words, as above. */
  | { readonly kind: 'none'; readonly why: string }

/** Between hosts. VXLAN itself does not encrypt. */
export interface Tunnel {
  readonly kind: 'vxlan'
  readonly device: string
  /** UDP, on each host. */
  readonly port: number
  readonly mtuBytes: number
  /** Who is in it. */
  readonly peers: readonly KernelPeer[]
}

/** Where packets for this MAC go, and what connections that came from it are marked with. */
export type KernelPeer = Pick<Peer, 'mac' | 'underlay' | 'mark'>

/**
 * The local kernel's part of the network: routes, the tunnel, translation. It touches nothing that it did not make.
 * What it made stays when the agent goes, and the next agent's first `apply` takes it over without a lost packet.
 */
export interface DataPlane {
  /** Asked once at the start of an agent. Never rejects. */
  ability(signal: AbortSignal): Promise<DataPlaneAbility>
  /**
   * Makes the kernel so, in one step for all that balances; resolves once it holds for each new connection. One at a time; cheap
   * where little differs from what it applied before. Rejects with a `DataPlaneError` that says what failed, or with the signal's
   * reason: what balances is then as it was or as asked for, never between.
   */
  apply(plane: Plane, signal: AbortSignal): Promise<void>
  /**
   * Compares the whole of what it applied last with what is there, and puts back what somebody took away: some twenty calls of
   * programs. In turn with `apply`, and rejects as it does. Nothing to do where nothing is applied, or the last `apply` failed.
   */
  check(signal: AbortSignal): Promise<void>
  /** Is all still there that can end by itself? A glance, which costs nothing. */
  isIntact(): boolean
  /** The kernel as it is. Undefined: it has no tunnel. */
  tunnel(signal: AbortSignal): Promise<Tunnel | undefined>
  /** Takes back all that it made, when this node leaves its cluster. */
  clear(signal: AbortSignal): Promise<void>
}
