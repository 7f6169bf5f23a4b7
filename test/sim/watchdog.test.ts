import type { NodeId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import type { TaskSetup } from '../../packages/agent/src/core/reconcile/actions.ts'
import { defaults } from '../../packages/agent/src/defaults.ts'
import { memoryClock, type MemoryClock } from '../../packages/agent/src/ports/clock.memory.ts'
import { MemoryEngine } from '../../packages/agent/src/ports/engine.memory.ts'
import type { Watchdog } from '../../packages/agent/src/ports/watchdog.ts'
import { HostClock } from './host-clock.ts'
import { Life } from './process.ts'
import { randomFrom } from './random.ts'
import { WatchdogProcess } from './watchdog.ts'

const slot = 'db.1' as SlotKey
const cgroup = '/moot/exclusive/db.1'
const signal = new AbortController().signal

function setupOf(fence: number): TaskSetup {
  return {
    task: { id: `task${fence}`, service: 'service', slot: 1 },
    service: { id: 'service', name: 'db' },
    spec: { TaskTemplate: { ContainerSpec: { Image: 'db:1' } } },
    networks: [],
    overlays: [],
    lease: { slot, fence },
  } as unknown as TaskSetup
}

interface Bed {
  readonly world: MemoryClock
  readonly clock: HostClock
  readonly engine: MemoryEngine
  readonly process: WatchdogProcess
  readonly life: Life
  readonly watchdog: Watchdog
  readonly isRunning: () => boolean
}

/** A host on which a task runs by a lease of 9 s of its clock. */
async function holding(seed: number, rate: number): Promise<Bed> {
  const world = memoryClock()
  const clock = new HostClock(world, rate, 1_000)
  const engine: MemoryEngine = new MemoryEngine({
    clock: world,
    node: 'node' as NodeId,
    isBlocked: (setup) => process.isBlocked(setup),
  })
  const process = new WatchdogProcess({
    world,
    clock,
    engine,
    random: randomFrom(seed),
    settings: defaults,
    onKill: () => undefined,
  })
  const life = new Life()
  const watchdog = process.client(life)
  expect(await watchdog.arm({ slot, fence: 1, cgroup, deadlineMs: 10_000 })).toMatchObject({ kind: 'armed' })
  const { container } = await engine.create(setupOf(1), signal)
  await engine.start(container, signal)
  const isRunning = (): boolean =>
    engine.containers().some(({ observation }) => observation.state === 'running')
  return { world, clock, engine, process, life, watchdog, isRunning }
}

describe.each([1, 2, 3, 4, 5])('with chance %i', (seed) => {
  test.each([0.95, 1, 1.05])(
    'with a clock at %d of true time a task is gone when its lease is over, and not before, though engine and agent do nothing',
    async (rate) => {
      const { world, engine, life, isRunning } = await holding(seed, rate)
      engine.hang()
      life.kill()
      const overMs = 9_000 / rate
      await world.advance(overMs - 1)
      expect(isRunning()).toBe(true)
      await world.advance(1 + defaults.leaseWatchdogMs + defaults.leaseKillMs)
      expect(isRunning()).toBe(false)
    },
  )

  test('a start that comes after the end of the lease fails, until there is a new one', async () => {
    const { world, engine, watchdog, isRunning } = await holding(seed, 1)
    engine.crash(setupOf(1).task.id)
    const late = await engine.create(setupOf(1), signal)
    engine.hang('start')
    const started = engine.start(late.container, signal).catch((error: unknown) => error)
    await world.advance(12_000)
    engine.release('start')
    expect(await started).toMatchObject({ status: 500 })
    expect(isRunning()).toBe(false)
    await watchdog.arm({ slot, fence: 2, cgroup, deadlineMs: 30_000 })
    const { container } = await engine.create(setupOf(2), signal)
    await engine.start(container, signal)
    expect(isRunning()).toBe(true)
  })

  test('the next agent finds what is watched; after a power failure nothing is', async () => {
    const { world, clock, process, life } = await holding(seed, 1)
    await world.advance(3_000)
    life.kill()
    process.crash()
    const next = new Life()
    expect(await process.client(next).list()).toMatchObject([{ slot, fence: 1, deadlineMs: 10_000 }])
    next.kill()
    process.powerOff()
    clock.restart()
    expect(await process.client(new Life()).list()).toEqual([])
    expect(clock.monotonicMs()).toBe(0)
  })
})

test("a host's clock runs on at another rate from where it was", async () => {
  const world = memoryClock()
  const clock = new HostClock(world, 0.95, 1_000)
  await world.advance(1_000)
  clock.setRate(1.05)
  expect(clock.monotonicMs()).toBeCloseTo(1_950)
  let rangMs = 0
  clock.after(2_100, () => {
    rangMs = world.monotonicMs()
  })
  await world.advance(10_000)
  expect(rangMs).toBeCloseTo(3_000)
  clock.setRate()
  await world.advance(1_000)
  expect(clock.monotonicMs()).toBeCloseTo(1_950 + 10_500 + 950)
})
