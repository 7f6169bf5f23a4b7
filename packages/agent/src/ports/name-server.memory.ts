import { answerName, type AskedType, type NameAnswer } from '../core/network/answering.ts'
import { NameIndex } from '../core/network/name-index.ts'
import type { Address } from '../core/network/plane.ts'
import { defaults } from '../defaults.ts'
import {
  type Counting,
  type NameServer,
  type NameServerCounts,
  NameServerUnavailableError,
  nothingCounted,
} from './name-server.ts'

export interface MemoryNameServer extends NameServer {
  /** As a container at this address would. Undefined: nobody answers, since nothing has been published or it was ended. */
  ask(from: Address, name: string, type?: AskedType): NameAnswer | undefined
}

/**
 * The name server port in memory, without packets: questions to other name servers are counted, and fail.
 * @param process shared with the name servers of the same node's other agents.
 */
export function memoryNameServer(
  process: MemoryNameServerProcess = {},
  random: () => number = () => 0,
): MemoryNameServer {
  let isClosed = false
  const refuseClosed = (): void => {
    if (isClosed) throw new NameServerUnavailableError('the agent has let go of it')
  }
  return {
    port: defaults.nameServerPort,
    async publish(table, signal) {
      signal.throwIfAborted()
      refuseClosed()
      // As over a socket: what the caller changes afterwards is not in it.
      process.index = NameIndex.of(structuredClone(table))
      process.counts ??= { ...nothingCounted }
    },
    async counts(signal) {
      signal.throwIfAborted()
      return process.counts && { ...process.counts }
    },
    async close() {
      isClosed = true
    },
    async end(signal) {
      signal.throwIfAborted()
      isClosed = true
      delete process.index
      delete process.counts
    },
    ask(from, name, type = 'A') {
      const { index, counts } = process
      if (index === undefined || counts === undefined) return undefined
      const asker = index.askerAt(from)
      const answer: NameAnswer =
        asker === undefined ? { kind: 'refused' } : answerName(index, asker, { name, type }, random)
      counts[outcomes[answer.kind]]++
      return answer
    },
  }
}

/** What outlives an agent. */
export interface MemoryNameServerProcess {
  index?: NameIndex
  counts?: Counting
}

const outcomes: Readonly<Record<NameAnswer['kind'], keyof NameServerCounts>> = {
  addresses: 'answered',
  pointer: 'answered',
  authority: 'answered',
  empty: 'empty',
  unknown: 'unknown',
  refused: 'refused',
  forward: 'forwardFailed',
}
