import { expect, test } from 'vitest'
import { slotId, type ServiceId, type TaskEntry } from '@moot/crdt-state'
import type { LivenessMap } from './membership/liveness.ts'
import { inputOf, other, recordOf, runningTask, self, serviceOf, type Scene } from './reconcile/testing.ts'
import { taskCounts, tasksOf } from './tasks-view.ts'

const web = serviceOf('web', { Mode: { Replicated: { Replicas: 3 } } })
const id = web.id as ServiceId
const theirs = runningTask(web, { id: 'theirs' as TaskEntry['id'], slot: 2 })
const down: LivenessMap = new Map([
  [self, { kind: 'alive' }],
  [other, { kind: 'down', observers: [] }],
])

function show(scene: Partial<Scene>, liveness?: LivenessMap) {
  const input = inputOf({ services: [web], tasks: [runningTask(web)], ...scene })
  return { input, shown: tasksOf(input.view, liveness ?? input.liveness, input.placement) }
}

test('tasks of a dead node are shown as orphaned and unwanted, and do not count as running', () => {
  const { input, shown } = show({ others: [recordOf(other, { tasks: [theirs] })] }, down)
  expect(shown.map(({ node, task }) => [node, task.state, task.desired])).toEqual([
    [self, 'running', 'running'],
    [other, 'orphaned', 'shutdown'],
  ])
  expect(taskCounts(input.view, down, id)).toEqual({ RunningTasks: 1, DesiredTasks: 3, CompletedTasks: 0 })
  expect(taskCounts(input.view, input.liveness, id).RunningTasks).toBe(2)
})

test('a slot that fits nowhere is a pending task that says why, node by node, under one stable id', () => {
  const refusals = [
    { node: self, filter: 'resources', reason: 'needs 2 CPUs, has 1' },
    { node: other, filter: 'availability', reason: 'is drained' },
  ]
  const scene = { tasks: [], slots: { [slotId(id, 1)]: { kind: 'pending', refusals } } } as const
  const [task] = show(scene).shown
  expect(task).toMatchObject({
    node: undefined,
    task: {
      state: 'pending',
      message: 'pending task scheduling',
      error: `no suitable node (1 node not available for new tasks; insufficient resources on 1 node): host: needs 2 CPUs, has 1; ${other}: is drained`,
    },
  })
  expect(show(scene).shown[0]?.task.id).toBe(task?.task.id)
  expect(task?.task.id).toMatch(/^[0-9a-z]{25}$/)
})

test('what ended and is being forgotten is not shown', () => {
  const tasks = [runningTask(web, { state: 'shutdown', desired: 'remove' })]
  expect(show({ tasks, slots: {} }).shown).toEqual([])
})

test('of a global service as many tasks are desired as slots are placed', () => {
  const agent = serviceOf('agent', { Mode: { Global: {} } })
  const slots = Object.fromEntries(
    [self, other].map((node) => [
      slotId(agent.id as ServiceId, node),
      { kind: 'pending', refusals: [] } as const,
    ]),
  )
  const input = inputOf({ services: [agent], tasks: [runningTask(agent, { slot: self })], slots })
  const counts = taskCounts(input.view, input.liveness, agent.id as ServiceId, input.placement)
  expect(counts).toEqual({ RunningTasks: 1, DesiredTasks: 2, CompletedTasks: 0 })
})

test('a pending task is newer than what ended in its slot, and of that as much is shown as the cluster keeps', () => {
  const ends = (node: string, count: number) =>
    Array.from({ length: count }, (_, index) =>
      runningTask(web, {
        id: `${node}${index}` as TaskEntry['id'],
        attempt: index + 1,
        state: 'rejected',
        desired: 'shutdown',
        createdAtMs: 2_000_000 + index,
        stateAtMs: 3_000_000 + index,
      }),
    )
  const { shown } = show({
    tasks: ends('a', 4),
    others: [recordOf(other, { tasks: ends('b', 4) })],
    slots: { [slotId(id, 1)]: { kind: 'pending', refusals: [] } },
  })
  expect(shown.slice(0, -1).map(({ task }) => task.id)).toEqual(['a3', 'b3', 'a2', 'b2', 'a1'])
  expect(shown.at(-1)?.task.state).toBe('pending')
  expect(shown.at(-1)?.task.createdAtMs).toBe(3_000_003)
})

test('a global service’s pending task names its node', () => {
  const agent = serviceOf('agent', { Mode: { Global: {} } })
  const slots = { [slotId(agent.id as ServiceId, other)]: { kind: 'pending', refusals: [] } } as const
  expect(show({ services: [agent], tasks: [], slots }).shown).toMatchObject([
    { node: other, task: { slot: other, state: 'pending' } },
  ])
})

test('a task that ended and is not run again is shown as wanted no more, as in Swarm', () => {
  const once = runningTask(web, { state: 'complete', done: true })
  expect(show({ tasks: [once], slots: {} }).shown).toMatchObject([
    { task: { state: 'complete', desired: 'shutdown' } },
  ])
})
