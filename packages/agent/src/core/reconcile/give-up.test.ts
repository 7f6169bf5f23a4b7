import { describe, expect, test } from 'vitest'
import { isClaim, type NodeId, type Resource, type ServiceSpec } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { reconcile } from './reconcile.ts'
import {
  changedTasks,
  containerFor,
  engineless,
  inputOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  statusOf,
  taskOf,
  type Scene,
} from './testing.ts'

const { engineDownGraceMs, agentDownGraceMs } = defaults
const web = serviceOf('web')
const task = runningTask(web)
const free = recordOf(other, {})
/** Ended with the engine, which has not come back for as long as anything is waited for. */
const gone = { hasEnded: true, engineDownForMs: agentDownGraceMs * 2 }

function running(service: Resource<ServiceSpec>, patch: Partial<Scene> = {}): Scene {
  const own = runningTask(service)
  return {
    services: [service],
    tasks: [own],
    containers: [containerFor(own, 'running')],
    others: [free],
    ...patch,
  }
}
const after = (engineDownForMs: number, scene: Scene = running(web)) =>
  reconcile(inputOf({ ...scene, engineDownForMs }))
const withDisk = (patch: Record<string, unknown> = {}): Resource<ServiceSpec> =>
  serviceOf('db', patch, {
    ContainerSpec: { Image: 'db:1', Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }] },
  })

/** The ids of the tasks whose claims this node ends. */
function givenUp(scene: Scene): readonly string[] {
  const { changes } = reconcile(inputOf({ ...gone, ...scene }))
  return changedTasks(changes).flatMap((each) => (each === undefined || isClaim(each) ? [] : [each.id]))
}

describe('an engine that is down', () => {
  test('is waited for, as a restart or an upgrade takes', () => {
    const output = after(engineDownGraceMs - 1_000, running(web, { hasEnded: true }))
    expect(output.changes.size).toBe(0)
    expect(output.wakeAtMs).toBe(inputOf(running(web)).nowMs + 1_000)
  })

  test('gives up the tasks whose processes have ended with it, so that they run elsewhere', () => {
    const output = after(engineDownGraceMs, running(web, { hasEnded: true }))
    expect(changedTasks(output.changes)).toMatchObject([
      { id: task.id, desired: 'shutdown', error: 'its Docker engine is down' },
    ])
  })

  test('keeps those that live on without it for as long as an agent that is down keeps its own', () => {
    expect(after(agentDownGraceMs - 1).changes.size).toBe(0)
    expect(changedTasks(after(agentDownGraceMs).changes)).toMatchObject([{ desired: 'shutdown' }])
  })

  test('of whose containers nothing is known, keeps them as if they lived', () => {
    const unseen = running(web, { containers: [], hasEnded: true })
    expect(after(agentDownGraceMs - 1, unseen).changes.size).toBe(0)
  })

  test('gives up at once what it had not started by the end of the grace', () => {
    const preparing = running(web, { tasks: [taskOf(web, { state: 'preparing' })], containers: [] })
    expect(changedTasks(after(engineDownGraceMs, preparing).changes)).toMatchObject([{ desired: 'remove' }])
  })

  test('decides nothing before the first sync', () => {
    expect(givenUp(running(web, { synced: false }))).toEqual([])
  })
})

describe('an engine that does not come back keeps what has nowhere to go', () => {
  test('on the only host', () => {
    expect(givenUp(running(web, { others: [] }))).toEqual([])
  })

  test('where a constraint names this node', () => {
    const pinned = (id: string) => serviceOf('web', {}, { Placement: { Constraints: [`node.id==${id}`] } })
    expect(givenUp(running(pinned(self)))).toEqual([])
    expect(givenUp(running(pinned(other)))).toEqual([task.id])
  })

  test('where all others are full', () => {
    const large = serviceOf('web', {}, { Resources: { Reservations: { NanoCPUs: 3e9 } } })
    const filler = runningTask(large, { slot: 2 })
    expect(givenUp(running(large, { others: [recordOf(other, { tasks: [filler] })] }))).toEqual([])
    expect(givenUp(running(large))).toEqual([task.id])
  })

  test('where the engines of all others are down too', () => {
    expect(givenUp(running(web, { others: [recordOf(other, {}, engineless)] }))).toEqual([])
  })

  test('where all others are dead, or may be', () => {
    expect(givenUp(running(web, { suspects: [other] }))).toEqual([])
    expect(givenUp(running(web, { down: [other] }))).toEqual([])
  })

  test('where the slot is another’s as well, but that one’s engine is down too', () => {
    const twin = runningTask(web, { attempt: 2 })
    expect(givenUp(running(web, { others: [recordOf(other, { tasks: [twin] }, engineless)] }))).toEqual([])
    expect(givenUp(running(web, { others: [recordOf(other, { tasks: [twin] })] }))).toEqual([task.id])
  })

  test('and a host that joins later takes it', () => {
    const alone = running(web, { others: [] })
    const output = reconcile(inputOf({ ...gone, ...alone }))
    expect(output).toMatchObject({ changes: new Map(), wakeAtMs: undefined })
    expect(givenUp({ ...alone, others: [free] })).toEqual([task.id])
  })

  test('while the rest is given up, as much as there is room for', () => {
    const pair = serviceOf('web', { Mode: { Replicated: { Replicas: 3 } } })
    const room = statusOf({ capacity: { ...statusOf().capacity, maxTasks: 2 } })
    const tasks = [1, 2, 3].map((slot) => runningTask(pair, { slot }))
    const scene = running(pair, {
      tasks,
      containers: tasks.map((each) => containerFor(each, 'running')),
      others: [recordOf(other, {}, room)],
    })
    expect(givenUp(scene)).toEqual(tasks.slice(0, 2).map(({ id }) => id))
  })

  test('and what still waits for its grace takes nobody’s room', () => {
    const pair = serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } })
    const room = statusOf({ capacity: { ...statusOf().capacity, maxTasks: 1 } })
    const lives = runningTask(pair)
    const waits = taskOf(pair, { slot: 2, state: 'preparing' })
    const scene = running(pair, {
      tasks: [lives, waits],
      containers: [containerFor(lives, 'running')],
      others: [recordOf(other, {}, room)],
    })
    expect(changedTasks(after(engineDownGraceMs, scene).changes)).toMatchObject([{ id: waits.id }])
  })

  test('of a global service, whose tasks are of their nodes', () => {
    const log = serviceOf('log', { Mode: { Global: {} } })
    const own = runningTask(log, { slot: self })
    expect(givenUp(running(log, { tasks: [own], containers: [containerFor(own, 'running')] }))).toEqual([])
  })

  test('with a volume of this node, by what placement knows', () => {
    const db = withDisk()
    const waits = { tasks: [taskOf(db, { state: 'preparing' })], containers: [] }
    const told = { ...engineless, volumes: ['data'] }
    expect(givenUp(running(db, { ...waits, status: told }))).toEqual([])
    expect(givenUp(running(db, waits))).toEqual(['db.1.1'])
  })

  test('with a volume that it was started with, which no listing has shown yet', () => {
    expect(givenUp(running(withDisk()))).toEqual([])
    expect(givenUp(running(withDisk({ Labels: { 'moot.volume.move': 'true' } })))).toEqual(['db.1.1'])
  })

  test('of a slot that it was to take over from a drained node, which would stop it if nobody were to', () => {
    const successor = taskOf(web, { attempt: 2, state: 'preparing' })
    const drained = recordOf(other, { tasks: [task] })
    const scene = running(web, { tasks: [successor], containers: [], others: [drained], drained: [other] })
    expect(givenUp(scene)).toEqual([])
    const third = recordOf('node3'.padEnd(25, '0') as NodeId, {})
    expect(givenUp({ ...scene, others: [drained, third] })).toEqual([successor.id])
  })

  test('of a slot that is being updated start-first: the one that waits stays behind the one that lives', () => {
    const old = runningTask(web)
    const next = taskOf(web, { attempt: 2, state: 'preparing' })
    const scene = running(web, { tasks: [old, next], containers: [containerFor(old, 'running')] })
    expect(after(engineDownGraceMs, scene).changes.size).toBe(0)
    expect(givenUp(scene)).toEqual([old.id, next.id])
  })
})
