import type { ContainerId, TaskId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { defaults } from '../../packages/agent/src/defaults.ts'
import type { Clock } from '../../packages/agent/src/ports/clock.ts'
import { EngineCallError, EngineUnavailableError } from '../../packages/agent/src/ports/engine.errors.ts'
import { MemoryEngine, type MemoryEngineOptions } from '../../packages/agent/src/ports/engine.memory.ts'
import type { SlotKey } from '../../packages/agent/src/core/lease/messages.ts'
import { EventRecorder } from './engine.events.ts'
import { taskSetup, testNode } from './engine.setup.ts'
import { engineSuite } from './engine.suite.ts'

/** Time that passes only when it is told to. */
class ManualClock implements Clock {
  #nowMs = 0
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>()

  monotonicMs(): number {
    return this.#nowMs
  }
  bootMs(): number {
    return this.#nowMs
  }
  wallMs(): number {
    return this.#nowMs
  }
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve)
    })
  }
  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    while (true) {
      const next = [...this.#timers].toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > untilMs) break
      this.#timers.delete(next)
      this.#nowMs = next.atMs
      next.callback()
    }
    this.#nowMs = untilMs
  }
  get pending(): number {
    return this.#timers.size
  }
}

const greeting = 'serves on port 80'

class GreetingEngine extends MemoryEngine {
  override async start(...[container, signal]: Parameters<MemoryEngine['start']>) {
    const observation = await super.start(container, signal)
    this.print(observation.task, greeting)
    return observation
  }
}

engineSuite('the engine in memory', () => {
  const clock = new ManualClock()
  const engine = new GreetingEngine({ clock, node: testNode })
  return Promise.resolve({
    engine,
    greeting,
    kill: ({ task }) => Promise.resolve(engine.crash(task.id, 137)),
    advance: (ms) => clock.advance(ms),
    engineDown: () => Promise.resolve(engine.down()),
    engineUp: () => Promise.resolve(engine.up()),
    networks: () => Promise.resolve([...engine.networks()]),
    removeNetwork: (id) => Promise.resolve(engine.removeNetworkBehindBack(id)),
    putGuest: (_, { network, address }) => {
      const guest = { container: 'c1' as ContainerId, name: 'box', isUp: false, network: network.id, address }
      engine.putGuest(guest)
      return Promise.resolve(guest)
    },
    makeVolume: (name) => Promise.resolve(engine.makeVolume(name)),
    dropGuest: (container, { network }) => Promise.resolve(engine.dropGuest(container, network.id)),
    close: () => Promise.resolve(),
  })
})

describe('the engine in memory, as a simulator uses it', () => {
  const signal = new AbortController().signal
  const make = (options: Partial<MemoryEngineOptions> = {}) => {
    const clock = new ManualClock()
    return { clock, engine: new MemoryEngine({ clock, node: testNode, ...options }) }
  }
  const start = async (engine: MemoryEngine, container: object = {}) => {
    const setup = taskSetup({ container })
    const created = await engine.create(setup, signal)
    return { setup, started: await engine.start(created.container, signal) }
  }
  const stateOf = (engine: MemoryEngine, task: TaskId) =>
    engine.containers().find(({ setup }) => setup.task.id === task)?.observation

  test('a call that its client gave up is carried out all the same', async () => {
    const { clock, engine } = make({ latencyMs: { create: 6 } })
    const client = new AbortController()
    const call = engine.create(taskSetup(), client.signal)
    client.abort(new Error('the agent died'))
    await expect(call).rejects.toThrow('the agent died')
    expect(engine.containers()).toHaveLength(0)
    clock.advance(6)
    expect(engine.containers()).toHaveLength(1)
  })

  test('a hung call answers when it is released, or ends at its time bound', async () => {
    const { clock, engine } = make()
    engine.hang('list')
    const released = engine.list(signal)
    await Promise.resolve()
    engine.release()
    expect(await released).toEqual([])
    engine.hang()
    const late = engine.list(signal)
    clock.advance(defaults.engineCallTimeoutMs)
    await expect(late).rejects.toBeInstanceOf(EngineUnavailableError)
  })

  test('an injected failure hits the next call of its kind alone, and nothing is done', async () => {
    const { engine } = make()
    engine.failNext('create', new EngineCallError(500, 'disk quota exceeded'))
    await expect(engine.create(taskSetup(), signal)).rejects.toThrow('disk quota exceeded')
    expect(engine.containers()).toHaveLength(0)
    await engine.create(taskSetup(), signal)
    expect(engine.containers()).toHaveLength(1)
  })

  test('containers run on while the engine is down, and what happens to them is told by no event', async () => {
    const { engine } = make()
    const { setup } = await start(engine)
    const told = new EventRecorder(engine)
    await told.until('connected', ({ kind }) => kind === 'connected')
    engine.down()
    await told.until('disconnected', ({ kind }) => kind === 'disconnected')
    expect(stateOf(engine, setup.task.id)?.state).toBe('running')
    engine.crash(setup.task.id, 3)
    engine.up()
    await told.until('connected', ({ kind }) => kind === 'connected', { from: 2 })
    expect(told.seen.map(({ kind }) => kind)).toEqual(['connected', 'disconnected', 'connected'])
    expect(await engine.list(signal)).toMatchObject([{ state: 'exited', exitCode: 3 }])
    await told.stop()
  })

  test('a slot is killed as a watchdog does it: what was made under its lease, also while the engine is down', async () => {
    const engine = new MemoryEngine({ clock: new ManualClock(), node: testNode })
    const slot = 'db.1' as SlotKey
    const leased = { ...taskSetup(), lease: { slot, fence: 7 } }
    const made = await engine.create(leased, signal)
    expect(made.lease).toEqual({ slot, fence: 7 })
    expect(engine.isOccupied(slot)).toBe(false)
    const others = await engine.create(
      { ...taskSetup(), lease: { slot: 'db.2' as SlotKey, fence: 8 } },
      signal,
    )
    await engine.start(made.container, signal)
    await engine.start(others.container, signal)
    expect(engine.isOccupied(slot)).toBe(true)
    engine.down()
    engine.killSlot(slot)
    expect(engine.isOccupied(slot)).toBe(false)
    engine.up()
    expect(await engine.list(signal)).toMatchObject([
      { state: 'exited', exitCode: 137, lease: { slot, fence: 7 } },
      { state: 'running' },
    ])
  })

  test('a call under way when the engine dies is lost', async () => {
    const { clock, engine } = make({ latencyMs: { create: 6 } })
    const call = engine.create(taskSetup(), signal)
    engine.down()
    await expect(call).rejects.toBeInstanceOf(EngineUnavailableError)
    clock.advance(10)
    expect(engine.containers()).toHaveLength(0)
  })

  test('a reboot ends every process, keeps containers and volumes, and changes the boot id', async () => {
    const { engine } = make()
    const before = await engine.facts(signal)
    const { setup } = await start(engine, { Mounts: [{ Source: 'data', Target: '/data' }] })
    engine.reboot()
    expect(stateOf(engine, setup.task.id)?.state).toBe('exited')
    expect(await engine.volumes(signal)).toEqual(['data'])
    expect((await engine.facts(signal)).bootId).not.toBe(before.bootId)
  })

  test('behaviour: exits after its time, is healthy after its time, or is killed when it ignores the stop', async () => {
    const { clock, engine } = make({
      behaviour: ({ spec }) => ({
        exitAfterMs: 500,
        exitCode: 7,
        healthyAfterMs: spec.Name === 'web' ? 100 : 'never',
        stopMs: 60_000,
      }),
    })
    const health = { Healthcheck: { Test: ['CMD', 'true'] } }
    const { setup } = await start(engine, health)
    clock.advance(99)
    expect(stateOf(engine, setup.task.id)?.health).toBe('starting')
    clock.advance(1)
    expect(stateOf(engine, setup.task.id)?.health).toBe('healthy')
    clock.advance(400)
    expect(stateOf(engine, setup.task.id)).toMatchObject({ state: 'exited', exitCode: 7 })
    const stubborn = await start(engine)
    const stopped = engine.stop(stubborn.started.container, 300, signal)
    clock.advance(300)
    expect(await stopped).toMatchObject({ exitCode: 137 })
    expect(clock.pending).toBe(0)
  })

  test('a reader that falls behind loses events and is told to list again', async () => {
    const { engine } = make()
    const { setup } = await start(engine)
    const events = engine.events(signal)
    await events.next()
    for (let at = 0; at <= defaults.engineEventQueueLimit; at++) engine.setHealth(setup.task.id, 'healthy')
    expect((await events.next()).value).toMatchObject({ kind: 'disconnected' })
    expect((await events.next()).value).toMatchObject({ kind: 'connected' })
    await events.return(undefined)
  })
})
