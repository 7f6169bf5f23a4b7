import type { NodeId } from '@moot/crdt-state'
import type { Address, Forward, TaskPort } from '../core/network/plane.ts'
import type { ByteStream } from './mesh.ts'

/** Opens a way to a task of another node; rejects where nobody answers there. Of UDP each datagram follows two bytes of its length. */
export type OpenRemote = (node: NodeId, to: TaskPort, signal: AbortSignal) => Promise<ByteStream>

/** A published port that this host cannot answer on. */
export interface PortTrouble {
  readonly protocol: Forward['protocol']
  readonly port: number
  /** In people's words, and what to do about it. */
  readonly why: string
}

/** Since it started. */
export interface ForwarderCounts {
  /** Of TCP, those that were taken … */
  readonly connections: number
  /** … those beyond what it takes at once, and … */
  readonly turnedAway: number
  /** … those for which none of the tasks that were tried answered. */
  readonly unanswered: number
  /** Clients of UDP, and those of them that gave way to others. */
  readonly sessions: number
  readonly gaveWay: number
}

export const nothingForwarded: ForwarderCounts = {
  connections: 0,
  turnedAway: 0,
  unanswered: 0,
  sessions: 0,
  gaveWay: 0,
}

/**
 * Answers on published ports of this host without the kernel's help, and passes on each connection to one of those who answer. Goes on while no
 * agent runs, but for tasks of other nodes, which are reached by way of it.
 */
export interface Forwarder {
  /** Undefined: it works on this host. Else why not, in people's words. */
  readonly whyNot: string | undefined
  /**
   * Resolves once each new connection goes by these. What is established stays; of UDP, what goes to an endpoint that is gone
   * ends. A port that is another's keeps none of the others from being answered, and is tried again. Rejects with a `ForwarderUnavailableError`.
   */
  apply(forwards: readonly Forward[], signal: AbortSignal): Promise<void>
  /** Of what was applied last. */
  troubles(): readonly PortTrouble[]
  /** Undefined where it does not run. */
  counts(signal: AbortSignal): Promise<ForwarderCounts | undefined>
  /** How tasks of other nodes are reached; from now on, also by one that an earlier agent has started. */
  onRemote(open: OpenRemote): void
  /** A connection from here to a container of this host. */
  connect(
    protocol: Forward['protocol'],
    address: Address,
    port: number,
    signal: AbortSignal,
  ): Promise<ByteStream>
  /** Lets go of it: it goes on. */
  close(): Promise<void>
  /** Ends it, and all that it passes on, when this node leaves its cluster. */
  end(signal: AbortSignal): Promise<void>
}

export class ForwarderUnavailableError extends Error {
  readonly code = 'ERR_FORWARDER_UNAVAILABLE'
  override name = 'ForwarderUnavailableError'
  constructor(why: string, options?: ErrorOptions) {
    super(`The forwarder of this node does not do as it is told: ${why}.`, options)
  }
}
