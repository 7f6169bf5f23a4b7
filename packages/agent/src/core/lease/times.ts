/** What a person may tune; `defaults.ts` has the reasons. */
export interface LeaseSettings {
  /** For so long a holder may count on a lease, on its own clock, from before it asked. */
  readonly leaseMs: number
  /** No clock of a host runs faster or slower than true time by more than this. */
  readonly leaseClockErrorPercent: number
  /** The watchdog begins to kill at most so long after the deadline. */
  readonly leaseWatchdogMs: number
  /** From the kill until no process of the task is left. */
  readonly leaseKillMs: number
  /** An ask that was not answered is asked again after this; who waits for a slot looks as often. */
  readonly leaseAskIntervalMs: number
  /** Votes that are no majority after so long are given back, and an unanswered ballot of a successor epoch begins anew. */
  readonly leaseTryMs: number
}

/**
 * All fencing times, in one place. `design/exclusive.md` proves what follows from them. Each is counted on one clock:
 * of the holder's host, or of the voter's.
 */
export interface LeaseTimes {
  /** Holder: its task is dead, or being killed, this long after it asked for what a majority granted. */
  readonly leaseMs: number
  /** Holder: asks for more this long after the ask that its lease counts from. */
  readonly renewAfterMs: number
  /** Holder: this long after a deadline that it has missed its task is gone, and it may ask (and give back) anew. */
  readonly fadeMs: number
  readonly askIntervalMs: number
  readonly tryMs: number
  /** Voter: a grant binds it this long, counted from when it was given, and so does one that it took over from another epoch. */
  readonly holdMs: number
  /** Voter: after a start that has forgotten its grants it takes no part for this long. */
  readonly silenceMs: number
  /** True time from the last grant to a holder until the next one that asks can have the slot, if nobody else asks. */
  readonly movesWithinMs: number
}

export function leaseTimes(settings: LeaseSettings): LeaseTimes {
  const { leaseMs, leaseClockErrorPercent: error } = settings
  const holdMs = Math.ceil(((100 + error) * holderLastsMs(settings)) / 100)
  const slowest = 100 / (100 - error)
  const times: LeaseTimes = {
    leaseMs,
    renewAfterMs: Math.floor(leaseMs / 3),
    fadeMs: Math.ceil(((100 + error) * (settings.leaseWatchdogMs + settings.leaseKillMs)) / 100),
    askIntervalMs: settings.leaseAskIntervalMs,
    tryMs: settings.leaseTryMs,
    holdMs,
    silenceMs: holdMs,
    // The hold runs out, the next look sees it, and one try takes it.
    movesWithinMs: Math.ceil(slowest * (holdMs + settings.leaseAskIntervalMs + settings.leaseTryMs)),
  }
  const broken = brokenRules(settings, times)
  if (broken.length > 0)
    throw new RangeError(`these lease times would not fence: ${broken.join('; ')}; change the settings`)
  return times
}

/** The longest true time from a holder's ask until its task is gone, if the lease is not renewed. */
function holderLastsMs(settings: LeaseSettings): number {
  const { leaseMs, leaseClockErrorPercent: error, leaseWatchdogMs, leaseKillMs } = settings
  return (leaseMs * 100) / (100 - error) + leaseWatchdogMs + leaseKillMs
}

/** What must hold of the times, whatever the settings; each broken rule in words. */
export function brokenRules(settings: LeaseSettings, times: LeaseTimes): readonly string[] {
  const { leaseClockErrorPercent: error } = settings
  const lastsMs = holderLastsMs(settings)
  /** Of a time on the fastest clock, the true time. */
  const shortestMs = (ms: number): number => (ms * 100) / (100 + error)
  const rules: readonly (readonly [string, boolean])[] = [
    ['clocks go forward', error >= 0 && error < 100],
    [
      'a voter that is fast holds at least as long as the task of a slow holder can live',
      shortestMs(times.holdMs) >= lastsMs,
    ],
    ['the silence after a start is as long as what it has forgotten', times.silenceMs >= times.holdMs],
    [
      'a holder that is fast does not ask anew before the task of its last lease is gone',
      shortestMs(times.fadeMs) >= settings.leaseWatchdogMs + settings.leaseKillMs,
    ],
    ['two renewals may fail', times.renewAfterMs * 3 <= times.leaseMs],
    [
      'a renewal is asked for more than once before the next is due',
      times.askIntervalMs * 2 <= times.renewAfterMs,
    ],
    ['a try has time for a second ask', times.tryMs >= times.askIntervalMs * 2],
    ['a try is over before the lease is', times.tryMs <= times.renewAfterMs],
  ]
  return rules.filter(([, holds]) => !holds).map(([words]) => `broken: ${words}`)
}
