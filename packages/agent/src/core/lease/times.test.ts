import { assert, integer, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaults } from '../../defaults.ts'
import { brokenRules, type LeaseSettings, leaseTimes } from './times.ts'

const settings: LeaseSettings = defaults
const times = leaseTimes(settings)

describe('the times of leases', () => {
  it('are these by default', () => {
    expect(times).toEqual({
      leaseMs: 9_000,
      renewAfterMs: 3_000,
      fadeMs: 2_100,
      askIntervalMs: 500,
      tryMs: 1_000,
      holdMs: 12_048,
      silenceMs: 12_048,
      movesWithinMs: 14_262,
    })
  })

  it('fence with whatever clocks there are within the error', () => {
    const any = record({
      leaseMs: integer({ min: 3_000, max: 600_000 }),
      leaseClockErrorPercent: integer({ min: 0, max: 50 }),
      leaseWatchdogMs: integer({ min: 0, max: 10_000 }),
      leaseKillMs: integer({ min: 0, max: 10_000 }),
      holderPercent: integer({ min: -100, max: 100 }),
      voterPercent: integer({ min: -100, max: 100 }),
    })
    assert(
      property(any, ({ holderPercent, voterPercent, ...drawn }) => {
        const { leaseMs, holdMs } = leaseTimes({
          ...settings,
          ...drawn,
          leaseAskIntervalMs: 400,
          leaseTryMs: 900,
        })
        const rate = (percent: number): number => 1 + (drawn.leaseClockErrorPercent * percent) / 10_000
        // True times since the ask was sent, which the voter granted at once.
        const goneAtMs = leaseMs / rate(holderPercent) + drawn.leaseWatchdogMs + drawn.leaseKillMs
        const freeAtMs = holdMs / rate(voterPercent)
        expect(freeAtMs).toBeGreaterThanOrEqual(goneAtMs - 1e-6)
      }),
    )
  })

  it.for<readonly [string, Partial<typeof times>]>([
    ['a voter that is fast holds', { holdMs: times.holdMs - 10 }],
    ['the silence after a start', { silenceMs: times.holdMs - 1 }],
    ['a holder that is fast', { fadeMs: 2_000 }],
    ['two renewals may fail', { renewAfterMs: 3_001 }],
    ['asked for more than once', { askIntervalMs: 1_501 }],
    ['time for a second ask', { tryMs: 999 }],
    ['over before the lease is', { tryMs: 3_001 }],
  ])('are refused where they would not: %s', ([words, changed]) => {
    const broken = brokenRules(settings, { ...times, ...changed })
    expect(broken).toContainEqual(expect.stringContaining(words))
  })

  it('say which setting cannot be', () => {
    expect(() => leaseTimes({ ...settings, leaseMs: 1_200 })).toThrow(/two asks|change the settings/)
    expect(() => leaseTimes({ ...settings, leaseClockErrorPercent: 100 })).toThrow(RangeError)
  })
})
