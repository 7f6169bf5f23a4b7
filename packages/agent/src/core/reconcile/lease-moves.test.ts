import { describe, expect, test } from 'vitest'
import { partitionFact, slotId, type ServiceId, type TaskEntry, type TaskId } from '@moot/crdt-state'
import type { LeaseStatus } from '../lease/lease-status.ts'
import type { SlotPlacement } from '../placement/placement.ts'
import {
  db,
  held,
  key,
  labelled,
  leased,
  leasesOf,
  prepared,
  run,
  slot,
  term,
  upWith,
  waiting,
  wanted,
} from './lease.testing.ts'
import {
  after,
  changedTasks,
  containerFor,
  containerIdOf,
  factsOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  taskOf,
  withImage,
  type Scene,
} from './testing.ts'

describe('an update of an exclusive service', () => {
  const newer = { ...withImage(db, 'db:2'), partition: db.partition! }
  const startFirst = {
    ...newer,
    spec: { ...newer.spec, UpdateConfig: { Parallelism: 1, Order: 'start-first' } as const },
  }
  const old = runningTask(db, leased(7))
  const scene: Scene = {
    services: [startFirst],
    history: [db],
    tasks: [old],
    containers: [upWith(old)],
    facts: [factsOf(startFirst, { 1: 'begun' })],
    leases: leasesOf(held(7)),
  }

  test('is stop-first, whatever it says, under one lease: the new one is made with its fence beside the old', () => {
    const [next] = changedTasks(run(scene).changes)
    expect(next).toMatchObject({ desired: 'ready', attempt: 2 })
    const made = { ...next!, state: 'preparing' } as const
    const output = run({ ...scene, tasks: [old, made], results: prepared(made) })
    expect(output.actions).toMatchObject([{ kind: 'create', setup: { lease: { fence: 7 } } }])
    const ready: TaskEntry = { ...made, state: 'ready', ...leased(7) }
    const both = { ...scene, tasks: [old, ready], containers: [upWith(old), upWith(ready, 'created')] }
    const stopping = run(both)
    expect(stopping.actions).toMatchObject([{ kind: 'stop', task: old.id, graceMs: 10_000 }])
    expect(stopping.leases.get(key)).toEqual({ wanted, fence: 7 })
    const gone = { ...old, desired: 'shutdown', state: 'shutdown' } as const
    const alone = {
      ...both,
      nowMs: 1_001_000,
      tasks: [gone, ready],
      containers: [upWith(gone, 'exited'), upWith(ready, 'created')],
    }
    expect(run(alone).actions).toMatchObject([{ kind: 'start', task: ready.id }])
  })

  test('has not failed because a lease was lost in the middle', () => {
    const next = runningTask(startFirst, { attempt: 2, id: 'next' as TaskId, ...leased(7) })
    const output = run({ ...scene, tasks: [next], containers: [upWith(next)], leases: leasesOf(waiting) })
    expect(output.changes.has(`update/${db.id}`)).toBe(false)
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'failed', lostLease: true }, { attempt: 3 }])
    const settled = { ...scene, facts: [factsOf(startFirst, { 1: 'ok' })] }
    const watched = run({ ...settled, tasks: [next], containers: [upWith(next)], leases: leasesOf(waiting) })
    expect(watched.changes.has(`update/${db.id}`)).toBe(false)
  })
})

describe('a slot that moves', () => {
  const mine = runningTask(db, leased(7))
  const theirs = (state: TaskEntry['state'], more: Partial<TaskEntry> = {}): TaskEntry =>
    taskOf(db, { id: 'theirs' as TaskId, attempt: 2, state, ...more })
  const moving = (successor: TaskEntry): SlotPlacement => ({
    kind: 'moving',
    holder: { node: self, task: mine },
    to: other,
    successor: { node: other, task: successor },
    losers: [],
    because: { node: self, filter: 'availability', reason: 'is drained' },
    refusals: [],
    assumed: [],
  })
  const scene = (where: SlotPlacement, more: Partial<Scene> = {}): Scene => ({
    services: [db],
    tasks: [mine],
    slots: { [slot]: where },
    others: [recordOf(other, {})],
    containers: [upWith(mine)],
    leases: leasesOf(held(7)),
    ...more,
  })

  test('is left when the successor has all but the lease, and not before', () => {
    expect(run(scene(moving(theirs('preparing')))).changes.size).toBe(0)
    const output = run(scene(moving(theirs('ready'))))
    expect(changedTasks(output.changes)).toMatchObject([{ desired: 'shutdown' }])
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 10_000 }])
    // Renewed until it is gone.
    expect(output.leases.get(key)).toEqual({ wanted: undefined, fence: 7 })
  })

  test('is not left for a successor that may be gone, or is not to run', () => {
    expect(run(scene(moving(theirs('ready')), { unsettled: [other] })).changes.size).toBe(0)
    expect(run(scene(moving(theirs('ready', { desired: 'shutdown' })))).changes.size).toBe(0)
  })

  test('is left so by who runs it without the right to, after a partition', () => {
    const where = {
      kind: 'held',
      holder: { node: other, task: theirs('ready') },
      losers: [{ node: self, task: mine }],
    } as const
    expect(changedTasks(run(scene(where)).changes)).toMatchObject([{ desired: 'shutdown' }])
  })

  test('of an available service is left, as ever, when the successor runs', () => {
    const web = serviceOf('web')
    const task = runningTask(web)
    const where = moving(taskOf(web, { id: 'theirs' as TaskId, attempt: 2, state: 'ready' }))
    const output = run({
      ...scene({ ...where, holder: { node: self, task } } as SlotPlacement),
      services: [web],
      tasks: [task],
      slots: {
        [slotId(web.id as ServiceId, 1)]: { ...where, holder: { node: self, task } } as SlotPlacement,
      },
      containers: [containerFor(task, 'running')],
    })
    expect(output.changes.size).toBe(0)
  })
})

describe('a service that becomes exclusive', () => {
  const mine = runningTask(db)
  const scene: Scene = {
    services: [db],
    tasks: [mine],
    containers: [upWith(mine)],
    leases: leasesOf(held(7)),
  }

  test('replaces what runs, with its grace, and no lease is asked for before it is gone', () => {
    const output = run({ ...scene, leases: leasesOf(waiting) })
    expect(changedTasks(output.changes)).toMatchObject([
      { id: mine.id, desired: 'shutdown', state: 'running' },
      { attempt: 2, state: 'assigned' },
    ])
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 10_000 }])
    expect(output.leases.size).toBe(0)
  })

  test('removes what was made before and has not been started: a lease is asked for once that is gone', () => {
    const made = taskOf(db, { state: 'ready', containerId: containerIdOf(mine.id) })
    const first = {
      ...scene,
      tasks: [made],
      containers: [upWith(made, 'created')],
      leases: leasesOf(waiting),
    }
    const output = run(first)
    expect(changedTasks(output.changes)).toMatchObject([
      { id: made.id, state: 'shutdown' },
      { attempt: 2, state: 'assigned' },
    ])
    expect(output.actions).toMatchObject([{ kind: 'remove', task: made.id }])
    expect(output.leases.size).toBe(0)
    const gone = run({ ...after(first, output), containers: [], inFlight: [] })
    expect(gone.leases.get(key)).toEqual({ wanted, fence: undefined })
  })

  test('not before it is known what the watchdog watches, nor before the first sync', () => {
    expect(run({ ...scene, leases: leasesOf(waiting, { isReady: false }) }).changes.size).toBe(0)
    expect(run({ ...scene, synced: false }).changes.size).toBe(0)
  })
})

describe('a service that is exclusive no more', () => {
  const was = labelled(undefined, 2)
  const mine = runningTask(was, leased(7))
  const loosened: LeaseStatus = { kind: 'loosened', term: term(2) }
  const loosening = { term: term(2), as: 'loosening' }
  const noted = { ...was, facts: new Map([[partitionFact.loosened(1, term(2)), {}]]) }

  test('runs on under its lease while the voters are asked', () => {
    const output = run({
      services: [was],
      tasks: [mine],
      containers: [upWith(mine)],
      leases: leasesOf(held(7)),
    })
    expect([output.changes.size, output.actions]).toEqual([0, []])
    expect(output.leases.get(key)).toEqual({ wanted: loosening, fence: 7 })
    expect(output.conclusions).toEqual([])
  })

  test('says beside its spec what they answer, and runs on', () => {
    const output = run({
      services: [was],
      tasks: [mine],
      containers: [upWith(mine)],
      leases: leasesOf(loosened),
    })
    expect([output.changes.size, output.actions]).toEqual([0, []])
    expect(output.conclusions).toMatchObject([
      { service: was.id, outcome: { kind: 'loosened', slot: 1, term: term(2) } },
    ])
  })

  test('needs no lease once that stands there; what is watched is told of until it ends', () => {
    const ready = taskOf(noted, { state: 'ready' })
    const scene: Scene = {
      services: [noted],
      tasks: [ready],
      results: prepared(ready),
      leases: leasesOf(waiting),
    }
    const [create] = run(scene).actions
    expect(create).toMatchObject({ kind: 'create' })
    expect(create).not.toHaveProperty('setup.lease')
    expect(run(scene).leases.size).toBe(0)
    const running = { services: [noted], tasks: [mine], containers: [upWith(mine)] }
    const output = run({ ...running, leases: leasesOf(waiting) })
    expect([output.changes.size, output.actions, output.conclusions]).toEqual([0, [], []])
    expect(output.leases.get(key)).toEqual({ wanted: loosening, fence: 7 })
  })

  test('starts nothing before', () => {
    const ready = taskOf(was, { state: 'ready' })
    const output = run({ services: [was], tasks: [ready], leases: leasesOf(loosened) })
    expect(output.actions).toEqual([])
    expect(output.conclusions).toHaveLength(1)
  })
})
