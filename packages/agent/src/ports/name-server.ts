import type { NameTable } from '../core/network/name-table.ts'

/** Answers containers' questions for names, also while no agent runs: with what it was told last. */
export interface NameServer {
  /** Resolves once questions are answered by this table. Starts it where it does not run. */
  publish(table: NameTable, signal: AbortSignal): Promise<void>
  /** UDP and TCP, on all of this host's addresses: port 53 of the bridges is redirected there. */
  readonly port: number
  /** Lets go of it: it goes on answering. */
  close(): Promise<void>
  /** Ends it, when this node leaves its cluster. */
  end(signal: AbortSignal): Promise<void>
}
