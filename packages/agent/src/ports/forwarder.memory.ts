import type { Address, Forward } from '../core/network/plane.ts'
import { type Forwarder, nothingForwarded, type OpenRemote, type PortTrouble } from './forwarder.ts'
import { memoryStreamPair } from './mesh.memory-stream.ts'
import type { ByteStream } from './mesh.ts'

export interface MemoryForwarder extends Forwarder {
  /** What it goes by; empty before, and when it was ended. */
  readonly forwards: readonly Forward[]
  /** Ports that are another's. */
  taken: readonly PortTrouble[]
  /** The container at this address answers: it is handed the other end of each connection. */
  answer(address: Address, port: number, handler: (stream: ByteStream) => void): void
  /** Somebody connects to this port, and is led to the first endpoint that answers. */
  dial(protocol: Forward['protocol'], port: number): Promise<ByteStream>
}

/** The forwarder port in memory: somebody can connect to its ports, and containers answer. */
export function memoryForwarder(whyNot?: string): MemoryForwarder {
  let forwards: readonly Forward[] = []
  let dialled = 0
  let unanswered = 0
  let openRemote: OpenRemote | undefined
  const containers = new Map<string, (stream: ByteStream) => void>()
  const twin: MemoryForwarder = {
    whyNot,
    taken: [],
    get forwards() {
      return forwards
    },
    async apply(wanted, signal) {
      await Promise.resolve()
      signal.throwIfAborted()
      forwards = wanted
    },
    troubles: () =>
      twin.taken.filter(({ protocol, port }) =>
        forwards.some((each) => each.protocol === protocol && each.port === port),
      ),
    counts: () => Promise.resolve({ ...nothingForwarded, connections: dialled, unanswered }),
    onRemote: (open) => (openRemote = open),
    connect(_protocol, address, port) {
      const handler = containers.get(`${address}:${port}`)
      if (handler === undefined) return Promise.reject(new Error(`nobody answers at ${address}:${port}`))
      const { near, far } = memoryStreamPair()
      handler(far)
      return Promise.resolve(near)
    },
    answer: (address, port, handler) => containers.set(`${address}:${port}`, handler),
    async dial(protocol, port) {
      const forward = forwards.find((each) => each.protocol === protocol && each.port === port)
      if (forward === undefined || forward.endpoints.length === 0) throw new Error('refused')
      dialled += 1
      const signal = new AbortController().signal
      for (const endpoint of forward.endpoints) {
        const { target } = forward
        const opened =
          endpoint.kind === 'local'
            ? twin.connect(protocol, endpoint.address, target, signal)
            : openRemote?.(endpoint.node, { task: endpoint.task, protocol, port: target }, signal)
        const stream = await opened?.catch(() => undefined)
        if (stream !== undefined) return stream
      }
      unanswered += 1
      throw new Error('refused')
    },
    close: () => Promise.resolve(),
    end() {
      forwards = []
      return Promise.resolve()
    },
  }
  return twin
}
