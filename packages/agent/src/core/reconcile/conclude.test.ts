import { describe, expect, test } from 'vitest'
import {
  specDigest,
  updateFact,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
  type UpdateConfig,
} from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { reconcile, updateStatus } from './reconcile.ts'
import {
  changedTasks,
  containerFor,
  factsOf,
  inputOf,
  other,
  recordOf,
  runningTask,
  serviceOf,
  taskOf,
  withImage,
  type Scene,
} from './testing.ts'

const old = serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } })
const id = old.id as ServiceId
function to(config: Record<string, unknown> = {}, before = old): Resource<ServiceSpec> {
  const newer = withImage(before, 'web:2')
  const UpdateConfig = { Parallelism: 1, FailureAction: 'rollback', ...config } as UpdateConfig
  return { ...newer, spec: { ...newer.spec, UpdateConfig } }
}
/** Slot 1 has failed in the update, slot 2 runs what it ran. */
function failedAt(service: Resource<ServiceSpec>, extra: Partial<Scene> = {}): Scene {
  const kept = [runningTask(old), runningTask(old, { slot: 2 })]
  const failed = taskOf(service, { attempt: 2, state: 'failed', desired: 'shutdown' })
  return {
    services: [service],
    history: [old],
    tasks: [...kept, failed],
    facts: [factsOf(service, { 1: 'failed' })],
    containers: kept.map((task) => containerFor(task, 'running')),
    ...extra,
  }
}
/** Both slots run the new spec, the first of them on another node. */
function doneWith(service: Resource<ServiceSpec>, state: 'begun' | 'ok' = 'ok'): Scene {
  // It has not run for the whole Monitor yet.
  const task = runningTask(service, { slot: 2, ...(state === 'begun' && { stateAtMs: 999_000 }) })
  const theirs = runningTask(service, { slot: 1, id: 'theirs' as TaskEntry['id'] })
  return {
    services: [service],
    history: [old],
    tasks: [task],
    facts: [factsOf(service, { 2: state })],
    containers: [containerFor(task, 'running')],
    others: [recordOf(other, { tasks: [theirs], facts: [factsOf(service, { 1: 'ok' })] })],
  }
}
const concluded = (scene: Scene) => reconcile(inputOf(scene)).conclusions

describe('what became of an update', () => {
  test('is written down once it has failed, with a task to look at', () => {
    const service = to()
    expect(concluded(failedAt(service))).toEqual([
      { service: id, digest: specDigest(service.spec), outcome: { kind: 'failed', task: 'web.1.2' } },
    ])
  })

  test('what has failed it is not started once more before all go back; after all, where nobody writes that down', () => {
    const restarted = (service: Resource<ServiceSpec>) => {
      const kept = runningTask(old, { slot: 2 })
      const next = runningTask(service, { attempt: 2, stateAtMs: 999_000 })
      const scene: Scene = {
        services: [service],
        history: [old],
        tasks: [next, kept],
        facts: [factsOf(service, { 1: 'begun' })],
        containers: [containerFor(next, 'exited', { exitCode: 1 }), containerFor(kept, 'running')],
        nowMs: 1_000_000,
      }
      return changedTasks(reconcile(inputOf(scene)).changes).find((task) => task?.attempt === 3)
    }
    const later = 1_000_000 + defaults.rollbackAwaitedMs
    expect(restarted(to())).toMatchObject({ desired: 'ready', restart: { notBeforeMs: later } })
    const facts = new Map([[updateFact.completed(specDigest(to().spec)), { atMs: 1 }]])
    for (const service of [
      to({ FailureAction: 'pause' }),
      to({ FailureAction: 'continue' }),
      to({ MaxFailureRatio: 0.5 }),
      { ...to(), facts },
      { ...to(), previous: undefined },
    ])
      expect(restarted(service)).toMatchObject({ desired: 'running', restart: { notBeforeMs: 1_000_000 } })
  })

  test('is no failure where that pauses, continues, or is within the ratio', () => {
    for (const config of [
      { FailureAction: 'pause' },
      { FailureAction: undefined },
      { FailureAction: 'continue' },
      { MaxFailureRatio: 0.5 },
    ]) {
      expect(concluded(failedAt(to(config)))).toEqual([])
    }
  })

  test('is written down by one of those who see it, chosen by hashing; by the next if that one is dead', () => {
    const writes = (extra: Partial<Scene>): readonly boolean[] =>
      Array.from({ length: 20 }, (_, index) => {
        const scene = doneWith(to({}, serviceOf(`web${index}`, { Mode: { Replicated: { Replicas: 2 } } })))
        return concluded({ ...scene, ...extra }).length > 0
      })
    expect(new Set(writes({}))).toEqual(new Set([true, false]))
    expect(new Set(writes({ down: [other] }))).toEqual(new Set([true]))
    expect(new Set(writes({ others: [] }))).toEqual(new Set([true]))
  })

  test('is that it ended well once all have settled, and not before', () => {
    const kinds = (state: 'begun' | 'ok') =>
      concluded({ ...doneWith(to(), state), down: [other] }).map(({ outcome }) => outcome.kind)
    expect(kinds('ok')).toEqual(['completed'])
    expect(kinds('begun')).toEqual([])
  })

  test('is written down once', () => {
    const service = to()
    const facts = new Map([[updateFact.completed(specDigest(service.spec)), { atMs: 1 }]])
    expect(concluded(doneWith({ ...service, facts }))).toEqual([])
  })

  test('going back is not gone back from, whatever becomes of it', () => {
    for (const back of [
      { rolledBack: true },
      { rolledBack: true, failure: { task: 'x', atMs: 1, back: {} } },
    ]) {
      const service = { ...to(), ...back }
      expect(concluded(failedAt(service))).toEqual([])
      expect(concluded(doneWith(service))).toEqual([])
    }
  })

  test('has nothing to undo where no slot had been changed yet, and is over', () => {
    const failure = { task: 'web.1.2', atMs: 1_000, back: {} }
    const back = { ...old, rolledBack: true, failure, previous: undefined }
    const tasks = [runningTask(old), runningTask(old, { slot: 2 })]
    const scene = { services: [back], tasks, containers: tasks.map((task) => containerFor(task, 'running')) }
    expect(updateStatus(inputOf(scene).view, back)).toMatchObject({
      State: 'rollback_completed',
      CompletedAt: '1970-01-01T00:00:01.000Z',
      Message: 'rollback completed',
    })
  })

  test('is told in swarmkit’s words', () => {
    const failure = { task: 'web.1.2', atMs: 1, back: {} }
    const back = {
      ...withImage(old, 'web:2'),
      spec: old.spec,
      rolledBack: true,
      failure,
      previous: undefined,
    }
    const tasks = [runningTask(old), runningTask(to(), { slot: 2 })]
    const scene: Scene = {
      services: [back],
      tasks,
      containers: tasks.map((task) => containerFor(task, 'running')),
    }
    expect(updateStatus(inputOf(scene).view, back)).toMatchObject({
      State: 'rollback_started',
      Message: 'update rolled back due to failure or early termination of task web.1.2',
    })
  })
})
