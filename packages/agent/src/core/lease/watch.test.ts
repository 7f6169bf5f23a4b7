import { describe, expect, it } from 'vitest'
import type { SlotKey } from './messages.ts'
import { type Arm, isDue, judgeArm, type Watched } from './watch.ts'

const slot = 'database.1' as SlotKey
const arm: Arm = { slot, fence: 5, cgroup: '/moot/a', deadlineMs: 2_000 }
const armed: Watched = { kind: 'armed', ...arm }
const over: Watched = { kind: 'over', ...arm, killedAtMs: 2_001, goneAtMs: 2_010 }

const judge = (known: readonly Watched[], asked: Arm, nowMs = 1_000, slotsMax = 2): unknown =>
  judgeArm(new Map(known.map((watched) => [watched.slot, watched])), asked, nowMs, slotsMax)

describe('what a watchdog makes of an order', () => {
  it('a new one begins', () => {
    expect(judge([], arm)).toEqual({ kind: 'begin', watched: armed })
  })

  it('the same fence extends, and never shortens', () => {
    const later = { ...arm, deadlineMs: 3_000 }
    expect(judge([armed], later)).toEqual({ kind: 'extend', watched: { ...armed, deadlineMs: 3_000 } })
    expect(judge([{ ...armed, deadlineMs: 3_000 }], arm)).toMatchObject({ watched: { deadlineMs: 3_000 } })
  })

  it('an older fence is refused, whether the newer one runs or is over', () => {
    for (const known of [armed, over])
      expect(judge([known], { ...arm, fence: 4, deadlineMs: 9_000 })).toEqual({ kind: 'older', fence: 5 })
  })

  it('a deadline that has passed is not extended, though its kill has not begun', () => {
    expect(judge([armed], { ...arm, deadlineMs: 9_000 }, 2_000)).toEqual({ kind: 'over' })
    expect(judge([armed], { ...arm, deadlineMs: 9_000 }, 1_999)).toMatchObject({ kind: 'extend' })
    expect(judge([over], { ...arm, deadlineMs: 9_000 }, 1_000)).toEqual({ kind: 'over' })
    expect(judge([], arm, 2_000)).toEqual({ kind: 'over' })
  })

  it('only a higher fence begins anew', () => {
    const next = { ...arm, fence: 6, deadlineMs: 9_000 }
    expect(judge([over], next, 3_000)).toEqual({ kind: 'begin', watched: { kind: 'armed', ...next } })
  })

  it('a fence does not change its cgroup', () => {
    expect(judge([armed], { ...arm, cgroup: '/moot/b' })).toMatchObject({ kind: 'refused' })
  })

  it("one slot's kill never reaches another's cgroup", () => {
    const other = 'other.1' as SlotKey
    for (const cgroup of ['/moot/a', '/moot/a/below', '/moot'])
      expect(judge([armed], { ...arm, slot: other, cgroup })).toMatchObject({ kind: 'refused' })
    expect(judge([armed], { ...arm, slot: other, cgroup: '/moot/ab' })).toMatchObject({ kind: 'begin' })
  })

  it('at its bound it watches no more slots, and those that it has on', () => {
    const second: Watched = { ...armed, slot: 'other.1' as SlotKey, cgroup: '/moot/b' }
    const third = { ...arm, slot: 'third.1' as SlotKey, cgroup: '/moot/c' }
    expect(judge([armed, second], third)).toMatchObject({ kind: 'refused' })
    expect(judge([armed, second], { ...arm, deadlineMs: 3_000 })).toMatchObject({ kind: 'extend' })
    expect(judge([armed, second], { ...arm, fence: 6 })).toMatchObject({ kind: 'begin' })
  })

  it('is due at its deadline, once', () => {
    expect(isDue(armed, 1_999)).toBe(false)
    expect(isDue(armed, 2_000)).toBe(true)
    expect(isDue(over, 9_000)).toBe(false)
  })
})
