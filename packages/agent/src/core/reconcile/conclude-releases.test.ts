import { describe, expect, test } from 'vitest'
import {
  releaseLabel,
  specDigest,
  stackLabel,
  type Resource,
  type ServiceSpec,
  type UpdateFailure,
} from '@moot/crdt-state'
import { updateStatus } from './progress.ts'
import { reconcile } from './reconcile.ts'
import {
  containerFor,
  inputOf,
  other,
  recordOf,
  runningTask,
  serviceOf,
  withImage,
  type Scene,
} from './testing.ts'

const failure: UpdateFailure = { task: 'web.1.2', atMs: 5, back: {}, releases: ['6-b', '7-c'] }

function inStack(name: string, release: string | undefined, stack = 'shop'): Resource<ServiceSpec> {
  const Labels = { [stackLabel]: stack, ...(release !== undefined && { [releaseLabel]: release }) }
  return withImage(serviceOf(name, { Labels }), `${name}:2`)
}
/** It has gone back, and with it the releases 6 and 7. */
const failed = { ...inStack('web', '5-a'), previous: undefined, rolledBack: true, failure }

const scene = (...services: readonly Resource<ServiceSpec>[]): Scene => ({ services, tasks: [] })
const concluded = (given: Scene) => reconcile(inputOf(given)).conclusions
const concludedOf = (...services: readonly Resource<ServiceSpec>[]): readonly string[] =>
  concluded(scene(...services)).map(
    ({ service }) => services.find(({ id }) => id === (service as string))?.name ?? '',
  )

describe('where a service of a release has failed', () => {
  test('what the release changed in the others of its stack goes back too, with the reason', () => {
    const api = inStack('api', '7-c')
    expect(concluded(scene(failed, api))).toEqual([
      {
        service: api.id,
        digest: specDigest(api.spec),
        outcome: {
          kind: 'failed',
          task: 'web.1.2',
          release: { id: '7-c', service: 'web', undone: ['6-b', '7-c'] },
        },
      },
    ])
  })

  test('so does what an earlier release changed that is undone with it', () => {
    expect(concludedOf(failed, inStack('api', '6-b'), inStack('db', '7-c'))).toEqual(['api', 'db'])
  })

  test('others stay: of another release or none, of another stack, created by it, or rolled back already', () => {
    const back = { ...inStack('a', '7-c'), rolledBack: true }
    const goneBack = { ...inStack('b', '7-c'), rolledBack: true, previous: undefined, failure }
    const created = { ...inStack('c', '7-c'), previous: undefined }
    const others = [inStack('d', '5-a'), inStack('e', undefined), inStack('f', '7-c', 'another')]
    expect(concludedOf(failed, back, goneBack, created, ...others)).toEqual([])
  })

  test('all stay where the service failed that undoes no release', () => {
    const { releases: _, ...alone } = failure
    expect(concludedOf({ ...failed, failure: alone }, inStack('api', '7-c'))).toEqual([])
    const withAnother = { ...alone, release: { id: '7-c', service: 'db' } }
    expect(concludedOf({ ...failed, failure: withAnother }, inStack('api', '7-c'))).toEqual([])
  })

  test('one member writes it, chosen by hashing for each service; another where that one is dead', () => {
    const services = Array.from({ length: 20 }, (_, index) => inStack(`api${index}`, '7-c'))
    const others = [recordOf(other, {})]
    const own = concluded({ ...scene(failed, ...services), others }).length
    expect(own).toBeGreaterThan(0)
    expect(own).toBeLessThan(20)
    expect(concluded({ ...scene(failed, ...services), others, down: [other] })).toHaveLength(20)
  })

  test('it is written though this node’s engine is down, and not before the first sync', () => {
    const given = scene(failed, inStack('api', '7-c'))
    expect(concluded({ ...given, engineDownForMs: 1 })).toHaveLength(1)
    expect(concluded({ ...given, synced: false })).toEqual([])
  })

  test('the service that goes back with it says whose failure it was', () => {
    const updated = inStack('api', '7-c')
    const back = {
      ...inStack('api', '5-a'),
      spec: serviceOf('api').spec,
      previous: undefined,
      rolledBack: true,
      failure: { task: 'web.1.2', atMs: 5, back: {}, release: { id: '7-c', service: 'web' } },
    }
    const task = runningTask(updated)
    const { view } = inputOf({ ...scene(back), tasks: [task], containers: [containerFor(task, 'running')] })
    expect(updateStatus(view, back)).toMatchObject({
      State: 'rollback_started',
      Message:
        'update rolled back with its release 7-c due to failure or early termination of task web.1.2 of service web',
    })
  })
})
