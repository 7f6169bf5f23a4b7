import type { TaskEntry } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { containerFor, inputOf, runningTask, serviceOf, withImage, type Scene } from '../reconcile/testing.ts'
import { subjectsOf } from './subjects.ts'

const labels = { 'moot.health.http': '8080/ready' }
const web = serviceOf('web', { Labels: labels })
const addresses = [{ network: 'bridge', address: '172.17.0.2/16' }]
const subjects = (scene: Scene) => subjectsOf(inputOf(scene))

describe('what is probed', () => {
  test('is a running container of a service with labels, at its address', () => {
    const task = runningTask(web)
    const containers = [containerFor(task, 'running', { addresses })]
    expect(subjects({ services: [web], tasks: [task], containers })).toMatchObject([
      { task: task.id, address: '172.17.0.2', isUp: true, probes: { readiness: { check: { port: 8080 } } } },
    ])
  })

  test('is asked at this host’s loopback where it shares its network', () => {
    const host = serviceOf('web', { Labels: labels }, { Networks: [{ Target: 'host' }] })
    const task = runningTask(host)
    const containers = [containerFor(task, 'running')]
    expect(subjects({ services: [host], tasks: [task], containers })).toMatchObject([
      { address: '127.0.0.1' },
    ])
  })

  test('has the address that its record remembers where the engine could not be asked', () => {
    const task = runningTask(web, { addresses })
    const containers = [containerFor(task, 'running')]
    expect(subjects({ services: [web], tasks: [task], containers })).toMatchObject([
      { address: '172.17.0.2' },
    ])
  })

  test('has no address where it has none', () => {
    const task = runningTask(web)
    const scene = { services: [web], tasks: [task], containers: [containerFor(task, 'running')] }
    expect(subjects(scene)).toMatchObject([{ address: undefined }])
  })

  test('is met with what it said last', () => {
    const failed = (given: Partial<TaskEntry>) => {
      const task = runningTask(web, given)
      return subjects({ services: [web], tasks: [task], containers: [containerFor(task, 'running')] })[0]
        ?.failed
    }
    const unready = { sinceMs: 1, why: 'readiness: GET :8080/ready → 503' }
    const ill = { kind: 'held', sinceMs: 1 } as const
    expect(failed({})).toEqual({})
    expect(failed({ unready })).toEqual({ readiness: unready.why })
    const why = 'unhealthy container: liveness: TCP :1 → connection refused'
    expect(failed({ illness: { ...ill, why }, unready: { sinceMs: 1, why } })).toEqual({
      liveness: 'liveness: TCP :1 → connection refused',
    })
    const dockers = 'unhealthy container'
    expect(failed({ illness: { ...ill, why: dockers }, unready: { sinceMs: 1, why: dockers } })).toEqual({})
  })

  test('is nothing that does not run, is being stopped, or has no labels', () => {
    const plain = serviceOf('plain')
    const tasks = [
      runningTask(web, { slot: 1 }),
      runningTask(web, { slot: 2, desired: 'shutdown' }),
      runningTask(web, { slot: 3, illness: { kind: 'stopping', sinceMs: 1, why: '' } }),
      runningTask(plain),
    ]
    const containers = tasks.map((task, index) => containerFor(task, index === 0 ? 'paused' : 'running'))
    expect(subjects({ services: [web, plain], tasks, containers })).toEqual([])
  })

  test('an older task is asked what its own spec says while an update goes on', () => {
    const newer = withImage(web, 'web:2')
    const changed = { ...newer, spec: { ...newer.spec, Labels: { 'moot.health.http': '8080/v2' } } }
    const tasks = [runningTask(web, { slot: 1 }), runningTask(changed, { slot: 2 })]
    const containers = tasks.map((task) => containerFor(task, 'running', { addresses }))
    const found = subjects({ services: [changed], history: [web], tasks, containers })
    expect(found.map(({ probes }) => probes.readiness?.check)).toMatchObject([
      { path: '/ready' },
      { path: '/v2' },
    ])
  })

  test('a change of labels alone is asked of the tasks that run', () => {
    const changed = { ...web, spec: { ...web.spec, Labels: { 'moot.health.tcp': '9' } } }
    const task = runningTask(web)
    const containers = [containerFor(task, 'running', { addresses })]
    expect(subjects({ services: [changed], tasks: [task], containers })).toMatchObject([
      { probes: { readiness: { check: { kind: 'tcp', port: 9 } } } },
    ])
  })
})
