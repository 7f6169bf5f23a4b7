import { describe, expect, it } from 'vitest'
import { realClock } from '../../packages/agent/src/adapters/clock.ts'
import type { Clock } from '../../packages/agent/src/ports/clock.ts'
import { memoryClock } from '../../packages/agent/src/ports/clock.memory.ts'

interface Subject {
  readonly clock: Clock
  /** Lets so much time pass. */
  readonly pass: (ms: number) => Promise<void>
}

const subjects: readonly [string, () => Subject][] = [
  [
    'the virtual clock',
    () => {
      const clock = memoryClock()
      return { clock, pass: (ms) => clock.advance(ms) }
    },
  ],
  [
    'the real clock',
    () => {
      const clock = realClock()
      return { clock, pass: (ms) => clock.sleep(ms) }
    },
  ],
]

describe.each(subjects)('%s', (_, make) => {
  it('calls back once, in order of time, and not before it is due', async () => {
    const { clock, pass } = make()
    const startMs = clock.monotonicMs()
    const calls: string[] = []
    clock.after(40, () => calls.push('second'))
    clock.after(10, () => calls.push('first'))
    const cancel = clock.after(20, () => calls.push('cancelled'))
    cancel()
    await pass(90)
    expect(calls).toEqual(['first', 'second'])
    // Timers count in whole milliseconds.
    expect(clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(89)
  })

  it('a sleep ends in time, or with the reason of its signal, also of one that was aborted before', async () => {
    const { clock, pass } = make()
    const controller = new AbortController()
    const reason = new Error('enough')
    const short = clock.sleep(5)
    const long = clock.sleep(1_000_000, controller.signal).catch((error: unknown) => error)
    await pass(20)
    await short
    controller.abort(reason)
    expect(await long).toBe(reason)
    await expect(clock.sleep(1, controller.signal)).rejects.toBe(reason)
  })

  it('the wall clock tells milliseconds since 1970', () => {
    expect(make().clock.wallMs()).toBeGreaterThanOrEqual(1_000_000_000_000)
  })
})

describe('the virtual clock itself', () => {
  it('runs what a timer sets within the same advance, and what follows in promises before the next timer', async () => {
    const clock = memoryClock()
    const calls: string[] = []
    clock.after(1, () => {
      clock.after(1, () => calls.push(`nested at ${clock.monotonicMs()}`))
      void clock.sleep(0).then(() => calls.push('slept'))
    })
    clock.after(3, () => calls.push('last'))
    await clock.advance(3)
    expect(calls).toEqual(['slept', 'nested at 2', 'last'])
    expect(clock.pending()).toBe(0)
  })

  it('after a freeze everything due runs late', async () => {
    const clock = memoryClock()
    let ranAtMs = 0
    clock.after(10, () => {
      ranAtMs = clock.monotonicMs()
    })
    clock.freeze(5_000)
    await clock.advance(0)
    expect(ranAtMs).toBe(5_000)
  })
})
