import { describe, expect, test } from 'vitest'
import {
  slotId,
  specDigest,
  updateFact,
  updateKey,
  type NodeRecord,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
  type UpdateFact,
  type UpdateFacts,
} from '@moot/crdt-state'
import type { SlotPlacement } from '../placement/placement.ts'
import { reconcile, updateStatus } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  containerIdOf,
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

const old = serviceOf('web', { Mode: { Replicated: { Replicas: 4 } } })
const id = old.id as ServiceId
const to = (config: Record<string, unknown> = {}): Resource<ServiceSpec> => {
  const newer = withImage(old, 'web:2')
  return { ...newer, spec: { ...newer.spec, UpdateConfig: { Parallelism: 1, ...config } } }
}
const run = (scene: Scene) => reconcile(inputOf(scene))
const up = (tasks: readonly TaskEntry[]) => tasks.map((task) => containerFor(task, 'running'))
const slot = (number: number) => slotId(id, number)
/** This node runs all four slots of the old spec; the service is at the new one. */
function scene(config: Record<string, unknown> = {}, slots: readonly number[] = [1, 2, 3, 4]): Scene {
  const tasks = slots.map((number) => runningTask(old, { slot: number }))
  return { services: [to(config)], history: [old], tasks, containers: up(tasks) }
}
const begunIn = (output: ReturnType<typeof run>) =>
  Object.keys((output.changes.get(`update/${id}`) as UpdateFacts | undefined)?.slots ?? {})

describe('the turn of a slot', () => {
  test('comes in slot order, as many at once as parallelism says', () => {
    expect(begunIn(run(scene()))).toEqual([slot(1)])
    expect(begunIn(run(scene({ Parallelism: 3 })))).toEqual([slot(1), slot(2), slot(3)])
    expect(begunIn(run(scene({ Parallelism: 0 })))).toEqual([1, 2, 3, 4].map(slot))
  })

  test('waits for slots of other nodes', () => {
    const others = [recordOf(other, { tasks: [runningTask(old, { slot: 1, id: 'o' as TaskEntry['id'] })] })]
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others }))).toEqual([])
  })

  test('waits for a slot that a node is about to claim, maybe with what it ran before; not for one that no node takes', () => {
    const held = (number: number): SlotPlacement => {
      const task = runningTask(old, { slot: number })
      return { kind: 'held', holder: { node: self, task }, losers: [] }
    }
    const beside = (first: SlotPlacement): Scene => ({
      ...scene({}, [2, 3]),
      slots: { [slot(1)]: first, [slot(2)]: held(2), [slot(3)]: held(3) },
    })
    expect(begunIn(run(beside({ kind: 'vacant', to: other, attempt: 2, assumed: [] })))).toEqual([])
    expect(begunIn(run(beside({ kind: 'pending', refusals: [] })))).toEqual([slot(2)])
  })

  test('comes when those before it have settled, well or badly where that is allowed', () => {
    const settled = (state: 'ok' | 'failed', config = {}): NodeRecord[] => {
      const task = runningTask(to(config), { slot: 1, id: 'o' as TaskEntry['id'] })
      return [recordOf(other, { tasks: [task], facts: [factsOf(to(config), { 1: state })] })]
    }
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others: settled('ok') }))).toEqual([slot(2)])
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others: settled('failed') }))).toEqual([])
    for (const config of [{ FailureAction: 'continue' }, { MaxFailureRatio: 0.25 }]) {
      expect(begunIn(run({ ...scene(config, [2, 3, 4]), others: settled('failed', config) }))).toEqual([
        slot(2),
      ])
    }
  })

  test('does not come once a step has failed, though the node that saw it is dead', () => {
    const service = to()
    const task = runningTask(service, { slot: 1, id: 'o' as TaskEntry['id'] })
    const others = [recordOf(other, { tasks: [task], facts: [factsOf(service, { 1: 'failed' })] })]
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others, down: [other] }))).toEqual([])
  })

  test('does not come to a slot whose change leaves the task’s spec alone', () => {
    const relabelled = { ...old, spec: { ...old.spec, Labels: { a: 'b' } }, versionIndex: 9 }
    const output = run({ ...scene(), services: [relabelled] })
    expect(output.changes.size).toBe(0)
    expect(output.actions).toEqual([])
  })
})

describe('stop-first', () => {
  const service = to()
  const task = runningTask(old)
  const next = (patch: Partial<TaskEntry>) =>
    taskOf(service, { attempt: 2, desired: 'ready', createdAtMs: 999_000, ...patch })
  const at = (newTask: TaskEntry, containers = up([task])): Scene => ({
    services: [service],
    history: [old],
    tasks: [task, newTask],
    facts: [factsOf(service, { 1: 'begun' })],
    containers,
  })

  test('keeps the old task until the new one’s container is made', () => {
    expect(run(at(next({ state: 'preparing' }))).actions.map((action) => action.kind)).toEqual(['prepare'])
    const made = next({ state: 'ready' })
    const output = run(at(made, [...up([task]), containerFor(made, 'created')]))
    expect(output.actions).toMatchObject([{ kind: 'stop', task: task.id }])
  })

  test('starts the new one once the old one has ended', () => {
    const made = next({ state: 'ready' })
    const output = run({
      ...at(made, [containerFor(task, 'exited', { exitCode: 143 }), containerFor(made, 'created')]),
      tasks: [{ ...task, desired: 'shutdown' }, made],
    })
    expect(output.actions).toMatchObject([{ kind: 'start', task: made.id }])
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'shutdown' },
      { state: 'starting', desired: 'running' },
    ])
  })

  test('an image that cannot be had fails the step, refuses nothing and keeps the old task', () => {
    const failing = next({ state: 'preparing' })
    const result = { kind: 'failed', error: 'No such image: web:2', cause: 'rejected' } as const
    const output = run({ ...at(failing), results: { [failing.id]: { action: 'prepare', result } } })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'rejected', desired: 'shutdown' }])
    expect(output.changes.get(`update/${id}`)).toMatchObject({ slots: { [slot(1)]: { state: 'failed' } } })
    expect(output.changes.has(`rejection/${id}`)).toBe(false)
    expect(output.actions).toEqual([])
    expect(run(after(at(failing), output)).changes.size).toBe(0)
  })
})

describe('start-first stops the old task', () => {
  const plain = to({ Order: 'start-first', Monitor: 5e9 })
  const service = { ...plain, spec: { ...plain.spec, Labels: { 'moot.health.http': '80/ready' } } }
  const why = 'readiness: GET :80/ready → 503'
  const at = (next: Partial<TaskEntry>, fact: 'begun' | 'failed' = 'begun') => {
    const task = runningTask(old)
    const newest = runningTask(service, { attempt: 2, stateAtMs: 1_000_000, ...next })
    return run({
      services: [service],
      history: [old],
      tasks: [task, newest],
      facts: [factsOf(service, { 1: fact })],
      containers: up([task, newest]),
      health: { [containerIdOf(newest.id)]: next.unready ? { kind: 'unready', why } : { kind: 'well' } },
      nowMs: 1_004_000,
    })
  }
  const retired = (output: ReturnType<typeof run>): readonly string[] =>
    changedTasks(output.changes).flatMap((task) => (task?.desired === 'shutdown' ? [task.id] : []))

  test('only once the new one of a watched slot has run for Monitor', () => {
    expect(at({})).toMatchObject({ actions: [], wakeAtMs: 1_005_000 })
    expect(retired(at({ stateAtMs: 999_000 }))).toEqual(['web.1.1'])
  })

  test('at once where the slots before it have stood the test', () => {
    const proven = to({ Order: 'start-first', Monitor: 5e9, Parallelism: 1 })
    const ok = runningTask(proven, { slot: 1, attempt: 2 })
    const before = runningTask(old, { slot: 2 })
    const newest = runningTask(proven, { slot: 2, attempt: 2, stateAtMs: 1_003_900 })
    const waits = runningTask(old, { slot: 3 })
    const tasks = [ok, before, newest, waits]
    const output = run({
      services: [proven],
      history: [old],
      tasks,
      facts: [factsOf(proven, { 1: 'ok', 2: 'begun' })],
      containers: up(tasks),
      nowMs: 1_004_000,
    })
    expect(retired(output)).toEqual([before.id])
  })

  test('also where the step began as stop-first: the next one waits for it no longer', () => {
    const waits = { state: 'ready', desired: 'ready' } as const
    const next = changedTasks(at(waits).changes).find((task) => task?.attempt === 2)
    expect(next?.desired).toBe('running')
  })

  test('never for one that is not ready; that one goes when its step has failed', () => {
    const unready = { stateAtMs: 900_000, unready: { sinceMs: 1_000_000, why } }
    expect(at(unready)).toMatchObject({ actions: [], wakeAtMs: 1_005_000 })
    expect(retired(at(unready, 'failed'))).toEqual(['web.1.2'])
  })
})

describe('settling', () => {
  const running = (service: Resource<ServiceSpec>, nowMs: number): Scene => {
    const task = runningTask(service, { attempt: 2, stateAtMs: 1_000_000 })
    const rest = [2, 3, 4].map((number) => runningTask(old, { slot: number }))
    return {
      services: [service],
      history: [old],
      tasks: [task, ...rest],
      facts: [factsOf(service, { 1: 'begun' })],
      containers: up([task, ...rest]),
      nowMs,
    }
  }
  const stateAt = (config: Record<string, unknown>, nowMs: number) =>
    (run(running(to(config), nowMs)).changes.get(`update/${id}`) as UpdateFacts | undefined)?.slots[slot(1)]
      ?.state

  test('the first batch is watched for the whole monitor time', () => {
    expect(run(running(to(), 1_004_999)).wakeAtMs).toBe(1_005_000)
    expect(stateAt({}, 1_004_999)).toBeUndefined()
    expect(stateAt({}, 1_005_000)).toBe('ok')
    expect(stateAt({ Monitor: 1e9 }, 1_001_000)).toBe('ok')
  })

  test('the delay passes before the next slot begins', () => {
    expect(stateAt({ Monitor: 1e9, Delay: 3e9 }, 1_002_999)).toBeUndefined()
    expect(stateAt({ Monitor: 1e9, Delay: 3e9 }, 1_003_000)).toBe('ok')
  })

  test('a task that ends within the monitor time has failed, even after it counted as well', () => {
    for (const state of ['begun', 'ok'] as const) {
      const now = { ...running(to(), 1_002_000), facts: [factsOf(to(), { 1: state })] }
      const [task, ...rest] = now.tasks
      const containers = [containerFor(task!, 'exited', { exitCode: 1 }), ...up(rest)]
      const output = run({ ...now, containers })
      expect(output.changes.get(`update/${id}`)).toMatchObject({ slots: { [slot(1)]: { state: 'failed' } } })
    }
  })

  test('a clock that was set back an hour fails no step that had counted', () => {
    const now = { ...running(to(), 1_000_000 - 3_600_000), facts: [factsOf(to(), { 1: 'ok' })] }
    const [task, ...rest] = now.tasks
    const containers = [containerFor(task!, 'exited', { exitCode: 1 }), ...up(rest)]
    expect(run({ ...now, containers }).changes.get(`update/${id}`)).not.toMatchObject({
      slots: { [slot(1)]: { state: 'failed' } },
    })
  })

  test('a newer spec starts over, and a step that is under way goes on towards it', () => {
    const newest = withImage(to(), 'web:3')
    const now = { ...running(to(), 1_002_000), services: [newest], history: [old, to()] }
    const output = run(now)
    expect(output.changes.get(`update/${id}`)).toMatchObject({
      update: updateKey(newest.spec),
      slots: { [slot(1)]: { state: 'begun' } },
    })
    expect(changedTasks(output.changes)).toMatchObject([
      { slot: 1, attempt: 3, digest: specDigest(newest.spec) },
    ])
  })
})

test('of what failed steps left down, no more than the policy says go on towards a newer spec at a time', () => {
  const newest = withImage(to(), 'web:3')
  const coming = [1, 2, 3].map((number) => taskOf(old, { slot: number, attempt: 3, state: 'starting' }))
  const output = run({
    services: [newest],
    history: [old, to()],
    tasks: coming,
    containers: coming.map((task) => containerFor(task, 'created')),
    facts: [factsOf(to(), { 1: 'failed', 2: 'failed', 3: 'failed' })],
  })
  expect(begunIn(output)).toEqual([1, 2, 3].map(slot))
  const made = changedTasks(output.changes).filter((task) => task?.digest === specDigest(newest.spec))
  expect(made).toMatchObject([{ slot: 1, attempt: 4 }])
})

test.each(['running', 'starting'] as const)(
  'a step that an older update left begun waits for its turn once another has failed, and its slot keeps what is %s',
  (state) => {
    const task = runningTask(old, { slot: 2, state })
    const failed = recordOf(other, {
      tasks: [runningTask(to(), { slot: 1, id: 'o' as TaskEntry['id'] })],
      facts: [factsOf(to(), { 1: 'failed' })],
    })
    const { changes } = run({
      services: [to()],
      history: [old],
      tasks: [task],
      facts: [factsOf(to(), { 2: 'begun' })],
      containers: [containerFor(task, state === 'running' ? 'running' : 'created')],
      others: [failed],
    })
    expect(changes).toEqual(new Map([[`update/${id}`, undefined]]))
  },
)

test('a step of a slot that another node turns out to hold is that node’s to make', () => {
  const ready = taskOf(to(), { attempt: 3, state: 'ready', desired: 'ready' })
  const theirs = runningTask(old, { attempt: 2, id: 'o' as TaskEntry['id'] })
  const { changes } = run({
    services: [to()],
    history: [old],
    tasks: [ready],
    facts: [factsOf(to(), { 1: 'begun' })],
    containers: [containerFor(ready, 'created')],
    others: [recordOf(other, { tasks: [theirs] })],
    slots: { [slot(1)]: { kind: 'held', holder: { node: other, task: theirs }, losers: [] } },
  })
  expect(changes.has(`update/${id}`)).toBe(true)
  expect(changes.get(`update/${id}`)).toBeUndefined()
})

test('a step is not given up before the first sync, whoever seemed to hold its slot before this agent started', () => {
  const before = runningTask(old, { attempt: 2 })
  const ready = taskOf(to(), { attempt: 3, state: 'ready', desired: 'ready' })
  const theirs = runningTask(old, { attempt: 1, id: 'o' as TaskEntry['id'] })
  const restarted: Scene = {
    services: [to()],
    history: [old],
    tasks: [before, ready],
    facts: [factsOf(to(), { 1: 'begun' })],
    containers: [...up([before]), containerFor(ready, 'created')],
    others: [recordOf(other, { tasks: [theirs] })],
    slots: { [slot(1)]: { kind: 'held', holder: { node: other, task: theirs }, losers: [] } },
  }
  expect(run({ ...restarted, synced: false }).changes.has(`update/${id}`)).toBe(false)
  // Nor for another spec that was the newest by then.
  const another = [factsOf(withImage(to(), 'web:3'), { 1: 'begun' })]
  expect(run({ ...restarted, facts: another, synced: false }).changes.has(`update/${id}`)).toBe(false)
})

test('a slot whose next task is made although nobody says that its turn has come waits for its turn, and goes on', () => {
  const before = runningTask(old, { attempt: 2 })
  const ready = taskOf(to(), { attempt: 3, state: 'ready', desired: 'ready' })
  const output = run({
    services: [to()],
    history: [old],
    tasks: [before, ready],
    containers: [...up([before]), containerFor(ready, 'created')],
  })
  expect(begunIn(output)).toEqual([slot(1)])
  const changed = changedTasks(output.changes).find((task) => task?.id === before.id)
  expect(changed?.desired).toBe('shutdown')
})

test('a step that has failed on the node that its slot leaves is still under way where it goes on', () => {
  const leaver = 'leaver'.padEnd(25, '0') as NodeRecord['node']
  const before = runningTask(old, { slot: 1, id: 'o' as TaskEntry['id'] })
  const failed = recordOf(leaver, { tasks: [before], facts: [factsOf(to(), { 1: 'failed' })] })
  const made = taskOf(to(), { slot: 1, attempt: 3, state: 'starting', id: 'n' as TaskEntry['id'] })
  const goesOn = recordOf(other, { tasks: [made], facts: [factsOf(to(), { 1: 'begun' })] })
  const here = scene({ FailureAction: 'continue' }, [2, 3, 4])
  expect(begunIn(run({ ...here, others: [failed] }))).toEqual([slot(2)])
  expect(begunIn(run({ ...here, others: [failed, goesOn] }))).toEqual([])
})

test('a step that failed where the slot was before hides no step that is under way where it is now', () => {
  const config = { FailureAction: 'continue' }
  const others = [recordOf(other, { facts: [factsOf(to(config), { 1: 'failed' })] })]
  let now = { ...scene(config, [1, 2]), others }
  for (let calls = 0; calls < 4; calls += 1) now = { ...after(now, run(now)), others }
  expect(now.facts).toMatchObject([{ slots: { [slot(1)]: { state: 'begun' } } }])
  expect(Object.keys(now.facts?.[0]?.slots ?? {})).toEqual([slot(1)])
  // Where two nodes have the slot for a while, and neither says that its turn has come, it is still to come.
  const newer = runningTask(to(config), { slot: 1, attempt: 5, id: 'there' as TaskEntry['id'] })
  const both = [...others, recordOf('third' as NodeRecord['node'], { tasks: [newer] })]
  expect(begunIn(run({ ...scene(config, [1, 2]), others: both }))).toEqual([slot(1)])
})

describe('two tasks of a slot that were left running', () => {
  const between = withImage(old, 'web:between')
  const first = runningTask(old, { attempt: 1 })
  const second = runningTask(between, { attempt: 2 })
  const left = (service: Resource<ServiceSpec>, facts: readonly UpdateFacts[] = []) =>
    run({
      services: [service],
      history: [old, between],
      tasks: [first, second],
      facts,
      containers: up([first, second]),
    }).actions

  test('become the newer one where the step beyond it failed', () => {
    expect(left(to(), [factsOf(to(), { 1: 'failed' })])).toMatchObject([{ kind: 'stop', task: first.id }])
  })

  test('become the one that is wanted again', () => {
    expect(left(old)).toMatchObject([{ kind: 'stop', task: second.id }])
  })
})

describe('a slot that moves away while its step is under way', () => {
  const factAfter = (where: SlotPlacement): UpdateFacts | undefined => {
    const rest = [2, 3].map((number) => runningTask(old, { slot: number }))
    const scene: Scene = {
      services: [to()],
      history: [old],
      tasks: rest,
      facts: [factsOf(to(), { 1: 'begun' })],
      containers: up(rest),
      slots: { [slot(1)]: where },
    }
    const { changes } = run(scene)
    const key = `update/${id}` as const
    return changes.has(key) ? (changes.get(key) as UpdateFacts | undefined) : factsOf(to(), { 1: 'begun' })
  }
  const heldBy = (state: TaskEntry['state'], service = to()): SlotPlacement => {
    const task = taskOf(service, { attempt: 3, state, id: 'o' as TaskEntry['id'] })
    return { kind: 'held', holder: { node: other, task }, losers: [] }
  }

  test.each([
    ['nobody has claimed it yet', { kind: 'vacant', to: other, attempt: 3, assumed: [] } as const],
    ['its new task does not run yet', heldBy('starting')],
  ])('is still down for the update: %s', (_, where) => {
    expect(factAfter(where)?.slots).toMatchObject({ [slot(1)]: { state: 'begun' } })
  })

  test.each([
    ['it runs there', heldBy('running')],
    ['it fits nowhere', { kind: 'pending', refusals: [] } as const],
    ['it runs what it ran before', heldBy('starting', old)],
  ])('holds the update up no longer once %s', (_, where) => {
    expect(factAfter(where)?.slots[slot(1)]).toBeUndefined()
  })
})

describe('a slot whose step failed, where all are to get there', () => {
  const config = { FailureAction: 'continue' }
  const failed = (slots: readonly number[], others: readonly NodeRecord[] = []) =>
    run({
      ...scene(config, slots),
      facts: [factsOf(to(config), Object.fromEntries(slots.map((number) => [number, 'failed'])))],
      others,
      nowMs: 1_000_000 + 30_000,
    })
  const elsewhere = (service: Resource<ServiceSpec>, facts: readonly UpdateFacts[] = []): NodeRecord[] => {
    const task = runningTask(service, { slot: 4, id: 'o' as TaskEntry['id'] })
    return [recordOf(other, { tasks: [task], facts })]
  }

  test('is tried again after a while, as many at once as parallelism says', () => {
    const { changes } = failed([1, 2, 3], elsewhere(to(config)))
    expect((changes.get(`update/${id}`) as UpdateFacts).slots).toMatchObject({
      [slot(1)]: { state: 'begun', atMs: 1_030_000 },
      [slot(2)]: { state: 'failed' },
      [slot(3)]: { state: 'failed' },
    })
    expect(changedTasks(changes)).toMatchObject([{ slot: 1, attempt: 2, state: 'assigned' }])
  })

  test('waits until every other has had its turn', () => {
    expect(failed([1, 2, 3], elsewhere(old)).changes.size).toBe(0)
  })

  test('waits while another is under way', () => {
    expect(failed([1, 2], elsewhere(to(config), [factsOf(to(config), { 4: 'begun' })])).changes.size).toBe(0)
  })
})

describe('a paused update that people let go on', () => {
  const service = to()
  const resumed = { ...service, facts: new Map([[updateFact.resumed(specDigest(service.spec), 'me'), {}]]) }
  const failed = { ...factsOf(service, { 1: 'failed' }) }
  const factsIn = (output: ReturnType<typeof run>) => output.changes.get(`update/${id}`)

  test('judges what runs it already once more, before another slot gets it', () => {
    const next = taskOf(service, { attempt: 2, state: 'starting', createdAtMs: 999_000 })
    const others = [2, 3].map((number) => runningTask(old, { slot: number }))
    const tasks = [next, ...others]
    const paused = { services: [service], history: [old], tasks, facts: [failed], containers: up(tasks) }
    expect(begunIn(run(paused))).toEqual([])
    const checked = {
      ...paused,
      containers: [containerFor(next, 'running', { health: 'starting' }), ...up(others)],
    }
    const slots = { [slot(1)]: { state: 'begun', atMs: 1_000_000 } }
    expect(factsIn(run({ ...checked, services: [resumed] }))).toMatchObject({ slots, resumed: 1 })
  })

  test('gives a slot that stayed as it was its turn again, and so do others that have heard of it first', () => {
    const begun = factsIn(run({ ...scene(), services: [resumed], facts: [failed] }))
    expect(begun).toMatchObject({ slots: { [slot(1)]: { state: 'begun' } }, resumed: 1 })
    const seenBy = (spec: Resource<ServiceSpec>, services: Resource<ServiceSpec>[]) => {
      const task = runningTask(spec, { slot: 1, id: 'o' as TaskEntry['id'] })
      const others = [recordOf(other, { tasks: [task], facts: [failed] })]
      return begunIn(run({ ...scene({ Parallelism: 2 }, [2, 3, 4]), others, services }))
    }
    for (const spec of [old, service]) {
      expect(seenBy(spec, [service])).toEqual([])
      // The one that failed counts as begun, or as waiting, until its node has heard of it.
      expect(seenBy(spec, [resumed])).toEqual([])
    }
    const others = [recordOf(other, { facts: [failed] })]
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others, services: [resumed] }))).toEqual([slot(2)])
  })

  test('pauses again where a step fails after that', () => {
    const again = { ...failed, resumed: 1 }
    const others = [recordOf(other, { facts: [again] })]
    expect(begunIn(run({ ...scene({}, [2, 3, 4]), others, services: [resumed] }))).toEqual([])
  })
})

describe('a newer spec finds a step begun', () => {
  const newest = withImage(old, 'web:3')
  const find = (old1: Partial<TaskEntry>, next: Partial<TaskEntry>) => {
    const old2 = runningTask(old, { slot: 2 })
    const before = runningTask(old, old1)
    const begun = taskOf(to(), { attempt: 2, ...next })
    return run({
      services: [{ ...newest, spec: { ...newest.spec, UpdateConfig: { Parallelism: 1 } } }],
      history: [old, to()],
      tasks: [before, old2, begun],
      facts: [factsOf(to(), { 1: 'begun' })],
      containers: [
        ...up([before, old2]),
        ...(begun.state === 'starting' ? [containerFor(begun, 'running')] : []),
      ],
      others: [
        recordOf(other, {
          tasks: [runningTask(newest, { slot: 3 })],
          facts: [factsOf(newest, { 3: 'begun' })],
        }),
      ],
    })
  }

  test('where all is still as it was, the slot waits for its turn again', () => {
    const next = { desired: 'ready', state: 'preparing' } as const
    const { changes } = find({}, next)
    const forgotten = [`task/${taskOf(to(), { attempt: 2, ...next }).id}`, `update/${id}`]
    expect(changes).toEqual(new Map(forgotten.map((key) => [key, undefined])))
  })

  test.each([
    ['the old task is being stopped', { desired: 'shutdown' }, { desired: 'ready', state: 'ready' }],
    ['the new task has been started', {}, { desired: 'running', state: 'starting' }],
  ] as const)('where %s, it goes on', (_, before, next) => {
    expect(begunIn(find(before, next))).toEqual([slot(1)])
  })
})

describe('a newer spec finds a step failed', () => {
  const newest = withImage(old, 'web:3')
  const find = (before: Partial<TaskEntry>) => {
    const failed = { attempt: 2, state: 'rejected', desired: 'shutdown' } as const
    const tasks = [runningTask(old, before), runningTask(old, { slot: 2 }), taskOf(to(), failed)]
    return {
      services: [{ ...newest, spec: { ...newest.spec, UpdateConfig: { Parallelism: 1 } } }],
      history: [old, to()],
      tasks,
      facts: [factsOf(to(), { 1: 'failed' })],
      containers: up(tasks.slice(0, 2)),
    } satisfies Scene
  }

  test('where what ran before runs again, the slot waits for its turn like any other', () => {
    expect(begunIn(run({ ...find({}), others: [busyElsewhere(newest)] }))).toEqual([])
  })

  test('where it does not yet, the slot is down, and is the first to go on', () => {
    const scene = find({ state: 'starting', desired: 'running' })
    const coming = containerFor(scene.tasks[0]!, 'running', { health: 'starting' })
    const containers = [coming, ...scene.containers.slice(1)]
    expect(begunIn(run({ ...scene, containers }))).toEqual([slot(1)])
  })

  test('and that it is down is known to others, who have heard of the newer spec first', () => {
    const later = (before: Partial<TaskEntry>): NodeRecord =>
      recordOf(other, {
        tasks: [
          runningTask(old, { slot: 4, ...before }),
          taskOf(to(), { slot: 4, attempt: 2, state: 'rejected', desired: 'shutdown' }),
        ],
        facts: [factsOf(to(), { 4: 'failed' })],
      })
    const scene = { ...find({}), tasks: [runningTask(old)], facts: [], containers: up([runningTask(old)]) }
    expect(begunIn(run({ ...scene, others: [later({ state: 'starting' })] }))).toEqual([])
    expect(begunIn(run({ ...scene, others: [later({})] }))).toEqual([slot(1)])
  })

  function busyElsewhere(service: Resource<ServiceSpec>): NodeRecord {
    return recordOf(other, {
      tasks: [runningTask(service, { slot: 3 })],
      facts: [factsOf(service, { 3: 'begun' })],
    })
  }
})

describe('the update status', () => {
  const status = (
    service: Resource<ServiceSpec>,
    slots: Record<number, 'begun' | 'ok' | 'failed'>,
    left: number[],
  ) => {
    const tasks = [
      ...Object.keys(slots).map((number) => runningTask(service, { slot: Number(number), attempt: 2 })),
      ...left.map((number) => runningTask(old, { slot: number })),
    ]
    return updateStatus(
      inputOf({ services: [service], tasks, facts: [factsOf(service, slots)] }).view,
      service,
    )
  }
  test('is Swarm’s', () => {
    expect(status(to(), {}, [])).toBeUndefined()
    expect(status(to(), { 1: 'ok' }, [2])).toMatchObject({ State: 'updating', Message: 'update in progress' })
    expect(status(to(), { 1: 'ok', 2: 'begun' }, [])).toMatchObject({ State: 'updating' })
    expect(status(to(), { 1: 'ok', 2: 'failed' }, [3])).toMatchObject({ State: 'paused' })
    expect(status(to(), { 1: 'ok', 2: 'ok' }, [])).toMatchObject({
      State: 'completed',
      CompletedAt: '1970-01-01T00:16:40.000Z',
    })
  })

  test('of a rollback is a rollback’s, and a rollback follows its own config', () => {
    const newer = to()
    const back: Resource<ServiceSpec> = {
      ...newer,
      rolledBack: true,
      spec: { ...newer.spec, RollbackConfig: { Parallelism: 2 } },
    }
    expect(status(back, { 1: 'begun' }, [2])).toMatchObject({
      State: 'rollback_started',
      Message: 'manually requested rollback',
    })
    expect(status(back, { 1: 'failed' }, [2])).toMatchObject({ State: 'rollback_paused' })
    expect(status(back, { 1: 'ok', 2: 'ok' }, [])).toMatchObject({ State: 'rollback_completed' })
    expect(begunIn(run({ ...scene(), services: [back] }))).toEqual([slot(1), slot(2)])
  })

  test('tells of no begin after the end, once what the steps made has left the history', () => {
    const service = { ...to(), updatedAtMs: 1_000_001 }
    const later = [1, 2].map((number) =>
      runningTask(service, { slot: number, attempt: 7, createdAtMs: 5_000_000 }),
    )
    const facts = factsOf(service, { 1: 'ok', 2: 'ok' })
    const first: UpdateFact = { state: 'ok', atMs: 900_000 }
    const slots = { ...facts.slots, [slot(1)]: first }
    const told = (tasks: readonly TaskEntry[]) =>
      updateStatus(inputOf({ services: [service], tasks, facts: [{ ...facts, slots }] }).view, service)
    const ended = { State: 'completed', CompletedAt: new Date(1_000_000).toISOString() }
    const firstWasOver = { ...ended, StartedAt: new Date(900_000).toISOString() }
    for (const tasks of [later, []]) expect(told(tasks)).toMatchObject(firstWasOver)
    const step = runningTask(service, { slot: 1, attempt: 2, createdAtMs: 800_000 })
    expect(told([step, ...later])).toMatchObject({ ...ended, StartedAt: new Date(800_000).toISOString() })
  })

  test('of a second update to the same spec tells of its own tasks', () => {
    const service = to()
    const failed = (attempt: number, name: string, createdAtMs: number): TaskEntry => ({
      ...taskOf(service, { attempt, state: 'failed', desired: 'shutdown', createdAtMs }),
      id: name as TaskEntry['id'],
    })
    const tasks = [
      failed(1, 'first', 100_000),
      { ...runningTask(old, { attempt: 2 }), id: 'between' as TaskEntry['id'] },
      failed(3, 'second', 500_000),
    ]
    const facts = [factsOf(service, { 1: 'failed' })]
    expect(updateStatus(inputOf({ services: [service], tasks, facts }).view, service)).toMatchObject({
      State: 'paused',
      StartedAt: new Date(500_000).toISOString(),
      Message: expect.stringMatching(/second$/) as string,
    })
  })
})
