import { describe, expect, test } from 'vitest'
import type { Resource, ServiceSpec, TaskEntry } from '@moot/crdt-state'
import { reconcile } from './reconcile.ts'
import { containerFor, containerIdOf, inputOf, runningTask, self, serviceOf, type Scene } from './testing.ts'

const named = serviceOf('web', {}, { Networks: [{ Target: 'backbone' }] })
const published = serviceOf('web', { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } })
const onHost = serviceOf('web', {
  EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' }] },
})
const plain = serviceOf('web')

/** Its only task is to stop: the record says so already. */
function stopping(service: Resource<ServiceSpec>, patch: Partial<TaskEntry> = {}): Scene {
  const task = runningTask(service, { desired: 'shutdown', ...patch })
  return { services: [service], tasks: [task], slots: {}, containers: [containerFor(task, 'running')] }
}
const actions = (scene: Scene) => reconcile(inputOf(scene)).actions.map(({ kind }) => kind)

describe('a task that is to stop', () => {
  test.each([
    ['is on a network of the cluster', named],
    ['has a port on every node', published],
  ])('is drained first where it %s', (_, service) => {
    const scene = stopping(service)
    const [task] = scene.tasks
    expect(actions(scene)).toEqual(['drain'])
    const done = { action: 'drain', result: { kind: 'done' } } as const
    const { actions: next } = reconcile(inputOf({ ...scene, results: { [task!.id]: done } }))
    expect(next).toMatchObject([{ kind: 'stop', container: containerIdOf(task!.id) }])
  })

  test('is stopped at once where nobody sends it traffic', () => {
    expect(actions(stopping(plain))).toEqual(['stop'])
    expect(actions(stopping(onHost))).toEqual(['stop'])
    expect(actions(stopping(named, { state: 'starting' }))).toEqual(['stop'])
    expect(actions(stopping(named, { unready: { sinceMs: 0, why: 'GET /ready: 503' } }))).toEqual(['stop'])
  })

  test('is drained though its service is gone, whose spec may not be known any more', () => {
    const scene = stopping(named, { desired: 'remove' })
    expect(actions({ ...scene, services: [] })).toEqual(['drain'])
  })

  test('is told in the record first: the call that decides it drains what the others will then read', () => {
    const task = runningTask(named)
    const drained: Scene = {
      services: [named],
      tasks: [task],
      containers: [containerFor(task, 'running')],
      drained: [self],
      slots: {
        [`${task.service}.${task.slot}`]: {
          kind: 'moving',
          holder: { node: self, task },
          to: undefined,
          successor: undefined,
          losers: [],
          because: { node: self, filter: 'availability', reason: 'drained' },
          refusals: [],
          assumed: [],
        },
      },
    }
    const { changes, actions: kinds } = reconcile(inputOf(drained))
    expect([...changes.values()]).toMatchObject([{ desired: 'shutdown' }])
    expect(kinds).toMatchObject([{ kind: 'drain' }])
  })
})
