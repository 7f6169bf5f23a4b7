import { describe, expect, test } from 'vitest'
import { isClaim, slotId, type ServiceId, type TaskEntry } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { reconcile } from './reconcile.ts'
import { restartVerdict } from './restart.ts'
import {
  after,
  changedTasks,
  containerFor,
  inputOf,
  other,
  runningTask,
  self,
  serviceOf,
  taskOf,
  type Scene,
} from './testing.ts'

const seconds = (count: number): number => count * 1e9
const withPolicy = (policy: Record<string, unknown>) => serviceOf('web', {}, { RestartPolicy: policy })
const web = serviceOf('web')
const run = (scene: Scene) => reconcile(inputOf(scene))

/** The scene in which the running task of slot 1 has just ended with this exit code. */
function crashed(service = web, exitCode = 1, patch: Partial<TaskEntry> = {}): Scene {
  const task = runningTask(service, { stateAtMs: 999_000, ...patch })
  return {
    services: [service],
    tasks: [task],
    containers: [containerFor(task, 'exited', { exitCode })],
    nowMs: 1_000_000,
  }
}

describe('a restart', () => {
  test('claims the slot in the same write in which the task ends', () => {
    const [old, next] = changedTasks(run(crashed()).changes)
    expect(old).toMatchObject({ state: 'failed', desired: 'shutdown' })
    expect(next).toMatchObject({ state: 'assigned', desired: 'running', attempt: 2, slot: 1 })
  })

  test('is at once the first time, then waits twice as long each time, up to a maximum', () => {
    const delays: number[] = []
    let task = taskOf(web, { state: 'failed' })
    for (let count = 0; count < 10; count += 1) {
      const verdict = restartVerdict(task, web.spec, 0, defaults)
      if (verdict.kind === 'done') throw new Error('a restart was due')
      delays.push(verdict.delayMs)
      task = { ...task, restart: verdict.restart }
    }
    expect(delays).toEqual([0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
  })

  test('is at once again after the task ran for long', () => {
    const restart = { count: 6, windowStartMs: 0, notBeforeMs: 0 }
    const next = (stateAtMs: number) =>
      changedTasks(run(crashed(web, 1, { restart, stateAtMs })).changes)[1]?.restart?.notBeforeMs
    expect(next(1_000_000 - 60_000)).toBe(1_000_000)
    expect(next(1_000_000 - 59_000)).toBe(1_016_000)
  })

  test('honours a given delay exactly, each time, zero too', () => {
    for (const delay of [0, 3]) {
      const service = withPolicy({ Delay: seconds(delay) })
      const restart = { count: 4, windowStartMs: 0, notBeforeMs: 0 }
      const [, next] = changedTasks(run(crashed(service, 1, { restart })).changes)
      expect(next?.restart?.notBeforeMs).toBe(1_000_000 + delay * 1_000)
      expect(next?.desired).toBe(delay === 0 ? 'running' : 'ready')
    }
  })

  test('makes its container while it waits, and starts it when the delay is over', () => {
    const service = withPolicy({ Delay: seconds(3) })
    const task = taskOf(service, {
      state: 'ready',
      desired: 'ready',
      attempt: 2,
      createdAtMs: 1_000_000,
      restart: { count: 1, windowStartMs: 0, notBeforeMs: 1_003_000 },
    })
    const scene: Scene = { services: [service], tasks: [task], containers: [containerFor(task, 'created')] }
    const early = run({ ...scene, nowMs: 1_002_999 })
    expect(early.actions).toEqual([])
    expect(early.wakeAtMs).toBe(1_003_000)
    expect(run({ ...scene, nowMs: 1_003_000 }).actions).toMatchObject([{ kind: 'start' }])
  })

  test('of a task that never got a container waits before it is prepared again', () => {
    const restart = { count: 3, windowStartMs: 0, notBeforeMs: 1_002_000 }
    const before = taskOf(web, { state: 'failed', desired: 'shutdown', error: 'registry: timeout' })
    const task = taskOf(web, { desired: 'ready', attempt: 2, createdAtMs: 1_000_000, restart })
    const scene: Scene = { services: [web], tasks: [before, task] }
    expect(run({ ...scene, nowMs: 1_001_999 })).toMatchObject({ actions: [], wakeAtMs: 1_002_000 })
    expect(run({ ...scene, nowMs: 1_002_000 }).actions).toMatchObject([{ kind: 'prepare' }])
  })

  test('does not wait for ever when the clock is set back', () => {
    const task = taskOf(web, {
      state: 'ready',
      desired: 'ready',
      createdAtMs: 1_000_000,
      restart: { count: 3, windowStartMs: 0, notBeforeMs: 1_060_000 },
    })
    const scene: Scene = {
      services: [web],
      tasks: [task],
      containers: [containerFor(task, 'created')],
      nowMs: 5_000,
    }
    expect(run(scene).actions).toMatchObject([{ kind: 'start' }])
  })

  test('of a task whose update has not had its turn runs what it ran', () => {
    const newer = serviceOf('web', { UpdateConfig: { Parallelism: 1 } }, { ForceUpdate: 1 })
    const running = runningTask(web, { slot: 1 })
    const down = runningTask(web, { slot: 2, stateAtMs: 999_000 })
    const output = run({
      services: [newer],
      history: [web],
      tasks: [running, down],
      containers: [containerFor(running, 'running'), containerFor(down, 'exited', { exitCode: 1 })],
    })
    const again = changedTasks(output.changes).find((task) => task?.slot === 2 && task.attempt === 2)
    expect(again?.digest).toBe(taskOf(web).digest)
  })
})

describe('no restart', () => {
  const settled = (policy: Record<string, unknown>, exitCode: number) =>
    changedTasks(run(crashed(withPolicy(policy), exitCode)).changes)

  test('a task whose policy is none keeps its slot, ended, so that no node runs it again', () => {
    const tasks = settled({ Condition: 'none' }, 1)
    expect(tasks).toMatchObject([{ state: 'failed', done: true, desired: 'running' }])
    expect(isClaim(tasks[0]!)).toBe(true)
  })

  test('on-failure restarts what failed and not what completed', () => {
    expect(settled({ Condition: 'on-failure' }, 0)).toMatchObject([{ state: 'complete', done: true }])
    expect(settled({ Condition: 'on-failure' }, 1)).toHaveLength(2)
    expect(settled({ Condition: 'any' }, 0)).toHaveLength(2)
  })

  test('after MaxAttempts restarts', () => {
    const service = withPolicy({ MaxAttempts: 2, Delay: 0 })
    const attempts = attemptsWhile(service, [10, 20, 30, 40])
    expect(attempts).toEqual(['restart', 'restart', 'done'])
  })

  test('within a window only the restarts in it count', () => {
    const service = withPolicy({ MaxAttempts: 2, Delay: 0, Window: seconds(60) })
    expect(attemptsWhile(service, [0, 50, 59])).toEqual(['restart', 'restart', 'done'])
    // Sliding, as in swarmkit: at 61 s the restart at 0 s no longer counts, the one at 50 s does.
    expect(attemptsWhile(service, [0, 50, 61, 62])).toEqual(['restart', 'restart', 'restart', 'done'])
  })

  test('also where a window may hold more of them than are written down', () => {
    const service = withPolicy({ MaxAttempts: 250, Delay: 0, Window: seconds(1_000) })
    const inOneWindow = Array.from({ length: 300 }, (_, second) => second)
    expect(attemptsWhile(service, inOneWindow)).toHaveLength(251)
    const slower = Array.from({ length: 300 }, (_, index) => index * 5)
    expect(attemptsWhile(service, slower)).toEqual(slower.map(() => 'restart'))
  })

  function attemptsWhile(service: ReturnType<typeof serviceOf>, atSeconds: readonly number[]): string[] {
    const verdicts: string[] = []
    let task = taskOf(service, { state: 'failed' })
    for (const at of atSeconds) {
      const verdict = restartVerdict(task, service.spec, at * 1_000, defaults)
      verdicts.push(verdict.kind)
      if (verdict.kind === 'done') break
      task = { ...task, restart: verdict.restart }
    }
    return verdicts
  }

  test('a slot that is settled comes to rest', () => {
    const scene = crashed(withPolicy({ Condition: 'none' }))
    const output = run(after(scene, run(scene)))
    expect(output.changes.size).toBe(0)
    expect(output.actions).toEqual([])
  })
})

describe('after the host was off', () => {
  const scene = { ...crashed(), synced: false }
  const ended = run(scene)

  test('a task has ended at once, and nothing is started before the first sync', () => {
    expect(changedTasks(ended.changes)).toMatchObject([{ state: 'failed', desired: 'running' }])
    expect(ended.actions).toEqual([])
    expect(isClaim(changedTasks(ended.changes)[0]!)).toBe(false)
  })

  const later = { ...after(scene, ended), synced: true }
  const slot = slotId(web.id as ServiceId, 1)

  test('a slot that another node holds by then stays there', () => {
    const task = runningTask(web, { id: 'theirs' as TaskEntry['id'], attempt: 2 })
    const output = run({
      ...later,
      slots: { [slot]: { kind: 'held', holder: { node: other, task }, losers: [] } },
    })
    expect(changedTasks(output.changes)).toMatchObject([{ desired: 'shutdown' }])
  })

  test('a slot that is ours by right, and runs elsewhere too, is left to the other', () => {
    const [mine] = scene.tasks
    const task = runningTask(web, { id: 'theirs' as TaskEntry['id'], attempt: 2 })
    const losers = [{ node: other, task }]
    const output = run({
      ...scene,
      synced: true,
      slots: { [slot]: { kind: 'held', holder: { node: self, task: mine! }, losers } },
    })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'failed', desired: 'shutdown' }])
  })

  test('a slot that nobody took is restarted here if it is placed here, and left to the other node if not', () => {
    const vacant = (to: typeof self) => ({ [slot]: { kind: 'vacant', to, attempt: 2, assumed: [] } }) as const
    expect(changedTasks(run({ ...later, slots: vacant(self) }).changes)).toMatchObject([
      { desired: 'shutdown' },
      { attempt: 2, desired: 'running', state: 'assigned' },
    ])
    expect(changedTasks(run({ ...later, slots: vacant(other) }).changes)).toMatchObject([
      { desired: 'shutdown' },
    ])
  })
})
