import type { NodeId } from '@moot/crdt-state'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/** Messages between nodes: delayed, reordered, lost, and cut by partitions. */
export interface Network {
  loss: number
  maxDelayMs: number
  /** Node → side; nodes on different sides do not hear each other. */
  readonly sides: Map<NodeId, number>
  reaches(from: NodeId, to: NodeId): boolean
  /** At most once; `reliable` messages are a request's (TCP): lost only with the connection. */
  send(from: NodeId, to: NodeId, deliver: () => void, reliable?: boolean): void
}

export function createNetwork(timeline: Timeline, random: Random, isUp: (node: NodeId) => boolean): Network {
  const network: Network = {
    loss: 0,
    maxDelayMs: 20,
    sides: new Map(),
    reaches: (from, to) =>
      isUp(from) && isUp(to) && (network.sides.get(from) ?? 0) === (network.sides.get(to) ?? 0),
    send(from, to, deliver, reliable = false) {
      if (!network.reaches(from, to) || (!reliable && random.chance(network.loss))) return
      timeline.after(random.between(1, network.maxDelayMs), () => {
        if (network.reaches(from, to)) deliver()
      })
    },
  }
  return network
}
