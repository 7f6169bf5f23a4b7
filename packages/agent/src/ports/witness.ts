import type { WitnessWord } from '../core/membership/island.ts'

/**
 * Something that is no member and that this node's way to the others leads past: tells a node that is cut off from one
 * whose peers are gone.
 */
export interface Witness {
  /** Begins to learn whether it answers at all, while there is no need. */
  start(): void
  stop(): void
  /** Never rejects for its silence. */
  ask(timeoutMs: number): Promise<WitnessWord>
}
