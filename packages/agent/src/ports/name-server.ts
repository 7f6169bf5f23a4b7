import type { NameTable } from '../core/network/name-table.ts'

/** Answers containers' questions for names, also while no agent runs: with what it was told last. */
export interface NameServer {
  /**
   * Resolves once questions are answered by this table, or a later one. Starts it where it does not run; from then on one that ends is
   * started again. Cheap where little differs from what was published before. Rejects with `NameServerUnavailableError`.
   */
  publish(table: NameTable, signal: AbortSignal): Promise<void>
  /** UDP and TCP, on all of this host's addresses: port 53 of the bridges is redirected there. */
  readonly port: number
  /** Undefined where it does not run. */
  counts(signal: AbortSignal): Promise<NameServerCounts | undefined>
  /** Lets go of it: it goes on answering. */
  close(): Promise<void>
  /** Ends it, when this node leaves its cluster. */
  end(signal: AbortSignal): Promise<void>
}

/** Since it started: questions by what became of them. */
export interface NameServerCounts {
  /** By a name or an address of ours. */
  readonly answered: number
  /** A name of ours that has nothing of the type that was asked for. */
  readonly empty: number
  /** Nobody's name in our own domain. */
  readonly unknown: number
  /** Answered by another name server. */
  readonly forwarded: number
  /** None of the other name servers answered. */
  readonly forwardFailed: number
  /** Too many questions to other name servers were under way. */
  readonly forwardsFull: number
  /** By who is on no network, or by who may not ask the world. */
  readonly refused: number
  readonly malformed: number
  readonly unsupported: number
  /** No question, one of our own that came back, or more than could be sent. */
  readonly dropped: number
  /** Of those answered: cut, since they did not fit. */
  readonly truncated: number
}

export const nothingCounted: NameServerCounts = {
  answered: 0,
  empty: 0,
  unknown: 0,
  forwarded: 0,
  forwardFailed: 0,
  forwardsFull: 0,
  refused: 0,
  malformed: 0,
  unsupported: 0,
  dropped: 0,
  truncated: 0,
}

/** As they are while it counts. */
export type Counting = { -readonly [K in keyof NameServerCounts]: number }

export class NameServerUnavailableError extends Error {
  readonly code = 'ERR_NAME_SERVER_UNAVAILABLE'
  override name = 'NameServerUnavailableError'
  constructor(why: string, options?: ErrorOptions) {
    super(`The name server of this node does not do as it is told: ${why}.`, options)
  }
}
