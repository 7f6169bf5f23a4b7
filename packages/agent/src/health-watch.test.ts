import type { ContainerId, TaskId } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { readHealthLabels } from './core/health/labels.ts'
import type { Subject } from './core/health/subjects.ts'
import { defaults } from './defaults.ts'
import { createHealthWatch, type HealthWatch } from './health-watch.ts'
import { memoryClock, type MemoryClock } from './ports/clock.memory.ts'
import { type Listener, memoryProber } from './ports/prober.memory.ts'
import type { Prober } from './ports/prober.ts'

const container = 'c1' as ContainerId
const { probes } = readHealthLabels({ 'moot.health.http': '80/ready', 'moot.health.interval': '1s' })
const subject: Subject = {
  task: 'task' as TaskId,
  container,
  probes,
  address: '172.17.0.2',
  isUp: false,
  failed: {},
}

interface Stage {
  readonly clock: MemoryClock
  readonly watch: HealthWatch
  subjects: readonly Subject[]
  changes: number
  /** Questions whose signal was aborted. */
  aborted: number
}

function stageOf(listener: () => Listener): Stage {
  const clock = memoryClock()
  const prober = memoryProber(clock, listener)
  const counted: Prober = {
    async probe(question, signal) {
      signal.addEventListener('abort', () => {
        stage.aborted += 1
      })
      return prober.probe(question, signal)
    },
  }
  const watch = createHealthWatch({
    prober: counted,
    clock,
    settings: defaults,
    subjects: () => stage.subjects,
    changed: () => {
      stage.changes += 1
    },
  })
  const stage: Stage = { clock, watch, subjects: [subject], changes: 0, aborted: 0 }
  return stage
}

test('a container is what its answers say, and only what is new is told', async () => {
  let status = 503
  const stage = stageOf(() => ({ kind: 'answers', status }))
  stage.watch.look()
  expect(stage.watch.standings().get(container)).toEqual({ kind: 'starting', why: undefined })
  await stage.clock.advance(2_000)
  expect(stage.watch.standings().get(container)).toMatchObject({
    kind: 'starting',
    why: 'readiness: GET :80/ready → 503',
  })
  expect(stage.changes).toBe(2)
  status = 200
  await stage.clock.advance(60_000)
  stage.watch.look()
  expect(stage.watch.standings().get(container)).toEqual({ kind: 'well' })
  expect(stage.changes).toBe(3)
})

test('the probes of a container end with it', async () => {
  const stage = stageOf(() => ({ kind: 'silent' }))
  stage.watch.look()
  await stage.clock.advance(600)
  stage.subjects = []
  stage.watch.look()
  expect(stage.aborted).toBe(1)
  expect(stage.watch.standings().size).toBe(0)
  await stage.clock.advance(0)
  expect(stage.clock.pending()).toBe(0)
})

test('a container that this host cannot reach has failed, and says why', async () => {
  const stage = stageOf(() => ({ kind: 'answers', status: 200 }))
  stage.subjects = [{ ...subject, address: undefined }]
  stage.watch.look()
  await stage.clock.advance(4_000)
  expect(stage.watch.standings().get(container)).toEqual({
    kind: 'ill',
    why: 'readiness: GET :80/ready → it has no address that its host reaches',
  })
})

test('what the record says of a container is told anew once the container says the same', async () => {
  const { probes: live } = readHealthLabels({
    'moot.health.live.http': '80/live',
    'moot.health.interval': '1s',
  })
  const stage = stageOf(() => ({ kind: 'answers', status: 503 }))
  const why = 'liveness: GET :80/live → 503'
  stage.subjects = [{ ...subject, probes: live, isUp: true, failed: { liveness: why } }]
  stage.watch.look()
  expect(stage.watch.standings().get(container)).toEqual({ kind: 'ill', why, by: 'record' })
  await stage.clock.advance(6_000)
  expect(stage.watch.standings().get(container)).toEqual({ kind: 'ill', why })
  expect(stage.changes).toBe(2)
})

test('an answer to what is no longer asked counts for nothing', async () => {
  const stage = stageOf(() => ({ kind: 'answers', status: 200, afterMs: 900 }))
  stage.watch.look()
  await stage.clock.advance(600)
  const other = readHealthLabels({ 'moot.health.http': '80/other' }).probes
  stage.subjects = [{ ...subject, probes: other }]
  stage.watch.look()
  await stage.clock.advance(500)
  expect(stage.watch.standings().get(container)).toMatchObject({ kind: 'starting' })
  await stage.clock.advance(2_000)
  expect(stage.watch.standings().get(container)).toEqual({ kind: 'well' })
})

test('when it stops, it waits for what is under way and asks nobody any more', async () => {
  const stage = stageOf(() => ({ kind: 'silent' }))
  stage.watch.look()
  await stage.clock.advance(600)
  await stage.watch.stop()
  expect(stage.aborted).toBe(1)
  stage.watch.look()
  expect(stage.clock.pending()).toBe(0)
})
