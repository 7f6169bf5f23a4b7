import type { Arm, ArmAnswer, DisarmAnswer, Watched } from '../core/lease/watch.ts'
import type { SlotKey } from '../core/lease/messages.ts'

/**
 * Kills exclusive tasks at the deadlines of their leases, whatever this agent and the engine do then. It outlives the
 * agent. Deadlines are of CLOCK_BOOTTIME, in ms (`bootMs` of the adapter).
 */
export interface Watchdog {
  /** Resolves when the answer is in force. Throws `WatchdogUnavailableError`: then nothing may be started. */
  arm(arm: Arm): Promise<ArmAnswer>
  /** The task is gone with its last process, and no start of it is under way. Said again it is answered the same. */
  disarm(slot: SlotKey, fence: number): Promise<DisarmAnswer>
  /** What is watched, also by an earlier agent's order. */
  list(): Promise<readonly Watched[]>
  /** These slots were armed and are watched by nobody: the agent must stop their tasks itself, now. */
  onLost(callback: (loss: WatchdogLoss) => void): () => void
  /** The agent lets go of it; it watches on. */
  close(): Promise<void>
}

export interface WatchdogLoss {
  readonly slots: readonly SlotKey[]
  readonly why: string
}

export class WatchdogUnavailableError extends Error {
  readonly code = 'ERR_WATCHDOG_UNAVAILABLE'
  override name = 'WatchdogUnavailableError'
  constructor(why: string, options?: ErrorOptions) {
    super(
      `The watchdog of exclusive tasks does not answer: ${why}. No exclusive task is started here.`,
      options,
    )
  }
}
