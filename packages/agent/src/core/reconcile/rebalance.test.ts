import { describe, expect, test } from 'vitest'
import {
  moveFact,
  slotId,
  type NodeId,
  type Resource,
  type ServiceId,
  type ServiceSpec,
  type TaskEntry,
  type TaskId,
} from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { place } from '../placement/place.ts'
import { placementInput } from '../placement/placement-input.ts'
import { firstRules } from '../rules.ts'
import { reconcile } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  inputOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  statusOf,
  withImage,
  type Scene,
} from './testing.ts'

const web = serviceOf('web', { Mode: { Replicated: { Replicas: 4 } } })
const third = 'node3'.padEnd(25, '0') as NodeId

/** These slots of `service` (first attempts) are asked to leave their nodes. */
function asked(
  service: Resource<ServiceSpec>,
  ...moves: readonly { slot: number; from?: NodeId; asked?: number }[]
): Resource<ServiceSpec> {
  const facts = moves.map((move) => moveFact({ attempt: 1, asked: 1, from: self, ...move }))
  return { ...service, facts: new Map(facts) }
}

function run(scene: Scene, at: NodeId = self) {
  const input = inputOf(scene)
  const view = { ...input.view, self: at }
  return reconcile({ ...input, view, placement: place(placementInput(view, input.liveness, firstRules)) })
}
/** All slots run here, none on the other node. */
function crowded(service: Resource<ServiceSpec>, patch: Partial<TaskEntry> = {}): Scene {
  const tasks = [1, 2, 3, 4].map((slot) => runningTask(service, { slot, ...patch }))
  return { services: [service], tasks, containers: up(tasks), others: [recordOf(other, {})] }
}
const up = (tasks: readonly TaskEntry[]) => tasks.map((task) => containerFor(task, 'running'))
const leaving = (scene: Scene, at?: NodeId) =>
  changedTasks(run(scene, at).changes).flatMap((task) => (task?.balance?.kind === 'leaving' ? [task] : []))
const slots = (tasks: readonly TaskEntry[]) => tasks.map(({ slot }) => slot)
const left = { kind: 'leaving', asked: 1, sinceMs: 1_000_000, shares: [4] } as const
const successorOf = (service: Resource<ServiceSpec>, patch: Partial<TaskEntry> = {}) =>
  runningTask(service, { slot: 3, attempt: 2, id: 'there' as TaskId, ...patch })
/** Slot 3 is on its way. */
const oneLeaves = (service: Resource<ServiceSpec>, balance: TaskEntry['balance'] = left): Scene => {
  const scene = crowded(service)
  const tasks = scene.tasks.map((task) => (task.slot === 3 && balance ? { ...task, balance } : task))
  return { ...scene, tasks }
}

describe('a task that was asked to move for the sake of evenness', () => {
  test('says so when its turn has come, as many at a time as an update replaces, the first slots first', () => {
    const both = [{ slot: 4 }, { slot: 3 }]
    expect(leaving(crowded(asked(web, ...both)))).toMatchObject([
      { slot: 3, balance: { asked: 1, shares: [4] } },
    ])
    const two = serviceOf('web', { Mode: web.spec.Mode, UpdateConfig: { Parallelism: 2 } })
    expect(leaving(crowded(asked(two, ...both))).map(({ slot, balance }) => [slot, balance?.shares])).toEqual(
      [
        [3, [4]],
        [4, [3]],
      ],
    )
  })

  test('says what its node and its branches of the spread had', () => {
    const inZone = (zone: string) => statusOf({ engineLabels: { zone } })
    const Placement = { Preferences: [{ Spread: { SpreadDescriptor: 'engine.labels.zone' } }] }
    const spread = serviceOf('web', {
      Mode: { Replicated: { Replicas: 5 } },
      TaskTemplate: { ...web.spec.TaskTemplate, Placement },
    })
    const service = asked(spread, { slot: 3 })
    const there = [runningTask(service, { slot: 5, id: 'there' as TaskId })]
    const others = [recordOf(other, { tasks: there }, inZone('one')), recordOf(third, {}, inZone('two'))]
    expect(leaving({ ...crowded(service), others, status: inZone('one') })).toMatchObject([
      { balance: { shares: [5, 4] } },
    ])
  })

  test('waits for one that is on its way elsewhere, and not for one whose node does not answer', () => {
    const service = asked(web, { slot: 3 }, { slot: 1, from: other })
    const there = runningTask(service, { slot: 1, id: 'there' as TaskId })
    const scene = { ...crowded(service), others: [recordOf(other, { tasks: [there] }), recordOf(third, {})] }
    const tasks = scene.tasks.filter(({ slot }) => slot !== 1)
    expect(leaving({ ...scene, tasks })).toEqual([])
    expect(slots(leaving({ ...scene, tasks, suspects: [other] }))).toEqual([3])
    const onItsWay = [recordOf(other, { tasks: [{ ...there, balance: left }] }), recordOf(third, {})]
    expect(leaving({ ...scene, tasks, others: onItsWay, suspects: [other] })).toEqual([])
    expect(slots(leaving({ ...scene, tasks, others: onItsWay, down: [other] }))).toEqual([3])
  })

  test('is another task than the one of an older asking, of another node, or of another attempt', () => {
    expect(leaving(crowded(asked(web, { slot: 3, from: other })))).toEqual([])
    expect(leaving(crowded(asked(web, { slot: 3 }), { attempt: 2 }))).toEqual([])
  })

  test('does nothing while an update of its service is under way, and takes its word back', () => {
    const service = asked(withImage(web, 'web:2'), { slot: 3 })
    const old = { digest: runningTask(web).digest }
    expect(leaving({ ...crowded(service, old), history: [web] })).toEqual([])
    const tasks = crowded(service, old).tasks.map((task) =>
      task.slot === 3 ? { ...task, balance: left } : task,
    )
    const output = run({ ...crowded(service, old), history: [web], tasks })
    const three = changedTasks(output.changes).find((task) => task?.slot === 3 && task.attempt === 1)
    expect(three?.balance).toBeUndefined()
    expect(three?.desired).toBe('running')
  })
})

describe('a slot that leaves for the sake of evenness', () => {
  const service = asked(web, { slot: 3 })

  test('is claimed by a node that has less, with what its holder runs, and is no step of an update', () => {
    const output = run(oneLeaves(service), other)
    expect(changedTasks(output.changes)).toMatchObject([{ slot: 3, attempt: 2, state: 'assigned' }])
    expect(output.changes.has(`update/${service.id}`)).toBe(false)
    const newer = { ...asked(withImage(web, 'web:2'), { slot: 3 }) }
    const digest = runningTask(web).digest
    const older = oneLeaves(newer).tasks.map((task) => ({ ...task, digest }))
    // Also where the older spec is not known yet: to skip a slot would break the law of placement.
    for (const history of [[web], []]) {
      const claimed = run({ ...oneLeaves(newer), tasks: older, history }, other)
      expect(changedTasks(claimed.changes)).toMatchObject([{ slot: 3, attempt: 2, digest }])
    }
  })

  test('is not claimed where that would only change who has more', () => {
    const there = [1, 2, 3].map((n) => runningTask(service, { slot: n + 10, id: `x${n}` as TaskId }))
    const bigger = { ...service, spec: { ...service.spec, Mode: { Replicated: { Replicas: 13 } } } }
    const scene = { ...oneLeaves(bigger), others: [recordOf(other, { tasks: there })] }
    const slot = slotId(service.id as ServiceId, 3)
    const { view, liveness } = inputOf(scene)
    const where = place(placementInput(view, liveness, firstRules)).slots.get(slot)
    expect(where).toMatchObject({ kind: 'moving', to: undefined, because: { filter: 'balance' } })
  })

  test('goes once its successor runs and is ready, and then nothing moves any more', () => {
    const starting = [recordOf(other, { tasks: [successorOf(service, { state: 'starting' })] })]
    expect(changedTasks(run({ ...oneLeaves(service), others: starting }).changes)).toEqual([])
    const unready = successorOf(service, { unready: { sinceMs: 0, why: '503' } })
    const notReady = [recordOf(other, { tasks: [unready] })]
    expect(changedTasks(run({ ...oneLeaves(service), others: notReady }).changes)).toEqual([])
    const others = [recordOf(other, { tasks: [successorOf(service)] })]
    const output = run({ ...oneLeaves(service), others })
    expect(changedTasks(output.changes)).toMatchObject([{ slot: 3, attempt: 1, desired: 'shutdown' }])
    const gone = { ...oneLeaves(service), others }
    const tasks = after(gone, output).tasks.map((task) =>
      task.slot === 3 ? ({ ...task, state: 'shutdown' } as const) : task,
    )
    const rest = { ...gone, tasks, containers: up(tasks.filter(({ slot }) => slot !== 3)) }
    expect(changedTasks(run(rest).changes)).toEqual([])
    expect(changedTasks(run({ ...rest, containers: up([successorOf(service)]) }, other).changes)).toEqual([])
  })

  test('stays where no other node takes it for a while, until it is asked anew', () => {
    const full = [recordOf(other, {}, statusOf({ capacity: { ...statusOf().capacity, maxTasks: 0 } }))]
    const scene = { ...oneLeaves(service), others: full }
    expect(run(scene).changes.size).toBe(0)
    const nowMs = 1_000_000 + defaults.updateMonitorMs
    const [stays] = changedTasks(run({ ...scene, nowMs }).changes)
    expect(stays).toMatchObject({ slot: 3, desired: 'running', balance: { kind: 'staying', asked: 1 } })
    const later = { ...oneLeaves(service, stays!.balance), nowMs }
    expect(leaving(later)).toEqual([])
    expect(leaving({ ...later, services: [asked(web, { slot: 3, asked: 2 })] })).toMatchObject([
      { slot: 3, balance: { asked: 2 } },
    ])
  })

  test('stays where its successor does not come up, which then gives way', () => {
    const others = [recordOf(other, { tasks: [successorOf(service, { state: 'starting' })] })]
    const scene = { ...oneLeaves(service), others, nowMs: 1_000_000 + defaults.rebalanceMoveMaxMs }
    expect(changedTasks(run(scene).changes)).toMatchObject([{ slot: 3, balance: { kind: 'staying' } }])
    const back = oneLeaves(service, { ...left, kind: 'staying' })
    const slot = slotId(service.id as ServiceId, 3)
    const { view, liveness } = inputOf({ ...back, others })
    expect(place(placementInput(view, liveness, firstRules)).slots.get(slot)).toMatchObject({
      kind: 'held',
      holder: { node: self },
      losers: [{ node: other }],
    })
  })
})
