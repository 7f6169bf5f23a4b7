import type { Address, Plane } from '../../packages/agent/src/core/network/plane.ts'

/** What `data-plane.inhabitant.ts` is begun with. */
export interface HostGiven {
  /** Where its keys of WireGuard are, and what its interfaces are called. */
  readonly keyDirectory: string
  readonly device: string
}

/** What `data-plane.inhabitant.ts` is told, and answers. */
export type Order =
  | { readonly do: 'serve'; readonly name: string; readonly port: number }
  | {
      readonly do: 'ask'
      readonly to: Address
      readonly port: number
      readonly protocol: 'tcp' | 'udp'
      readonly timeoutMs: number
      /** By UDP, so that it is the same flow as before; by TCP, where it was the server that closed. */
      readonly fromPort?: number
      /** By TCP: the server is told to close first, and so has the connection in TIME_WAIT. */
      readonly serverCloses?: boolean
      /** By TCP: as many to be sent, and to be sent back. */
      readonly bytes?: number
    }
  /** Asks at all of these addresses from one port, twice each; what each says at last, or why it said nothing. */
  | {
      readonly do: 'hold'
      readonly tos: readonly Address[]
      readonly port: number
      readonly protocol: 'tcp' | 'udp'
      readonly fromPort: number
    }
  | ({ readonly do: 'begin'; readonly name: string } & LoadOptions)
  | { readonly do: 'end'; readonly name: string }
  | { readonly do: 'apply'; readonly plane: Plane; readonly aborted?: string }
  | { readonly do: 'check'; readonly aborted?: string }
  | { readonly do: 'ability' | 'tunnel' | 'clear' }

export interface LoadOptions {
  readonly to: Address
  readonly port: number
  /** Connections that are kept; each asks again as soon as it is answered. */
  readonly kept: number
  /** Ask once each, one after the other, so many at a time. */
  readonly short: number
}

export interface LoadReport {
  readonly kept: {
    readonly answers: number
    readonly failures: readonly string[]
    readonly longestMs: number
  }
  readonly short: {
    readonly answers: number
    readonly failures: readonly string[]
    readonly longestMs: number
  }
  /** Who answered short connections. */
  readonly by: readonly string[]
}

export interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: { readonly name: string; readonly message: string; readonly code?: string | undefined }
}
