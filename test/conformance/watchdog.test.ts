import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Arm, Watched } from '../../packages/agent/src/core/lease/watch.ts'
import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import { cgroupTree, memoryBed, processBed, type WatchdogBed } from './watchdog.bed.ts'

const slot = 'database.1' as SlotKey

const v1 = cgroupTree('v1')
const v2 = cgroupTree('v2')
const noCgroups = 'this machine has no such cgroups, or lets us make none'

describe('a watchdog: in memory', () => {
  keepsItsWord(memoryBed)
})
describe.skipIf(v1 === undefined)(`a watchdog: a process, cgroup v1 (skipped if ${noCgroups})`, () => {
  keepsItsWord(() => processBed(v1!))
})
describe.skipIf(v2 === undefined)(`a watchdog: a process, cgroup v2 (skipped if ${noCgroups})`, () => {
  keepsItsWord(() => processBed(v2!), v1 === undefined)
})

/** @param whole also what has nothing to do with cgroups. */
function keepsItsWord(bedOf: () => Promise<WatchdogBed>, whole = true): void {
  let bed: WatchdogBed
  let cgroup: string
  beforeEach(async () => {
    bed = await bedOf()
    cgroup = bed.cgroup('slot')
  })
  afterEach(() => bed.close())

  const arm = (inMs: number, more: Partial<Arm> = {}): Arm => ({
    slot,
    fence: 5,
    cgroup,
    deadlineMs: bed.nowMs() + inMs,
    ...more,
  })
  const running = async (inMs: number): Promise<Arm> => {
    // Its first start takes a while.
    await bed.watchdog.arm(arm(10_000, { slot: 'other.1' as SlotKey, cgroup: bed.cgroup('other') }))
    const armed = arm(inMs)
    expect(await bed.watchdog.arm(armed)).toEqual({ kind: 'armed', deadlineMs: armed.deadlineMs })
    expect(await bed.start(cgroup)).toBe(true)
    return armed
  }
  const untilGone = async (withinMs: number): Promise<void> => {
    const fromMs = bed.nowMs()
    while (bed.isOccupied(cgroup) && bed.nowMs() < fromMs + withinMs) await bed.pass(10)
  }
  /** What emptied a moment ago can be joined until the watchdog has seen it, and would be killed then. */
  const untilSaysSo = async (): Promise<void> => {
    const isGone = (watched: Watched): boolean => watched.kind === 'over' && watched.goneAtMs !== undefined
    while (!(await bed.watchdog.list()).some((watched) => watched.slot === slot && isGone(watched)))
      await bed.pass(10)
  }

  it('kills at the deadline, within a second and not before', async () => {
    const { deadlineMs } = await running(400)
    await bed.pass(deadlineMs - 100 - bed.nowMs())
    expect(bed.isOccupied(cgroup)).toBe(true)
    await untilGone(1_100)
    expect(bed.isOccupied(cgroup)).toBe(false)
    expect(bed.nowMs()).toBeGreaterThanOrEqual(deadlineMs)
    expect(bed.nowMs()).toBeLessThan(deadlineMs + 1_000)
    await bed.pass(50)
    const over = (await bed.watchdog.list()).find((watched) => watched.slot === slot)
    expect(over).toMatchObject({ kind: 'over', fence: 5, deadlineMs })
    expect(over?.kind === 'over' && over.goneAtMs).toBeLessThan(deadlineMs + 1_000)
  })

  it.runIf(whole)(
    'what is extended in time lives on; an earlier deadline of the same fence changes nothing',
    async () => {
      const { deadlineMs } = await running(300)
      const later = { ...arm(0), deadlineMs: deadlineMs + 700 }
      expect(await bed.watchdog.arm(later)).toEqual({ kind: 'armed', deadlineMs: later.deadlineMs })
      expect(await bed.watchdog.arm({ ...later, deadlineMs })).toEqual({
        kind: 'armed',
        deadlineMs: later.deadlineMs,
      })
      await bed.pass(deadlineMs + 300 - bed.nowMs())
      expect(bed.isOccupied(cgroup)).toBe(true)
      await untilGone(1_500)
      expect(bed.isOccupied(cgroup)).toBe(false)
      expect(bed.nowMs()).toBeGreaterThanOrEqual(later.deadlineMs)
    },
  )

  it.runIf(whole)('an older fence changes nothing', async () => {
    const { deadlineMs } = await running(500)
    const older = arm(60_000, { fence: 4 })
    expect(await bed.watchdog.arm(older)).toEqual({ kind: 'older', fence: 5 })
    expect(await bed.watchdog.disarm(slot, 4)).toEqual({ kind: 'older', fence: 5 })
    await bed.pass(deadlineMs - bed.nowMs())
    await untilGone(1_000)
    expect(bed.isOccupied(cgroup)).toBe(false)
  })

  it('after the deadline nothing starts there, until a higher fence is armed', async () => {
    await running(200)
    await bed.pass(200)
    await untilGone(1_000)
    await untilSaysSo()
    expect(await bed.start(cgroup)).toBe(false)
    expect(await bed.watchdog.arm(arm(60_000))).toEqual({ kind: 'over' })
    expect(await bed.start(cgroup)).toBe(false)
    expect(await bed.watchdog.arm(arm(60_000, { fence: 6 }))).toMatchObject({ kind: 'armed' })
    expect(await bed.start(cgroup)).toBe(true)
  })

  it('a start that comes late is blocked also where nothing had ever run', async () => {
    await bed.watchdog.arm(arm(10_000, { slot: 'other.1' as SlotKey, cgroup: bed.cgroup('other') }))
    await bed.watchdog.arm(arm(100))
    await bed.pass(300)
    expect(await bed.start(cgroup)).toBe(false)
  })

  it('a higher fence is not armed while something runs by an older one', async () => {
    await running(10_000)
    expect(await bed.watchdog.arm(arm(20_000, { fence: 6 }))).toEqual({ kind: 'occupied' })
    await bed.end(cgroup)
    expect(await bed.watchdog.arm(arm(20_000, { fence: 6 }))).toMatchObject({ kind: 'armed' })
  })

  it('is disarmed only when nothing runs any more, and then forgets', async () => {
    await running(10_000)
    expect(await bed.watchdog.disarm(slot, 5)).toEqual({ kind: 'occupied' })
    await bed.end(cgroup)
    expect(await bed.watchdog.disarm(slot, 5)).toEqual({ kind: 'disarmed' })
    expect(await bed.watchdog.disarm(slot, 5)).toEqual({ kind: 'disarmed' })
    expect((await bed.watchdog.list()).map((watched) => watched.slot)).toEqual(['other.1'])
  })

  it.runIf(whole)('two slots are not told of one cgroup, nor one below another', async () => {
    await bed.watchdog.arm(arm(10_000))
    for (const other of [cgroup, `${cgroup}/below`]) {
      const answer = await bed.watchdog.arm(arm(10_000, { slot: 'other.1' as SlotKey, cgroup: other }))
      expect(answer).toMatchObject({ kind: 'refused', why: expect.stringContaining(`${cgroup} of ${slot}`) })
    }
  })

  it.runIf(whole)('a restart of it keeps deadlines, and nothing is lost', async () => {
    const { deadlineMs } = await running(1_500)
    await bed.crash('kept')
    expect(await bed.watchdog.list()).toHaveLength(2)
    expect(bed.isOccupied(cgroup)).toBe(true)
    expect(bed.losses).toEqual([])
    await bed.pass(deadlineMs - bed.nowMs())
    await untilGone(1_000)
    expect(bed.isOccupied(cgroup)).toBe(false)
    // That it killed, and that the fence is used up, is remembered too.
    await bed.pass(50)
    await bed.crash('kept')
    expect(await bed.watchdog.arm(arm(60_000))).toEqual({ kind: 'over' })
    expect(await bed.start(cgroup)).toBe(false)
  })

  it.runIf(whole)('if it dies and forgets, the agent hears which slots nobody watches', async () => {
    await running(10_000)
    await bed.crash('lost')
    for (let waitedMs = 0; bed.losses.length === 0 && waitedMs < 5_000; waitedMs += 20) await bed.pass(20)
    expect(bed.losses.map(({ slots }) => slots.toSorted())).toEqual([['database.1', 'other.1']])
    expect(await bed.watchdog.list()).toEqual([])
  })

  it.runIf(whole)('whoever has closed it gets nothing more of it', async () => {
    await running(10_000)
    await bed.watchdog.close()
    await expect(bed.watchdog.arm(arm(20_000))).rejects.toMatchObject({ code: 'ERR_WATCHDOG_UNAVAILABLE' })
  })
}
