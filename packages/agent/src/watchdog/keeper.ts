import type { SlotKey } from '../core/lease/messages.ts'
import {
  type Arm,
  type ArmAnswer,
  type DisarmAnswer,
  isDue,
  judgeArm,
  type Watched,
} from '../core/lease/watch.ts'
import type { defaults } from '../defaults.ts'
import type { Cgroups } from './cgroups.ts'

export type KeeperSettings = Pick<
  typeof defaults,
  | 'watchdogRecheckMs'
  | 'watchdogGuardPerSlotMs'
  | 'watchdogKillIntervalMs'
  | 'watchdogKillEagerMs'
  | 'watchdogSlotsMax'
>

export interface KeeperParts {
  readonly cgroups: Cgroups
  readonly bootMs: () => number
  readonly after: (ms: number, callback: () => void) => () => void
  /** What a next process of the watchdog begins with. */
  readonly save: (all: readonly Watched[]) => void
  readonly log: (line: string) => void
  readonly settings: KeeperSettings
}

/** The watchdog without its process: deadlines, and what is done at them. */
export class Keeper {
  readonly #parts: KeeperParts
  readonly #all: Map<SlotKey, Watched>
  #isSaved = true
  #guardedAtMs = -Infinity
  #cancel: (() => void) | undefined
  /** Said last of each slot: what fails four times a second is said once. */
  readonly #troubles = new Map<SlotKey, string>()

  constructor(parts: KeeperParts, saved: readonly Watched[]) {
    this.#parts = parts
    this.#all = new Map(saved.map((watched) => [watched.slot, watched]))
  }

  /** Also does at once what became due while no process watched. */
  start(): void {
    this.#tick()
  }

  stop(): void {
    this.#cancel?.()
  }

  get isIdle(): boolean {
    return this.#all.size === 0
  }

  list(): readonly Watched[] {
    return [...this.#all.values()]
  }

  /** The answer may be told only after `flush`. */
  arm(arm: Arm): ArmAnswer {
    const { bootMs, cgroups, settings } = this.#parts
    const verdict = judgeArm(this.#all, arm, bootMs(), settings.watchdogSlotsMax)
    if (verdict.kind !== 'begin' && verdict.kind !== 'extend') return verdict
    if (verdict.kind === 'begin') {
      const before = this.#all.get(arm.slot)
      try {
        if (before !== undefined && cgroups.isOccupied(before.cgroup)) return { kind: 'occupied' }
        if (cgroups.isOccupied(arm.cgroup)) return { kind: 'occupied' }
        cgroups.open(arm.cgroup)
      } catch (error) {
        return { kind: 'refused', why: wordsOf(error) }
      }
      this.#troubles.delete(arm.slot)
    }
    this.#put(verdict.watched)
    this.#schedule()
    return { kind: 'armed', deadlineMs: verdict.watched.deadlineMs }
  }

  /** The answer may be told only after `flush`. */
  disarm(slot: SlotKey, fence: number): DisarmAnswer {
    const known = this.#all.get(slot)
    if (known === undefined || known.fence < fence) return { kind: 'disarmed' }
    if (known.fence > fence) return { kind: 'older', fence: known.fence }
    if (this.#isOccupied(known)) return { kind: 'occupied' }
    this.#all.delete(slot)
    this.#troubles.delete(slot)
    this.#isSaved = false
    this.#try(known, 'remove', () => this.#parts.cgroups.remove(known.cgroup))
    this.#schedule()
    return { kind: 'disarmed' }
  }

  /** Throws if it cannot be kept for a next process: then it is not in force. */
  flush(): void {
    if (this.#isSaved) return
    this.#parts.save(this.list())
    this.#isSaved = true
  }

  #put(watched: Watched): void {
    this.#all.set(watched.slot, watched)
    this.#isSaved = false
  }

  #tick(): void {
    const { bootMs } = this.#parts
    const guards = this.#isGuardDue()
    for (const watched of this.list()) {
      if (watched.kind === 'over') {
        if (guards || watched.goneAtMs === undefined) this.#keepOver(watched)
      } else if (isDue(watched, bootMs())) this.#end(watched)
    }
    try {
      this.flush()
    } catch (error) {
      this.#parts.log(`what is watched could not be kept: ${wordsOf(error)}`)
    }
    this.#schedule()
  }

  /** Whether those that are over and empty are looked after now: at each recheck, less often when they are very many. */
  #isGuardDue(): boolean {
    const { bootMs, settings } = this.#parts
    const nowMs = bootMs()
    const intervalMs = Math.max(settings.watchdogRecheckMs, this.#all.size * settings.watchdogGuardPerSlotMs)
    // A recheck comes a little early or late.
    if (nowMs < this.#guardedAtMs + intervalMs - settings.watchdogRecheckMs / 2) return false
    this.#guardedAtMs = nowMs
    return true
  }

  #end(watched: Watched): void {
    const killedAtMs = this.#parts.bootMs()
    this.#parts.log(
      `${watched.slot} (fence ${watched.fence}): its lease is over since ${killedAtMs - watched.deadlineMs} ms; killing ${watched.cgroup}`,
    )
    this.#keepOver({ ...watched, kind: 'over', killedAtMs, goneAtMs: undefined })
  }

  /** Whatever has got in since, or would not die, is killed again. */
  #keepOver(watched: Watched & { readonly kind: 'over' }): void {
    const { cgroups, bootMs, log } = this.#parts
    const { cgroup, slot, fence, deadlineMs } = watched
    const isOccupied = (): boolean => {
      // Blocked first: what is not there yet cannot be killed, and what forks is not faster than we are.
      this.#try(watched, 'block', () => cgroups.block(cgroup))
      return this.#isOccupied(watched)
    }
    // Twice before it is called empty: a cgroup that the last process leaves after the block could still be joined.
    if (isOccupied() || (watched.goneAtMs === undefined && isOccupied())) {
      this.#try(watched, 'kill', () => cgroups.kill(cgroup))
      if (watched.goneAtMs !== undefined || this.#all.get(slot)?.kind === 'armed')
        this.#put({ ...watched, goneAtMs: undefined })
    } else if (watched.goneAtMs === undefined) {
      const goneAtMs = bootMs()
      this.#put({ ...watched, goneAtMs })
      log(`${slot} (fence ${fence}): empty ${goneAtMs - deadlineMs} ms after its deadline`)
    }
  }

  /** Who cannot tell must take it for occupied. */
  #isOccupied(watched: Watched): boolean {
    let occupied = true
    this.#try(watched, 'look into', () => {
      occupied = this.#parts.cgroups.isOccupied(watched.cgroup)
    })
    return occupied
  }

  #try({ slot, cgroup }: Watched, what: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      const trouble = `${slot}: could not ${what} ${cgroup}: ${wordsOf(error)}`
      if (this.#troubles.get(slot) === trouble) return
      this.#troubles.set(slot, trouble)
      this.#parts.log(trouble)
    }
  }

  #schedule(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.isIdle) return
    const { bootMs, after, settings } = this.#parts
    const nowMs = bootMs()
    let delayMs: number = settings.watchdogRecheckMs
    for (const watched of this.#all.values()) {
      if (watched.kind === 'armed') delayMs = Math.min(delayMs, watched.deadlineMs - nowMs)
      else if (watched.goneAtMs === undefined && nowMs < watched.killedAtMs + settings.watchdogKillEagerMs)
        delayMs = Math.min(delayMs, settings.watchdogKillIntervalMs)
    }
    this.#cancel = after(Math.max(1, delayMs), () => this.#tick())
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
