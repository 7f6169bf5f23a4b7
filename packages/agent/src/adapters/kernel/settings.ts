import { defaults } from '../../defaults.ts'

/** What a kernel data plane is made with. */
export interface KernelOptions {
  /** VXLAN network identifier, 24 bits: one for each cluster, so that two on the same hosts never meet. */
  readonly vni: number
  /** Where the node's name server listens: port 53 of the bridges is redirected there. */
  readonly dnsPort: number
  /** UDP, between hosts. */
  readonly tunnelPort?: number
  /** Of the tunnel's end; at most 15 characters. */
  readonly device?: string
  /** Of our nftables table, in the family `ip`; with a 2 behind it, of the one that takes turns with it. */
  readonly table?: string
  /** Upper 8 of 32 bits of packets' and connections' marks; the lower 12 stay other programs'. */
  readonly mark?: number
  readonly wireGuard: {
    /** Where the private key of a round is: base64, read by `wg` itself. */
    readonly keyFile: (round: number) => string
    /** What the names of its two interfaces begin with; at most 14 characters. */
    readonly device?: string
  }
}

export interface KernelSettings {
  readonly vni: number
  readonly dnsPort: number
  readonly tunnelPort: number
  readonly device: string
  /** One is in force. The next one is built beside it (transaction.ts). */
  readonly tables: readonly [string, string]
  readonly mark: number
  readonly keyFile: (round: number) => string
  readonly lanes: readonly [LaneSettings, LaneSettings]
  readonly callTimeoutMs: number
}

export interface LaneSettings {
  readonly device: string
  /** UDP, between hosts. */
  readonly port: number
}

export function settingsFrom(options: KernelOptions): KernelSettings {
  const wireGuardDevice = options.wireGuard.device ?? 'moot-wg'
  const table = options.table ?? 'moot'
  return {
    vni: options.vni,
    dnsPort: options.dnsPort,
    tunnelPort: options.tunnelPort ?? defaults.tunnelPort,
    device: options.device ?? 'moot0',
    tables: [table, `${table}2`],
    mark: options.mark ?? defaults.tunnelMark,
    keyFile: options.wireGuard.keyFile,
    lanes: [
      { device: `${wireGuardDevice}0`, port: defaults.wireGuardPort },
      { device: `${wireGuardDevice}1`, port: defaults.wireGuardPort + 1 },
    ],
    callTimeoutMs: defaults.kernelCallTimeoutMs,
  }
}

/** Our part of a mark … */
export const ourMarkMask = 0xff000000
/** … the part that names a peer … */
export const peerMarkShift = 12
/** … and both. */
export const wholeMarkMask = 0xfffff000
/** What other programs may mark packets with that pass through our hands. */
export const foreignMarkMask = 0x00000fff

/** What a connection is marked with that came in through a peer, and its replies. */
export function peerMark(settings: Pick<KernelSettings, 'mark'>, mark: number): number {
  return (settings.mark | (mark << peerMarkShift)) >>> 0
}

export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
