import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { NodeId } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { Dialer } from './dialer.ts'

const self = 'a' as NodeId
const target = 'b' as NodeId

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function dialer(answer: (attempt: number) => boolean, who = self) {
  const dialledAtMs: number[] = []
  let connected = false
  const startMs = Date.now()
  const it = new Dialer({
    self: who,
    settings: defaults,
    // Half of the jitter: three quarters of the ceiling, in whole timer milliseconds.
    random: () => 0.5,
    connected: () => connected,
    connect: () => {
      dialledAtMs.push(Date.now() - startMs)
      connected = answer(dialledAtMs.length)
      return connected ? Promise.resolve() : Promise.reject(new Error('nobody'))
    },
  })
  return { it, dialledAtMs, disconnect: () => ((connected = false), it.disconnected(target)) }
}

test('a member is dialled at once, then ever more rarely, and never more rarely than the bound', async () => {
  const { it, dialledAtMs } = dialer(() => false)
  it.setTargets(new Set([target]))
  await vi.advanceTimersByTimeAsync(120_000)
  expect(dialledAtMs[0]).toBe(0)
  const gaps = dialledAtMs.slice(1).map((atMs, index) => atMs - dialledAtMs[index]!)
  expect(gaps.slice(0, 4)).toEqual([187, 375, 750, 1_500])
  expect(Math.max(...gaps)).toBeLessThanOrEqual(defaults.meshBackoffMaxMs)
  it.stop()
})

test('of two nodes that meet, the one with the higher id waits a little', async () => {
  const { it, dialledAtMs } = dialer(() => true, 'c' as NodeId)
  it.setTargets(new Set([target]))
  await vi.advanceTimersByTimeAsync(1_000)
  expect(dialledAtMs).toEqual([defaults.meshDialYieldMs])
  it.stop()
})

test('a kick ends the back-off, a lost connection is dialled again soon, and after stop nothing is dialled', async () => {
  const { it, dialledAtMs, disconnect } = dialer((attempt) => attempt > 5)
  it.setTargets(new Set([target]))
  await vi.advanceTimersByTimeAsync(4_000)
  expect(dialledAtMs).toHaveLength(5)
  it.kick(target)
  await vi.advanceTimersByTimeAsync(0)
  expect(dialledAtMs).toHaveLength(6)
  disconnect()
  await vi.advanceTimersByTimeAsync(defaults.meshBackoffFirstMs)
  expect(dialledAtMs).toHaveLength(7)
  disconnect()
  it.stop()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(dialledAtMs).toHaveLength(7)
})
