import { packetBytes } from '../../../packages/agent/src/adapters/libp2p/datagram/packet.ts'
import { percentile } from '../../percentile.ts'

/** A question or its answer by datagram, with the headers of UDP and IPv4. */
export const datagramBytes = packetBytes + 28

/** What one kind of work took, each time. */
export class Costs {
  readonly #wallMs: number[] = []
  #cpuMicros = 0
  /** Of the last one, by the wall clock. */
  lastMs = 0

  measure<T>(act: () => T): T {
    const cpu = process.threadCpuUsage()
    const start = performance.now()
    const result = act()
    this.lastMs = performance.now() - start
    this.#wallMs.push(this.lastMs)
    const { user, system } = process.threadCpuUsage(cpu)
    this.#cpuMicros += user + system
    return result
  }

  /** The CPU's own clock is too coarse for a single decision: it is told as a mean, the distribution by the wall clock. */
  take(): { medianMs: number; p99Ms: number; meanCpuMs: number; runs: number } {
    const runs = this.#wallMs.length
    const at = (share: number): number => rounded(percentile(this.#wallMs, share) ?? 0)
    const taken = {
      medianMs: at(0.5),
      p99Ms: at(0.99),
      meanCpuMs: rounded(this.#cpuMicros / 1_000 / Math.max(1, runs)),
      runs,
    }
    this.#wallMs.length = 0
    this.#cpuMicros = 0
    return taken
  }
}

export function rounded(value: number): number {
  return Number(value.toFixed(2))
}

/** Gossip of one measure. */
export class Traffic {
  published = 0
  copies = 0
  bytes = 0
  readonly #perSecond = new Map<number, number>()

  count(nowMs: number, copies: number, bytes: number): void {
    this.published += 1
    this.copies += copies
    this.bytes += copies * bytes
    const second = Math.floor(nowMs / 1_000)
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + copies)
  }

  /** Sent, which is as much as received. */
  take(nodes: number): {
    published: number
    messagesPerNode: number
    bytesPerNode: number
    peakPerNodeAndSecond: number
  } {
    const peak = Math.max(0, ...this.#perSecond.values())
    const taken = {
      published: this.published,
      messagesPerNode: rounded(this.copies / nodes),
      bytesPerNode: Math.round(this.bytes / nodes),
      peakPerNodeAndSecond: Math.round(peak / nodes),
    }
    this.published = 0
    this.copies = 0
    this.bytes = 0
    this.#perSecond.clear()
    return taken
  }
}
