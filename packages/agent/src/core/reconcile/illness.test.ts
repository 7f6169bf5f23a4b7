import { updateKey, type TaskEntry } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HealthStanding } from '../health/standing.ts'
import { slotOf } from './draft.ts'
import { illSlotsOf, mayBeStopped, type IllSlot } from './illness.ts'
import { reconcile } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  containerIdOf,
  engineless,
  factsOf,
  inputOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  taskOf,
  withImage,
  type Scene,
} from './testing.ts'

const web = serviceOf('web', { Mode: { Replicated: { Replicas: 9 } } })
const run = (scene: Scene) => reconcile(inputOf(scene))
const waiting = (slot: number): IllSlot => ({ slot, state: 'waiting' })
const down = (slot: number): IllSlot => ({ slot, state: 'down' })
const restart = { count: 1, windowStartMs: 0, notBeforeMs: 0 }
const illness = { kind: 'waiting', sinceMs: 990_000, why: 'unhealthy container' } as const

describe('who may be stopped for ill health', () => {
  test('one alone, at once', () => {
    expect(mayBeStopped([waiting(3)], 3, 1)).toBe(true)
  })

  test('the first in the order of slots, while others wait', () => {
    const ill = [waiting(4), waiting(2), waiting(7)]
    expect([2, 4, 7].map((slot) => mayBeStopped(ill, slot, 1))).toEqual([true, false, false])
    expect([2, 4, 7].map((slot) => mayBeStopped(ill, slot, 2))).toEqual([true, true, false])
  })

  test('nobody while as many are down as may be, wherever they stand', () => {
    const ill = [waiting(2), down(9)]
    expect(mayBeStopped(ill, 2, 1)).toBe(false)
    expect(mayBeStopped(ill, 2, 2)).toBe(true)
  })

  test('all at once where the policy says so', () => {
    expect(mayBeStopped([waiting(1), waiting(2), down(3)], 2, 0)).toBe(true)
  })

  test('never more than the policy says, however far behind those are who decide, and at least one', () => {
    const slots = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1 })
    fc.assert(
      fc.property(
        slots,
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat(), { minLength: 40, maxLength: 40 }),
        (all, parallelism, draws) => {
          // Each slot has a node of its own, which knows for sure who waits, and late who went.
          const gone = new Set<number>()
          const seen = new Map(all.map((slot) => [slot, new Set<number>()]))
          for (const draw of draws) {
            const slot = all[draw % all.length]!
            const known = seen.get(slot)!
            if (draw % 3 === 0) for (const each of gone) known.add(each)
            const ill = all.map((each) => (known.has(each) ? down(each) : waiting(each)))
            if (!gone.has(slot) && mayBeStopped(ill, slot, parallelism)) gone.add(slot)
          }
          expect(gone.size).toBeLessThanOrEqual(parallelism)
          const [first] = all.toSorted((a, b) => a - b)
          expect(mayBeStopped(all.map(waiting), first!, parallelism)).toBe(true)
        },
      ),
    )
  })
})

describe('who is ill, as the records tell', () => {
  const slotsOf = (tasks: readonly TaskEntry[], given: Partial<Scene> = {}) => {
    const { view, liveness } = inputOf({
      services: [web],
      tasks: [],
      others: [recordOf(other, { tasks })],
      ...given,
    })
    return illSlotsOf(view, liveness, web, [])
  }

  test('a task that waits, one that is being stopped, and one that came after such and is not well yet', () => {
    expect(
      slotsOf([
        runningTask(web, { slot: 1 }),
        runningTask(web, { slot: 2, illness }),
        runningTask(web, { slot: 6, illness: { ...illness, kind: 'held' } }),
        runningTask(web, { slot: 3, illness: { ...illness, kind: 'stopping' } }),
        taskOf(web, { slot: 4, state: 'starting', restart: { ...restart, afterIllness: true } }),
        taskOf(web, { slot: 5, state: 'starting', restart }),
      ]),
    ).toEqual([waiting(2), waiting(6), down(3), down(4)])
  })

  test('not one that is settled for good, replaced, unwanted, or of a dead node', () => {
    const ended = { state: 'failed', illness: { ...illness, kind: 'stopping' } } as const
    expect(
      slotsOf([
        runningTask(web, { slot: 1, ...ended, done: true }),
        runningTask(web, { slot: 2, ...ended, desired: 'shutdown' }),
        runningTask(web, { slot: 99, illness }),
      ]),
    ).toEqual([])
    expect(slotsOf([runningTask(web, { illness })], { down: [other] })).toEqual([])
  })

  test('nobody waits for one who cannot act; what is down there is down all the same', () => {
    const tasks = [
      runningTask(web, { slot: 1, illness }),
      runningTask(web, { slot: 2, illness: { ...illness, kind: 'stopping' } }),
    ]
    expect(slotsOf(tasks, { others: [recordOf(other, { tasks }, engineless)] })).toEqual([down(2)])
  })
})

/** This node's container of the task is ill, says Docker. */
const sick = (task: TaskEntry) => containerFor(task, 'running', { health: 'unhealthy' })

describe('a task that falls ill', () => {
  const task = runningTask(web, { slot: 4 })
  const scene: Scene = { services: [web], tasks: [task], containers: [sick(task)] }
  const elsewhere = (tasks: readonly TaskEntry[]) => ({ others: [recordOf(other, { tasks })] })

  test('is stopped at once where nobody else has a task of the service', () => {
    const output = run(scene)
    expect(changedTasks(output.changes)).toMatchObject([{ illness: { kind: 'stopping' }, unready: {} }])
    expect(output.actions).toMatchObject([{ kind: 'stop' }])
  })

  test('says so first where others have, and is stopped when they have had time to say the same', () => {
    const among = { ...scene, ...elsewhere([runningTask(web, { slot: 1 })]) }
    const output = run(among)
    expect(changedTasks(output.changes)).toMatchObject([{ illness: { kind: 'waiting', sinceMs: 1_000_000 } }])
    expect(output.actions).toEqual([])
    expect(output.wakeAtMs).toBe(1_001_000)
    const next = after(among, output)
    expect(run({ ...next, nowMs: 1_000_999 }).actions).toEqual([])
    expect(run({ ...next, nowMs: 1_001_000 }).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('is held while another is down for the same, says so, and goes a moment after that one runs', () => {
    const ill = { ...scene, tasks: [{ ...task, illness }] }
    const back = taskOf(web, {
      slot: 9,
      state: 'starting',
      restart: { count: 1, windowStartMs: 0, notBeforeMs: 0, afterIllness: true },
    })
    const output = run({ ...ill, ...elsewhere([back]) })
    expect(output.actions).toEqual([])
    expect(changedTasks(output.changes)[0]?.error).toMatch(
      /^unhealthy container; it is not stopped yet: 1 of the service/,
    )
    const up = {
      ...after(ill, output),
      ...elsewhere([{ ...back, state: 'running', restart: { count: 1, windowStartMs: 0, notBeforeMs: 0 } }]),
    }
    const free = run(up)
    expect(free.actions).toEqual([])
    expect(changedTasks(free.changes)).toMatchObject([{ illness: { kind: 'waiting', sinceMs: 1_000_000 } }])
    expect(free.wakeAtMs).toBe(1_001_000)
    expect(run({ ...after(up, free), nowMs: 1_001_000 }).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('is left alone when it gets well while it waits', () => {
    const ill = { ...task, illness, error: illness.why, unready: { sinceMs: 1, why: illness.why } }
    const output = run({
      ...scene,
      tasks: [ill],
      containers: [containerFor(task, 'running', { health: 'healthy' })],
    })
    const [well] = changedTasks(output.changes)
    expect(well).toMatchObject({ state: 'running', message: 'started' })
    expect(well).not.toHaveProperty('illness')
    expect(well).not.toHaveProperty('unready')
    expect(well).not.toHaveProperty('error')
    expect(output.actions).toEqual([])
  })

  test('is stopped all the same when it gets well once it is being stopped', () => {
    const stopping = { ...task, illness: { ...illness, kind: 'stopping' } as const }
    const containers = [containerFor(task, 'running', { health: 'healthy' })]
    expect(run({ ...scene, tasks: [stopping], containers }).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('is not stopped before the first sync: nobody is known then', () => {
    expect(run({ ...scene, tasks: [{ ...task, illness }], synced: false }).actions).toEqual([])
  })

  test('and has never been up, is stopped at once: that takes nobody away', () => {
    const starting = taskOf(web, { slot: 4, state: 'starting' })
    const others = elsewhere([runningTask(web, { slot: 1, illness: { ...illness, kind: 'stopping' } })])
    const output = run({
      ...scene,
      ...others,
      tasks: [starting],
      containers: [sick(starting)],
      synced: false,
    })
    expect(output.actions).toMatchObject([{ kind: 'stop' }])
  })

  test('as a step of an update waits its turn like any other; the step has failed unless it had stood its time', () => {
    const others = elsewhere([runningTask(web, { slot: 1, illness: { ...illness, kind: 'stopping' } })])
    const factAfter = (stateAtMs: number) => {
      const tasks = [{ ...task, stateAtMs }]
      const output = run({ ...scene, ...others, tasks, facts: [factsOf(web, { 4: 'begun' })] })
      expect(output.actions).toEqual([])
      return output.changes.get(`update/${web.id}`)
    }
    expect(factAfter(997_000)).toMatchObject({ slots: { [`${web.id}.4`]: { state: 'failed' } } })
    expect(factAfter(995_000)).toBeUndefined()
  })

  test('and is to make way for a step elsewhere, waits like any other', () => {
    const others = elsewhere([runningTask(web, { slot: 1, illness: { ...illness, kind: 'stopping' } })])
    const leaves = { update: updateKey(web.spec), reason: 'may not run here any more' }
    const leaving = { ...scene, tasks: [{ ...task, leaves }], facts: [factsOf(web, { 4: 'begun' })] }
    expect(run({ ...leaving, ...others }).actions).toEqual([])
  })

  test('within Monitor has failed its step, however long it waits to be stopped', () => {
    const young = { ...task, stateAtMs: 997_000 }
    const others = elsewhere([runningTask(web, { slot: 1 })])
    const output = run({ ...scene, ...others, tasks: [young], facts: [factsOf(web, { 4: 'ok' })] })
    expect(output.actions).toEqual([])
    expect(output.changes.get(`update/${web.id}`)).toMatchObject({
      slots: { [`${web.id}.4`]: { state: 'failed' } },
    })
  })

  test('and its successor is known for what it is until it runs', () => {
    const stopping = { ...task, illness: { ...illness, kind: 'stopping' } as const }
    const output = run({ ...scene, tasks: [stopping], containers: [containerFor(task, 'exited')] })
    const [old, next] = changedTasks(output.changes)
    expect(old).toMatchObject({ state: 'failed', error: 'unhealthy container', desired: 'shutdown' })
    expect(next).toMatchObject({ attempt: 2, restart: { afterIllness: true } })
    const up = { ...next!, state: 'starting' } as TaskEntry
    const started = run({ services: [web], tasks: [up], containers: [containerFor(up, 'running')] })
    expect(changedTasks(started.changes)[0]).toMatchObject({ state: 'running' })
    expect(changedTasks(started.changes)[0]?.restart).not.toHaveProperty('afterIllness')
  })

  test('and whoever takes its slot over from a drained node is known for the same, and settles first as any claim does', () => {
    const before = taskOf(web, { slot: 4, desired: 'ready', restart: { ...restart, afterIllness: true } })
    const slots = { [slotOf(before)]: { kind: 'vacant', to: self, attempt: 2, assumed: [] } as const }
    const claimed = run({ services: [web], tasks: [], slots, ...elsewhere([before]), drained: [other] })
    expect(changedTasks(claimed.changes)).toMatchObject([
      { slot: 4, restart: { count: 0, afterIllness: true } },
    ])
    const claim = changedTasks(claimed.changes)[0]!
    const ready = { ...claim, state: 'ready', containerId: containerIdOf(claim.id) } as TaskEntry
    const start = (nowMs: number) =>
      run({ services: [web], tasks: [ready], containers: [containerFor(ready, 'created')], nowMs }).actions
    expect(start(1_000_149)).toEqual([])
    expect(start(1_000_150)).toMatchObject([{ kind: 'start' }])
    const well = elsewhere([runningTask(web, { slot: 4 })])
    const anew = run({ services: [web], tasks: [], slots, ...well, drained: [other] })
    expect(changedTasks(anew.changes)[0]).not.toHaveProperty('restart')
  })

  test('and what an update has made to take its slot over is known for the same until it is well', () => {
    const { spec } = web
    const startFirst = { ...spec, UpdateConfig: { Parallelism: 1, Order: 'start-first' } } as const
    const newer = withImage({ ...web, spec: startFirst }, 'web:2')
    const stopping = { ...task, illness: { ...illness, kind: 'stopping' } as const }
    const begun: Scene = {
      ...scene,
      services: [newer],
      history: [web],
      tasks: [stopping],
      facts: [factsOf(newer, { 4: 'begun' })],
    }
    const made = changedTasks(run(begun).changes)
    expect(made).toMatchObject([{ attempt: 2, restart: { count: 0, afterIllness: true } }])
    const next = taskOf(newer, { slot: 4, attempt: 2, state: 'starting' })
    const beside = (state: 'starting' | 'running') =>
      run({
        ...begun,
        tasks: [stopping, { ...next, state }],
        containers: [
          sick(task),
          containerFor(next, 'running', { health: state === 'running' ? 'healthy' : state }),
        ],
      })
    expect(changedTasks(beside('starting').changes)).toMatchObject([
      { attempt: 2, restart: { afterIllness: true } },
    ])
    expect(changedTasks(beside('running').changes).filter((each) => each?.restart !== undefined)).toEqual([])
  })

  test('that ends by itself while it waits has crashed, and is nobody’s ill health', () => {
    const ill = { ...task, illness, unready: { sinceMs: 1, why: illness.why } }
    const output = run({
      ...scene,
      tasks: [ill],
      containers: [containerFor(task, 'exited', { exitCode: 2 })],
    })
    const [old, next] = changedTasks(output.changes)
    expect(old).toMatchObject({ state: 'failed', error: 'task: non-zero exit (2)' })
    expect(old).not.toHaveProperty('illness')
    expect(next?.restart).not.toHaveProperty('afterIllness')
  })

  test('of two on one node the first in order goes', () => {
    const tasks = [4, 2, 6].map((slot) => runningTask(web, { slot, illness }))
    const output = run({ services: [web], tasks, containers: tasks.map(sick) })
    expect(output.actions).toMatchObject([{ kind: 'stop', task: tasks[1]!.id }])
  })
})

describe('what probes say', () => {
  const probed = serviceOf('web', { Labels: { 'moot.health.http': '80/ready' } })
  const scene = (task: TaskEntry, health?: HealthStanding): Scene => ({
    services: [probed],
    tasks: [task],
    containers: [containerFor(task, 'running')],
    ...(health !== undefined && { health: { [containerIdOf(task.id)]: health } }),
  })
  const why = 'readiness: GET :80/ready → 503'

  test('holds up a start, and says why', () => {
    const task = taskOf(probed, { state: 'starting' })
    expect(changedTasks(run(scene(task)).changes)).toMatchObject([{ state: 'starting' }])
    const output = run(scene(task, { kind: 'starting', why }))
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'starting', error: why }])
    expect(changedTasks(run(scene(task, { kind: 'well' })).changes)).toMatchObject([{ state: 'running' }])
  })

  test('takes a running task out of the traffic and lets it run', () => {
    const output = run(scene(runningTask(probed), { kind: 'unready', why }))
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'running', unready: { sinceMs: 1_000_000, why } },
    ])
    expect(output.actions).toEqual([])
    const told = after(scene(runningTask(probed)), output)
    const again = run({
      ...told,
      health: { [containerIdOf(told.tasks[0]!.id)]: { kind: 'unready', why: 'other' } },
    })
    expect(again.changes.size).toBe(0)
  })

  test('is nothing when nobody has asked since the agent started: the record holds', () => {
    expect(run(scene(runningTask(probed))).changes.size).toBe(0)
    expect(run(scene(runningTask(probed, { unready: { sinceMs: 1, why } }))).changes.size).toBe(0)
  })

  test('the worse word counts, of Docker and of the probes', () => {
    const task = runningTask(probed)
    const both = { ...scene(task, { kind: 'well' }), containers: [sick(task)] }
    expect(run(both).actions).toMatchObject([{ kind: 'stop' }])
    const dead = run(scene(task, { kind: 'ill', why: 'liveness: TCP :80 → connection refused' }))
    expect(changedTasks(dead.changes)[0]?.illness?.why).toBe(
      'unhealthy container: liveness: TCP :80 → connection refused',
    )
    expect(dead.actions).toMatchObject([{ kind: 'stop' }])
  })

  test('stops nobody for what was said before the agent started: it may have got well since', () => {
    const ill = 'liveness: GET :80/live → 503'
    const task = runningTask(probed, {
      illness: { kind: 'waiting', sinceMs: 1, why: `unhealthy container: ${ill}` },
    })
    const untold = run(scene(task, { kind: 'ill', why: ill, by: 'record' }))
    expect(untold.actions).toEqual([])
    expect(untold.changes.size).toBe(0)
    expect(run(scene(task, { kind: 'ill', why: ill })).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('a step of an update has not ended while its task is not ready, and has failed when that lasts', () => {
    const unready = { sinceMs: 999_000, why }
    const task = runningTask(probed, { unready, stateAtMs: 900_000 })
    const among = { ...scene(task, { kind: 'unready', why }), facts: [factsOf(probed, { 1: 'begun' })] }
    const early = run(among)
    expect(early.changes.size).toBe(0)
    expect(early.wakeAtMs).toBe(1_004_000)
    const late = run({ ...among, nowMs: 1_004_000 })
    expect(late.changes.get(`update/${probed.id}`)).toMatchObject({
      slots: { [`${probed.id}.1`]: { state: 'failed' } },
    })
    const well = run({ ...among, health: { [containerIdOf(task.id)]: { kind: 'well' } } })
    expect(well.changes.get(`update/${probed.id}`)).toMatchObject({
      slots: { [`${probed.id}.1`]: { state: 'ok' } },
    })
  })
})
