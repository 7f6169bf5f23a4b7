import type { NodeId } from '@moot/crdt-state'
import type { LeaseEffects, LeaseInput, LeaseMember } from '../member.ts'
import type { LeaseMessage, SlotKey } from '../messages.ts'
import type { LeaseTimes } from '../times.ts'
import type { Durable, Kept } from '../voter.ts'
import type { RunningTask } from './checker.ts'
import type { HostClock } from './timeline.ts'

/** Takes one rule of the protocol away, so that a test can see that the checker needs it. */
export interface Tamper {
  readonly voterTimes?: (times: LeaseTimes) => LeaseTimes
  readonly start?: (member: LeaseMember, localMs: number) => LeaseMember
  /** Of what is read back after a crash. */
  readonly disk?: (durable: Durable) => Durable
  readonly sent?: (message: LeaseMessage) => LeaseMessage
  readonly received?: (message: LeaseMessage, localMs: number) => LeaseMessage
  /** Around each step. */
  readonly step?: (
    member: LeaseMember,
    input: LeaseInput,
    localMs: number,
    next: (member: LeaseMember) => LeaseEffects,
  ) => LeaseEffects
  /** Of a host whose lease file is lost. */
  readonly newDisk?: (before: string) => string
}

interface Watched {
  readonly fence: number
  deadlineMs: number
}

export interface Host {
  readonly id: NodeId
  readonly clock: HostClock
  member: LeaseMember | undefined
  durable: Durable
  kept: Kept | undefined
  life: number
  boot: number
  /** Its only timer. */
  wake: number
  isPaused: boolean
  /** Waits for its disk. */
  isWriting: boolean
  readonly backlog: LeaseInput[]
  readonly wants: Set<SlotKey>
  /** Knows that the slot's service is not exclusive any more. */
  readonly loosened: Set<SlotKey>
  readonly tasks: Map<SlotKey, RunningTask>
  readonly starting: Set<SlotKey>
  readonly stopping: Set<SlotKey>
  /** The watchdog's: a process of its own, which outlives the agent. */
  readonly watched: Map<SlotKey, Watched>
}

export interface WorldSettings {
  readonly times: LeaseTimes
  readonly watchdogMs: number
  readonly killMs: number
}
