import { digestId, type ContainerId, type NodeId, type TaskId } from '@moot/crdt-state'
import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Action } from './core/reconcile/actions.ts'
import { defaults } from './defaults.ts'
import { createExecutor, engineConcurrency, type Executor, type Finished } from './executor.ts'
import { type MemoryClock, memoryClock } from './ports/clock.memory.ts'
import { MemoryEngine } from './ports/engine.memory.ts'

const container = digestId('container') as ContainerId
const taskId = (index: number): TaskId => digestId('task', `${index}`) as TaskId

describe('the executor', () => {
  let clock: MemoryClock
  let engine: MemoryEngine
  let executor: Executor
  let finished: Finished[]
  let lanes: number
  let drained: PromiseWithResolvers<void>

  beforeEach(() => {
    clock = memoryClock()
    engine = new MemoryEngine({ clock, node: 'n'.repeat(25) as NodeId })
    finished = []
    drained = Promise.withResolvers()
    lanes = 4
    executor = createExecutor({
      bridged: () => Promise.resolve(),
      engine,
      drain: () => drained.promise,
      clock,
      concurrency: () => lanes,
      stopConcurrency: 4,
      giveWayMs: defaults.engineGiveWayMs,
      logger: pino({ level: 'silent' }),
      finished: (one) => finished.push(one),
    })
  })

  const starts = (count: number, from = 0): Action[] =>
    Array.from({ length: count }, (_, index) => ({ kind: 'start', task: taskId(from + index), container }))
  const prepare = (index: number): Action => ({
    kind: 'prepare',
    task: taskId(index),
    setup: {
      task: { id: taskId(index) },
      spec: { TaskTemplate: { ContainerSpec: { Image: 'moot/test:1' } } },
    } as never,
  })
  const removal: Action = { kind: 'remove', task: taskId(1_000), container }

  it('images that are long in coming hold up nothing else', async () => {
    engine.hang('prepare')
    executor.dispatch([...Array.from({ length: 50 }, (_, index) => prepare(index)), removal])
    await clock.advance(0)
    expect(finished.map(({ action }) => action.kind)).toEqual(['remove'])
    engine.release()
    await clock.advance(0)
    expect(finished).toHaveLength(51)
  })

  it('tasks that wait until nobody sends them traffic hold up nothing else', async () => {
    executor.dispatch([
      ...Array.from({ length: 50 }, (_, index): Action => ({ kind: 'drain', task: taskId(index) })),
      removal,
    ])
    await clock.advance(0)
    expect(finished.map(({ action }) => action.kind)).toEqual(['remove'])
    drained.resolve()
    await clock.advance(0)
    expect(finished).toHaveLength(51)
  })

  it('a host that turns out to be larger works on more at a time from then on', async () => {
    engine.hang('start')
    executor.dispatch(starts(4))
    lanes = 6
    executor.dispatch([...starts(1, 4), removal])
    await clock.advance(0)
    expect(finished.map(({ action }) => action.kind)).toEqual(['remove'])
  })

  it.each([
    [undefined, defaults.engineConcurrencyMin],
    [1e9, defaults.engineConcurrencyMin],
    [5.5e9, 5],
    [128e9, defaults.engineConcurrencyMax],
  ])('%s nano-CPUs: %i containers at a time', (nanoCpus, expected) => {
    expect(engineConcurrency(nanoCpus, defaults)).toBe(expected)
  })

  it('starts that hang leave their places to others after a while, and are still told of in the end', async () => {
    engine.hang('start')
    executor.dispatch([...starts(4), removal])
    await clock.advance(defaults.engineGiveWayMs - 1)
    expect(finished).toEqual([])
    await clock.advance(1)
    expect(finished.map(({ action }) => action.kind)).toEqual(['remove'])
    expect(executor.inFlight.size).toBe(4)
    await clock.advance(defaults.engineCallTimeoutMs)
    expect(finished).toHaveLength(5)
    expect(executor.inFlight.size).toBe(0)
  })

  it('one task has one action at a time, and so many tasks as there are places', async () => {
    engine.hang('start')
    executor.dispatch([...starts(6), ...starts(6)])
    await clock.advance(0)
    expect(engine.calls.filter(({ call }) => call === 'start')).toHaveLength(4)
    expect(executor.inFlight.size).toBe(6)
  })

  it('stops at once, whatever hangs, and tells of nothing any more', async () => {
    engine.hang('prepare', 'start', 'stop')
    executor.dispatch([prepare(1), ...starts(8, 10)])
    await clock.advance(0)
    await executor.stop()
    expect(finished).toEqual([])
    expect(executor.inFlight.size).toBe(0)
  })
})
