import { describe, expect, test } from 'vitest'
import {
  slotId,
  specDigest,
  updateKey,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
  type TaskId,
  type UpdateFacts,
} from '@moot/crdt-state'
import { place } from '../placement/place.ts'
import { placementInput } from '../placement/placement-input.ts'
import { firstRules } from '../rules.ts'
import { reconcile, updateStatus } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  factsOf,
  inputOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  statusOf,
  taskOf,
  withImage,
  type Scene,
} from './testing.ts'

const half = { Reservations: { MemoryBytes: 3e9 } }
const whole = { Reservations: { MemoryBytes: 6e9 } }
/** Two of the first kind fit on a node (8 GB), of the second one. */
const small = serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } }, { Resources: half })
const id = small.id as ServiceId
const slot = (number: number) => slotId(id, number)

/** `before` asks for something else now. */
function changed(
  before: Resource<ServiceSpec>,
  template: Record<string, unknown>,
  config: Record<string, unknown> = {},
): Resource<ServiceSpec> {
  const { spec } = serviceOf(
    'web',
    { Mode: before.spec.Mode, UpdateConfig: config },
    { Resources: before.spec.TaskTemplate.Resources, ...template },
  )
  return { ...before, spec, previous: before.spec, versionIndex: before.versionIndex + 1 }
}

/** As in an agent: the placement is of the view. */
function run(scene: Scene, at: 'self' | 'other' = 'self') {
  const input = inputOf(scene)
  const view = { ...input.view, self: at === 'self' ? self : other }
  return reconcile({ ...input, view, placement: place(placementInput(view, input.liveness, firstRules)) })
}
/** Calls until nothing more is decided. */
function rest(scene: Scene): Scene {
  for (let now = scene, calls = 0; ; calls += 1) {
    if (calls > 10) throw new Error('it does not come to rest')
    const output = run(now)
    if (output.changes.size === 0 && output.actions.length === 0) return now
    now = { ...after(now, output), inFlight: [] }
    if (output.actions.length > 0) return now
  }
}
const up = (tasks: readonly TaskEntry[]) => tasks.map((task) => containerFor(task, 'running'))
const factIn = ({ facts }: Scene, number: number) =>
  facts?.find(({ service }) => service === id)?.slots[slot(number)]

/** Both replicas run here; the other node has `free` bytes. */
function crowded(service: Resource<ServiceSpec>, free = 8e9): Scene {
  const tasks = [1, 2].map((number) => runningTask(small, { slot: number }))
  const status = statusOf({ capacity: { ...statusOf().capacity, memoryBytes: free } })
  return {
    services: [service],
    history: [small],
    tasks,
    containers: up(tasks),
    others: [recordOf(other, {}, status)],
  }
}

describe('a step that asks for more than its node has left', () => {
  const larger = changed(small, { Resources: whole })

  test('makes nothing here, and the slot is to move; what runs stays', () => {
    const scene = rest(crowded(larger))
    expect(scene.tasks.map(({ slot: number, leaves, desired }) => [number, leaves?.reason, desired])).toEqual(
      [
        [1, 'needs 6000000000 bytes of memory, has 5000000000 free', 'running'],
        [2, undefined, 'running'],
      ],
    )
    expect(factIn(scene, 1)).toMatchObject({ state: 'begun' })
    expect(scene.rejections).toMatchObject([{ digest: specDigest(larger.spec) }])
  })

  test('is taken over elsewhere with the new spec, and goes on there as begun', () => {
    const output = run({ ...rest(crowded(larger)), containers: [] }, 'other')
    expect(changedTasks(output.changes)).toMatchObject([
      { slot: 1, digest: specDigest(larger.spec), attempt: 2 },
    ])
    expect((output.changes.get(`update/${id}`) as UpdateFacts).slots).toMatchObject({
      [slot(1)]: { state: 'begun' },
    })
  })

  test('has failed where nobody takes it for a while: the update pauses and says why, and all runs on', () => {
    const scene = rest(crowded(larger, 4e9))
    // Not by what an agent that has just started knows of the others.
    expect(factIn(rest({ ...scene, nowMs: 1_006_000, synced: false }), 1)).toMatchObject({ state: 'begun' })
    const later = rest({ ...scene, nowMs: 1_006_000 })
    expect(factIn(later, 1)).toMatchObject({
      state: 'failed',
      why: expect.stringContaining('no suitable node (insufficient resources on 1 node; rejected on 1 node)'),
    })
    expect(later.tasks.map(({ leaves, desired }) => [leaves, desired])).toEqual([
      [undefined, 'running'],
      [undefined, 'running'],
    ])
    const { view, liveness } = inputOf(later)
    expect(updateStatus(view, larger, liveness)).toMatchObject({
      State: 'paused',
      Message: expect.stringContaining('web.1 stays where it is: needs 6000000000 bytes'),
    })
  })
})

describe('a service that may not run here any more', () => {
  const away = changed(small, { Placement: { Constraints: [`node.id!=${self}`] } })
  const moving = (number: number) => ({ slot: number, leaves: { update: updateKey(away.spec) } })

  test('moves one slot after the other, as its update config says', () => {
    expect(changedTasks(run(crowded(away)).changes)).toMatchObject([moving(1)])
    const both = changed(small, away.spec.TaskTemplate, { Parallelism: 2 })
    expect(changedTasks(run(crowded(both)).changes)).toMatchObject([moving(1), moving(2)])
  })

  test('goes once its successor runs', () => {
    const scene = rest(crowded(away))
    const successor = runningTask(away, { slot: 1, attempt: 2, id: 'there' as TaskId })
    const facts = [factsOf(away, { 1: 'begun' })]
    const others = [recordOf(other, { tasks: [successor], facts })]
    const output = run({ ...scene, others })
    expect(changedTasks(output.changes)).toMatchObject([{ slot: 1, attempt: 1, desired: 'shutdown' }])
    const starting = [recordOf(other, { tasks: [{ ...successor, state: 'starting' }], facts })]
    expect(changedTasks(run({ ...scene, others: starting }).changes)).toEqual([])
  })

  test('is taken over with what is newest, where that has overtaken what it was taken over with', () => {
    const one = serviceOf('web', { Mode: { Replicated: { Replicas: 1 } } })
    const notThere = { Placement: { Constraints: [`node.id!=${other}`] } }
    const overtaken = changed(one, { ...notThere, ForceUpdate: 1 })
    const newest = changed(one, { ...notThere, ForceUpdate: 2 })
    const leaves = { update: updateKey(newest.spec), reason: 'may not run here' }
    const old = runningTask(one, { id: 'there' as TaskId, leaves })
    const tasks = [runningTask(overtaken, { attempt: 2 })]
    const output = run({
      services: [newest],
      history: [one, overtaken],
      tasks,
      containers: up(tasks),
      others: [recordOf(other, { tasks: [old], facts: [factsOf(newest, { 1: 'begun' })] })],
    })
    expect(changedTasks(output.changes)).toMatchObject([{ attempt: 3, digest: specDigest(newest.spec) }])
    expect((output.changes.get(`update/${id}`) as UpdateFacts).slots).toMatchObject({
      [slot(1)]: { state: 'begun' },
    })
  })

  test('is still being updated when that is taken back, where its next task had been started', () => {
    const before = serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } })
    const newer = withImage(before, 'web:2')
    const gone = changed(newer, {
      ...newer.spec.TaskTemplate,
      Placement: { Constraints: [`node.id!=${self}`] },
    })
    const leaves = { update: updateKey(gone.spec), reason: 'may not run here' }
    const next = taskOf(newer, { slot: 2, attempt: 2, state: 'starting', leaves })
    const tasks = [runningTask(before), runningTask(before, { slot: 2 }), next]
    const output = run({
      services: [newer],
      history: [before, gone],
      tasks,
      containers: tasks.map((task) =>
        containerFor(task, 'running', task === next ? { health: 'starting' } : {}),
      ),
      facts: [factsOf(gone, { 2: 'begun' })],
    })
    const { slots } = output.changes.get(`update/${id}`) as UpdateFacts
    expect(slots).toMatchObject({ [slot(2)]: { state: 'begun' } })
    expect(Object.keys(slots)).toHaveLength(1)
  })

  test('stays when that is taken back before it has moved', () => {
    const scene = rest(crowded(away))
    const back = rest({ ...scene, services: [{ ...small, versionIndex: 3 }] })
    const { view, liveness, placement } = inputOf(back)
    const where = place(placementInput(view, liveness, firstRules))
    expect([...where.slots.values()].map(({ kind }) => kind)).toEqual(['held', 'held'])
    expect(placement).toBeDefined()
    expect(back.tasks.every(({ desired }) => desired === 'running')).toBe(true)
  })

  test('stays where it has come to while the node that it leaves has not heard that something newer overtook the move', () => {
    const one = serviceOf('web', { Mode: { Replicated: { Replicas: 1 } } })
    const notThere = changed(one, { Placement: { Constraints: [`node.id!=${other}`] } })
    const newest = changed(one, { ...notThere.spec.TaskTemplate, ForceUpdate: 1 })
    const tasks = [runningTask(one, { attempt: 2 })]
    const seenBy = (leaves: TaskEntry['leaves']) =>
      run({
        services: [newest],
        history: [one],
        tasks,
        containers: up(tasks),
        others: [
          recordOf(other, {
            tasks: [runningTask(one, { id: 'there' as TaskId, ...(leaves && { leaves }) })],
            facts: [factsOf(notThere, { 1: 'begun' })],
          }),
        ],
      })
    const stopped = [{ slot: 1, attempt: 2, desired: 'shutdown' }]
    expect(
      changedTasks(seenBy({ update: updateKey(notThere.spec), reason: 'may not run here' }).changes),
    ).toEqual([])
    expect(changedTasks(seenBy(undefined).changes)).toMatchObject(stopped)
  })

  test('waits for its turn again where something newer overtakes the move', () => {
    const newest = changed(small, { ...away.spec.TaskTemplate, ForceUpdate: 1 })
    const leaves = { update: updateKey(away.spec), reason: 'may not run here' }
    const tasks = [runningTask(small, { slot: 2, leaves })]
    const { changes } = run({
      services: [newest],
      history: [small],
      tasks,
      containers: up(tasks),
      facts: [factsOf(away, { 2: 'begun' })],
      others: [recordOf(other, { tasks: [runningTask(small, { slot: 1, id: 'there' as TaskId })] })],
    })
    expect([...changes]).toEqual([
      [`update/${id}`, undefined],
      [`task/${tasks[0]?.id}`, { ...tasks[0], leaves: undefined }],
    ])
  })

  test('tells that it stays, as soon as something newer has overtaken the move', () => {
    const scene = rest(crowded(changed(small, { Resources: whole })))
    expect(scene.tasks[0]).toMatchObject({ slot: 1, leaves: {} })
    const newest = { ...changed(small, { ForceUpdate: 1 }), versionIndex: 3 }
    const told = changedTasks(run({ ...scene, services: [newest] }).changes)
    expect(told).toContainEqual({ ...scene.tasks[0], leaves: undefined })
  })

  test('is tried again after a while where nobody took it, if all are to get there', () => {
    const going = changed(small, away.spec.TaskTemplate, { FailureAction: 'continue', Parallelism: 2 })
    const stuck = rest({ ...rest(crowded(going, 1e9)), nowMs: 1_006_000 })
    expect(factIn(stuck, 1)).toMatchObject({ state: 'failed' })
    const later = { ...stuck, others: crowded(going).others!, nowMs: 1_040_000 }
    const again = rest(later)
    expect(factIn(again, 1)).toMatchObject({ state: 'begun' })
    expect(again.tasks.map(({ leaves }) => leaves?.update)).toEqual([
      updateKey(going.spec),
      updateKey(going.spec),
    ])
  })

  test('makes nothing here when it is tried again with a newer spec, and what runs stays', () => {
    const template = { ...away.spec.TaskTemplate, ForceUpdate: 1 }
    const going = changed(small, template, { FailureAction: 'continue' })
    const stuck = rest({ ...rest(crowded(going, 1e9)), nowMs: 1_006_000 })
    expect(factIn(stuck, 1)).toMatchObject({ state: 'failed' })
    const again = rest({ ...stuck, nowMs: 1_040_000 })
    expect(factIn(again, 1)).toMatchObject({ state: 'begun' })
    expect(again.tasks).toMatchObject([
      { slot: 1, attempt: 1, desired: 'running', leaves: { update: updateKey(going.spec) } },
      { slot: 2, attempt: 1, desired: 'running' },
    ])
  })

  test('leaves at once where it is the node that changed, as with Swarm', () => {
    const scene = crowded(away)
    const tasks = scene.tasks.map((task) => ({
      ...task,
      constraints: [...away.spec.TaskTemplate.Placement!.Constraints!],
    }))
    const { view, liveness } = inputOf({ ...scene, tasks })
    const { slots } = place(placementInput(view, liveness, firstRules))
    expect([...slots.values()]).toMatchObject([
      { kind: 'moving', to: other, because: { filter: 'constraints' } },
      { kind: 'moving', to: other, because: { filter: 'constraints' } },
    ])
  })
})
