import { describe, expect, test } from 'vitest'
import type { Leases } from '../lease/orders.ts'
import { db, held, key, leased, leasesOf, prepared, run, upWith, waiting, wanted } from './lease.testing.ts'
import { after, changedTasks, runningTask, serviceOf, taskOf, type Scene } from './testing.ts'

describe('a task of an exclusive slot', () => {
  const preparing = taskOf(db, { state: 'preparing' })

  test('is prepared without a lease, which is asked for meanwhile', () => {
    const output = run({ services: [db], tasks: [taskOf(db)], leases: leasesOf({ kind: 'none' }) })
    expect(output.actions).toMatchObject([
      { kind: 'prepare', setup: { lease: { slot: key, fence: undefined } } },
    ])
    expect([...output.leases]).toEqual([[key, { wanted, fence: undefined }]])
  })

  test('waits, with its image, until its node holds the lease', () => {
    const scene = {
      services: [db],
      tasks: [preparing],
      results: prepared(preparing),
      leases: leasesOf(waiting),
    }
    const output = run(scene)
    expect(output.actions).toEqual([])
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'ready', message: 'waiting for its lease' }])
    const next = run(after(scene, output))
    expect([next.actions, next.changes.size]).toEqual([[], 0])
  })

  test('is made with the fence that is held, which stands in the record before', () => {
    const ready = taskOf(db, { state: 'ready', message: 'waiting for its lease' })
    const scene = { services: [db], tasks: [ready], leases: leasesOf(held(7)) }
    expect(run(scene).actions).toMatchObject([{ kind: 'prepare' }])
    const output = run({ ...scene, results: prepared(ready) })
    expect(changedTasks(output.changes)).toMatchObject([{ fence: 7, leased: key, state: 'ready' }])
    expect(output.actions).toMatchObject([
      { kind: 'create', setup: { task: { fence: 7 }, lease: { slot: key, fence: 7 } } },
    ])
    expect(output.leases.get(key)).toEqual({ wanted, fence: undefined })
  })

  test('is started while that fence is held, and is told of as running from then on', () => {
    const made = taskOf(db, { state: 'ready', ...leased(7) })
    const scene = { services: [db], tasks: [made], containers: [upWith(made, 'created')] }
    const output = run({ ...scene, leases: leasesOf(held(7)) })
    expect(output.actions).toMatchObject([{ kind: 'start' }])
    expect(output.leases.get(key)).toEqual({ wanted, fence: 7 })
  })

  test('is started by nobody before it is known what the watchdog watches', () => {
    const made = taskOf(db, { state: 'starting', ...leased(7) })
    const scene = { services: [db], tasks: [made], containers: [upWith(made, 'created')] }
    expect(run({ ...scene, leases: leasesOf(held(7), { isReady: false }) }).actions).toEqual([])
    expect(run({ ...scene, leases: leasesOf(held(7)) }).actions).toMatchObject([{ kind: 'start' }])
  })

  test('says why it waits once it has for a while, and not anew for each second', () => {
    const ready = taskOf(db, { state: 'ready', message: 'waiting for its lease', stateAtMs: 999_000 })
    const why = (seconds: number): Leases =>
      leasesOf(waiting, {
        explain: () =>
          `db.1 is exclusive and its lease is with host2, for at most ${seconds} s if it is not renewed`,
      })
    const scene: Scene = { services: [db], tasks: [ready], leases: why(9) }
    const soon = run(scene)
    expect([soon.changes.size, soon.wakeAtMs]).toEqual([0, 1_002_000])
    const later = run({ ...scene, nowMs: 1_002_000 })
    expect(changedTasks(later.changes)).toMatchObject([
      { error: 'db.1 is exclusive and its lease is with host2' },
    ])
    const again = run({ ...after(scene, later), nowMs: 1_005_000, leases: why(6) })
    expect(again.changes.size).toBe(0)
    const voters = 'db.1 is exclusive and needs the word of 2 of 3 voters; for 12 s no answer from a, b'
    const other = run({ ...scene, nowMs: 1_005_000, leases: leasesOf(waiting, { explain: () => voters }) })
    expect(changedTasks(other.changes)).toMatchObject([
      { error: 'db.1 is exclusive and needs the word of 2 of 3 voters; no answer from a, b' },
    ])
  })

  test('of a service that was never exclusive asks for nothing', () => {
    const web = serviceOf('web')
    const ready = taskOf(web, { state: 'preparing' })
    const output = run({
      services: [web],
      tasks: [ready],
      results: prepared(ready),
      leases: leasesOf(waiting),
    })
    expect(output.actions).toMatchObject([{ kind: 'create' }])
    expect(output.leases.size).toBe(0)
  })
})

describe('a lost lease', () => {
  const mine = runningTask(db, leased(7))
  const scene: Scene = { services: [db], tasks: [mine], containers: [upWith(mine)] }

  test.each([
    ['lost', waiting],
    ['lost and taken again', held(9)],
    ['unknown', { kind: 'none' }],
  ] as const)('(%s) ends the task at once, without grace, and a new attempt waits for one', (_, status) => {
    const output = run({ ...scene, leases: leasesOf(status) })
    const [ended, next] = changedTasks(output.changes)
    expect(ended).toMatchObject({ state: 'failed', lostLease: true, desired: 'shutdown' })
    expect(ended?.error).toMatch(/^lost its lease \(fence 7\)/)
    // An attempt is left out: who took the slot over elsewhere meanwhile has it.
    expect(next).toMatchObject({ attempt: 2, state: 'assigned', desired: 'running' })
    expect(next?.restart).toBeUndefined()
    expect(next?.fence).toBeUndefined()
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 0 }])
    expect(output.leases.get(key)).toEqual({ wanted, fence: 7 })
  })

  test('ends nothing while it is not known what the watchdog watches, or while the fence is held', () => {
    for (const leases of [leasesOf(waiting, { isReady: false }), leasesOf(held(7))]) {
      const output = run({ ...scene, leases })
      expect([output.actions, output.changes.size]).toEqual([[], 0])
      expect(output.leases.get(key)).toEqual({ wanted, fence: 7 })
    }
  })

  test('is the watchdog’s kill too: no failure, whatever the restart policy and the attempts it allows', () => {
    const strict = {
      ...db,
      spec: serviceOf('db', { Labels: db.spec.Labels }, { RestartPolicy: { Condition: 'none' } }).spec,
    }
    const task = runningTask(strict, leased(7))
    const killed = [upWith(task, 'exited', { exitCode: 137 })]
    const stopped: Scene = { services: [strict], tasks: [task], containers: killed }
    const output = run({ ...stopped, leases: leasesOf(waiting) })
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'failed', lostLease: true, exitCode: 137, desired: 'shutdown' },
      { state: 'assigned', attempt: 2 },
    ])
    // Nothing is said of it before that can be known.
    expect(run({ ...stopped, leases: leasesOf(waiting, { isReady: false }) }).changes.size).toBe(0)
  })

  test('makes nobody wait for what an older task had to wait for, by a clock that was set back since', () => {
    const late = { count: 1, windowStartMs: 2_000_000, notBeforeMs: 2_000_000 }
    const task = runningTask(db, { ...leased(7), restart: late })
    const lost = { services: [db], tasks: [task], containers: [upWith(task, 'exited', { exitCode: 137 })] }
    const [, next] = changedTasks(run({ ...lost, leases: leasesOf(waiting) }).changes)
    expect(next).toMatchObject({ attempt: 2, restart: { notBeforeMs: 1_000_000 } })
  })

  test('does not excuse what ended by itself', () => {
    const crashed = { ...scene, containers: [upWith(mine, 'exited', { exitCode: 1 })] }
    const [ended] = changedTasks(run({ ...crashed, leases: leasesOf(waiting) }).changes)
    expect(ended).toMatchObject({ state: 'failed', error: 'task: non-zero exit (1)' })
    expect(ended?.lostLease).toBeUndefined()
  })

  test('ends what is being stopped as well', () => {
    const leaving = { ...mine, desired: 'shutdown' } as const
    const output = run({ ...scene, tasks: [leaving], leases: leasesOf(waiting) })
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 0 }])
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'shutdown' }])
  })

  test('before the first sync ends it too, and what comes after waits', () => {
    const output = run({ ...scene, synced: false, leases: leasesOf(waiting) })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'failed', lostLease: true }])
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 0 }])
  })

  test('means another container: one that was made and not started is removed', () => {
    const made = taskOf(db, { state: 'ready', ...leased(7) })
    const output = run({
      services: [db],
      tasks: [made],
      containers: [upWith(made, 'created')],
      leases: leasesOf(held(9)),
    })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'failed' }, { attempt: 2 }])
    expect(output.actions).toMatchObject([{ kind: 'remove' }])
    expect(output.leases.get(key)).toEqual({ wanted, fence: 7 })
  })
})

describe('orders', () => {
  const mine = runningTask(db, leased(7))

  test('name what runs while the engine is away, or has not been listed', () => {
    const scene: Scene = { services: [db], tasks: [mine], leases: leasesOf(held(7)) }
    for (const more of [{ listed: false }, { engineDownForMs: 1_000, containers: [upWith(mine)] }]) {
      expect(run({ ...scene, ...more }).leases.get(key)).toEqual({ wanted, fence: 7 })
    }
  })

  test('name what is left of a slot that is not wanted here, until nothing of it runs', () => {
    const leaving = { ...mine, desired: 'remove' } as const
    const scene: Scene = { services: [], tasks: [leaving], leases: leasesOf(held(7)) }
    expect(run({ ...scene, containers: [upWith(leaving)] }).leases.get(key)).toEqual({
      wanted: undefined,
      fence: 7,
    })
    expect(run({ ...scene, containers: [upWith(leaving, 'exited', { exitCode: 0 })] }).leases.size).toBe(0)
  })

  test('name what no record speaks of', () => {
    const output = run({ services: [], tasks: [], containers: [upWith(mine)], leases: leasesOf(held(7)) })
    expect(output.leases.get(key)).toEqual({ wanted: undefined, fence: 7 })
  })

  test('name a slot whose start is under way in the engine', () => {
    const failed = taskOf(db, { state: 'failed', desired: 'shutdown', lostLease: true, ...leased(7) })
    const made = {
      services: [db],
      tasks: [failed],
      leases: leasesOf(waiting),
      containers: [upWith(failed, 'created')],
    }
    expect(run({ ...made, inFlight: [failed.id] }).leases.get(key)).toEqual({ wanted: undefined, fence: 7 })
  })

  test('ask for nothing before the first sync, but for what runs', () => {
    const ready = taskOf(db, { state: 'ready' })
    expect(run({ services: [db], tasks: [ready], synced: false }).leases.size).toBe(0)
    const running = { services: [db], tasks: [mine], containers: [upWith(mine)], synced: false }
    expect(run({ ...running, leases: leasesOf(held(7)) }).leases.get(key)).toEqual({ wanted, fence: 7 })
  })
})
