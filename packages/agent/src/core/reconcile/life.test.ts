import { describe, expect, test } from 'vitest'
import { isTerminal, slotId, type Rejection, type ServiceId, type TaskEntry } from '@moot/crdt-state'
import type { SlotPlacement } from '../placement/placement.ts'
import { defaults } from '../../defaults.ts'
import { reconcile } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  containerIdOf,
  inputOf,
  other,
  runningTask,
  self,
  serviceOf,
  statusOf,
  taskOf,
  type Scene,
} from './testing.ts'

const web = serviceOf('web')
const slot = slotId(web.id as ServiceId, 1)
const vacant: Scene = {
  services: [web],
  tasks: [],
  slots: { [slot]: { kind: 'vacant', to: self, attempt: 3, assumed: [] } },
}
const run = (scene: Scene) => reconcile(inputOf(scene))
const only = (scene: Scene): TaskEntry | undefined => changedTasks(run(scene).changes)[0]

describe('claiming', () => {
  test('a vacant slot that is placed here is claimed with the placement’s attempt, and nothing is done yet', () => {
    const output = run(vacant)
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'assigned', desired: 'running', attempt: 3, slot: 1, service: web.id },
    ])
    expect(output.actions).toEqual([])
  })

  test('nothing is claimed before the first sync, while the engine is down, or before it was listed', () => {
    expect(run({ ...vacant, synced: false }).changes.size).toBe(0)
    expect(run({ ...vacant, engineDownForMs: 1_000 }).changes.size).toBe(0)
    expect(run({ ...vacant, listed: false }).changes.size).toBe(0)
  })

  test('a slot placed on another node is left to it', () => {
    const slots = { [slot]: { kind: 'vacant', to: other, attempt: 1, assumed: [] } as const }
    expect(run({ ...vacant, slots }).changes.size).toBe(0)
  })

  test('vacancies are claimed in the placement’s order, with what each assumed', () => {
    const ids = [2, 1, 3].map((number) => slotId(web.id as ServiceId, number))
    const slots = Object.fromEntries(
      ids.map((id, index) => [
        id,
        { kind: 'vacant', to: self, attempt: 1, assumed: ids.slice(0, index) } as const,
      ]),
    )
    const claims = changedTasks(run({ ...vacant, slots }).changes)
    expect(claims.map((task) => task?.slot)).toEqual([2, 1, 3])
    expect(claims.map((task) => task?.assumed)).toEqual([undefined, [ids[0]], [ids[0], ids[1]]])
  })

  test('a slot that is vacant again gets a new task id even if its attempt is the same', () => {
    const first = only(vacant)
    const input = inputOf(vacant)
    const own = input.view.records.get(self)!
    const records = new Map([[self, { ...own, seq: 2 }]])
    const [second] = changedTasks(reconcile({ ...input, view: { ...input.view, records } }).changes)
    expect(second?.attempt).toBe(first?.attempt)
    expect(second?.id).not.toBe(first?.id)
  })
})

describe('from claim to running', () => {
  test('a claim is admitted and its image prepared', () => {
    const output = run({ services: [web], tasks: [taskOf(web)] })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'preparing' }])
    expect(output.actions).toMatchObject([{ kind: 'prepare', setup: { spec: web.spec } }])
  })

  test('once prepared, the container is made', () => {
    const task = taskOf(web, { state: 'preparing' })
    const results = { [task.id]: { action: 'prepare', result: { kind: 'done' } } } as const
    expect(run({ services: [web], tasks: [task], results }).actions).toMatchObject([{ kind: 'create' }])
  })

  test('an agent that restarted while preparing prepares again', () => {
    expect(run({ services: [web], tasks: [taskOf(web, { state: 'preparing' })] }).actions).toMatchObject([
      { kind: 'prepare' },
    ])
  })

  test('a container that exists already is adopted, whatever the record still says', () => {
    for (const state of ['assigned', 'preparing', 'ready', 'starting'] as const) {
      const task = taskOf(web, { state })
      const output = run({
        services: [web],
        tasks: [task],
        containers: [containerFor(task, 'running', { pid: 7 })],
      })
      expect(changedTasks(output.changes)).toMatchObject([
        { state: 'running', message: 'started', containerId: containerIdOf(task.id), pid: 7 },
      ])
      expect(output.actions).toEqual([])
    }
  })

  test('a container starts only after the settle time', () => {
    const task = taskOf(web, {
      state: 'ready',
      createdAtMs: 1_000,
      containerId: containerIdOf('web.1.1' as TaskEntry['id']),
    })
    const scene: Scene = { services: [web], tasks: [task], containers: [containerFor(task, 'created')] }
    const early = run({ ...scene, nowMs: 1_100 })
    expect(early.actions).toEqual([])
    expect(early.wakeAtMs).toBe(1_150)
    const late = run({ ...scene, nowMs: 1_150 })
    expect(late.actions).toMatchObject([{ kind: 'start', container: containerIdOf(task.id) }])
    expect(changedTasks(late.changes)).toMatchObject([{ state: 'starting' }])
  })

  test('so many containers start in a second, and the rest of them later', () => {
    const replicas = 25
    const many = serviceOf('many', { Mode: { Replicated: { Replicas: replicas } } })
    const tasks = Array.from({ length: replicas }, (_, index) =>
      taskOf(many, { slot: index + 1, state: 'ready', createdAtMs: 1_000 }),
    )
    const containers = tasks.map((task) => containerFor(task, 'created'))
    const scene: Scene = { services: [many], tasks, containers }
    const first = run({ ...scene, nowMs: 2_000 })
    expect(first.actions).toHaveLength(defaults.startsPerSecondMax)
    const later = { ...after({ ...scene, nowMs: 2_000 }, first), inFlight: [] }
    const started = (nowMs: number) => run({ ...later, nowMs })
    expect(started(2_500).changes.size).toBe(0)
    expect(started(2_500).wakeAtMs).toBe(3_000)
    expect(changedTasks(started(3_000).changes)).toHaveLength(replicas - defaults.startsPerSecondMax)
  })

  test('a slot whose last task is still being stopped here is claimed at once, and started once that one is gone', () => {
    const old = runningTask(web, { desired: 'shutdown' })
    const claimed = changedTasks(run({ ...vacant, tasks: [old] }).changes)
    expect(claimed).toContainEqual(expect.objectContaining({ state: 'assigned', attempt: 3 }))
    const next = taskOf(web, {
      id: 'web.1.3' as TaskEntry['id'],
      attempt: 3,
      state: 'ready',
      createdAtMs: 1_000,
    })
    const startsBeside = (oldContainer: 'running' | 'exited'): boolean =>
      run({
        services: [web],
        tasks: [old, next],
        containers: [containerFor(old, oldContainer), containerFor(next, 'created')],
        nowMs: 5_000,
      }).actions.some(({ kind, task }) => kind === 'start' && task === next.id)
    expect(startsBeside('running')).toBe(false)
    expect(startsBeside('exited')).toBe(true)
  })

  test('a claim that another node has won is withdrawn before it starts, and leaves no trace', () => {
    const task = taskOf(web, { state: 'ready', containerId: containerIdOf('web.1.1' as TaskEntry['id']) })
    const winner = taskOf(web, { id: 'zzz' as TaskEntry['id'] })
    const slots = {
      [slot]: {
        kind: 'held',
        holder: { node: other, task: winner },
        losers: [{ node: self, task }],
      } as SlotPlacement,
    }
    const scene: Scene = {
      services: [web],
      tasks: [task],
      slots,
      containers: [containerFor(task, 'created')],
    }
    const output = run(scene)
    expect(output.actions).toMatchObject([{ kind: 'remove' }])
    const gone = after({ ...scene, inFlight: [] }, output)
    expect(changedTasks(run({ ...gone, inFlight: [], containers: [] }).changes)).toEqual([undefined])
  })

  test('a task with a health check is running only when it is healthy', () => {
    const task = taskOf(web, { state: 'starting' })
    const seen = (health: 'starting' | 'healthy') =>
      only({ services: [web], tasks: [task], containers: [containerFor(task, 'running', { health })] })?.state
    expect(seen('starting')).toBe('starting')
    expect(seen('healthy')).toBe('running')
  })

  test('an unhealthy container is stopped, then its task has failed', () => {
    const task = runningTask(web)
    const scene: Scene = {
      services: [web],
      tasks: [task],
      containers: [containerFor(task, 'running', { health: 'unhealthy' })],
    }
    const output = run(scene)
    expect(output.actions).toMatchObject([{ kind: 'stop', graceMs: 10_000 }])
    const stopped = {
      ...after(scene, output),
      inFlight: [],
      containers: [containerFor(task, 'exited', { exitCode: 0 })],
    }
    expect(changedTasks(run(stopped).changes)[0]).toMatchObject({
      state: 'failed',
      error: 'unhealthy container',
    })
  })

  test('a started container that was never started for real is started again', () => {
    const task = taskOf(web, { state: 'starting' })
    const output = run({ services: [web], tasks: [task], containers: [containerFor(task, 'created')] })
    expect(output.actions).toMatchObject([{ kind: 'start' }])
  })

  test('no other action is issued for a task that has one under way', () => {
    const task = taskOf(web, { state: 'starting' })
    const scene: Scene = { services: [web], tasks: [task], containers: [containerFor(task, 'created')] }
    expect(run({ ...scene, inFlight: [task.id] }).actions).toEqual([])
  })

  test('a task waits, and says so, while a network that it names is not known here', () => {
    const joined = serviceOf('joined', {}, { Networks: [{ Target: 'backend' }] })
    const output = run({ services: [joined], tasks: [taskOf(joined)] })
    expect(output.actions).toEqual([])
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'accepted', error: 'network backend is not known on this node yet' },
    ])
  })
})

describe('the end of a task', () => {
  const ended = (exitCode: number) => {
    const task = runningTask(web)
    return changedTasks(
      run({ services: [web], tasks: [task], containers: [containerFor(task, 'exited', { exitCode })] })
        .changes,
    )[0]
  }
  test('is told in Docker’s words', () => {
    expect(ended(0)).toMatchObject({ state: 'complete', message: 'finished', exitCode: 0 })
    expect(ended(3)).toMatchObject({ state: 'failed', error: 'task: non-zero exit (3)', exitCode: 3 })
  })

  test('a container that was removed by hand ends its task', () => {
    const [task] = changedTasks(run({ services: [web], tasks: [runningTask(web)] }).changes)
    expect(task).toMatchObject({ state: 'failed', error: 'container is gone' })
  })

  test('nothing ends while the engine is down', () => {
    const output = run({ services: [web], tasks: [runningTask(web)], engineDownForMs: 1_000 })
    expect(output).toMatchObject({ changes: new Map(), actions: [] })
  })

  test('an image that cannot be had is refused, so that the slot goes elsewhere', () => {
    const task = taskOf(web, { state: 'preparing' })
    const failed = { kind: 'failed', error: 'No such image: web:1', cause: 'rejected' } as const
    const output = run({
      services: [web],
      tasks: [task],
      results: { [task.id]: { action: 'prepare', result: failed } },
    })
    expect(changedTasks(output.changes)).toMatchObject([
      { state: 'rejected', error: 'No such image: web:1', desired: 'shutdown' },
    ])
    expect(output.changes.get(`rejection/${web.id}`)).toMatchObject({ reason: 'No such image: web:1' })
  })

  test('a refusal is withdrawn after a while, or when the service is gone', () => {
    const rejection: Rejection = {
      service: web.id as ServiceId,
      digest: taskOf(web).digest,
      reason: 'no',
      atMs: 1_000,
    }
    const scene: Scene = { services: [web], tasks: [], rejections: [rejection], slots: {} }
    const early = run({ ...scene, nowMs: 2_000 })
    expect(early.changes.size).toBe(0)
    expect(early.wakeAtMs).toBe(31_000)
    expect([...run({ ...scene, nowMs: 31_000 }).changes]).toEqual([[`rejection/${web.id}`, undefined]])
    expect([...run({ ...scene, services: [], nowMs: 2_000 }).changes]).toEqual([
      [`rejection/${web.id}`, undefined],
    ])
  })

  test('an unwell engine fails no task: the call is repeated later', () => {
    const task = taskOf(web, { state: 'preparing' })
    const failed = { kind: 'failed', error: 'timeout', cause: 'engine' } as const
    const scene: Scene = {
      services: [web],
      tasks: [task],
      nowMs: 5_000,
      results: { [task.id]: { action: 'prepare', result: failed } },
    }
    const output = run(scene)
    expect(output.actions).toEqual([])
    expect(output.wakeAtMs).toBe(6_000)
    const next = after(scene, output)
    expect(run({ ...next, nowMs: 5_999 }).actions).toEqual([])
    expect(run({ ...next, nowMs: 6_000 }).actions).toMatchObject([{ kind: 'prepare' }])
  })
})

describe('admission', () => {
  const big = serviceOf('big', {}, { Resources: { Reservations: { MemoryBytes: 5e9 } } })
  test('a task that does not fit is rejected with the figures', () => {
    const tasks = [runningTask(big), taskOf(big, { slot: 2 })]
    const containers = [containerFor(tasks[0]!, 'running')]
    const output = run({ services: [big], tasks, containers })
    expect(changedTasks(output.changes)).toMatchObject([
      { slot: 2, state: 'rejected', error: 'needs 5000000000 bytes of memory, has 3000000000 free' },
    ])
  })

  test('a task waits for room that is being made', () => {
    const tasks = [runningTask(big, { desired: 'shutdown' }), taskOf(big, { slot: 2, createdAtMs: 1_000 })]
    const containers = [containerFor(tasks[0]!, 'running')]
    const output = run({ services: [big], tasks, containers, nowMs: 1_000 })
    expect(output.actions).toMatchObject([{ kind: 'stop' }])
    expect(output.changes.size).toBe(0)
  })

  test('a task that waits long for room says for what', () => {
    const tasks = [runningTask(big, { desired: 'shutdown' }), taskOf(big, { slot: 2, createdAtMs: 1_000 })]
    const containers = [containerFor(tasks[0]!, 'running')]
    const at = (nowMs: number) => run({ services: [big], tasks, containers, nowMs })
    const late = 1_000 + defaults.explainWaitingAfterMs
    expect(at(late - 1).wakeAtMs).toBe(late)
    expect(changedTasks(at(late).changes)).toMatchObject([
      { slot: 2, state: 'assigned', error: 'needs 5000000000 bytes of memory, has 3000000000 free' },
    ])
  })

  test('a host port is given once', () => {
    const ports = { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80, PublishMode: 'host' }] } }
    const a = serviceOf('a', ports)
    const b = serviceOf('b', ports)
    const tasks = [runningTask(a), taskOf(b)]
    const output = run({ services: [a, b], tasks, containers: [containerFor(tasks[0]!, 'running')] })
    expect(changedTasks(output.changes)).toMatchObject([
      { error: 'host port 80/tcp is taken by another task' },
    ])
  })

  test('tasks that ended reserve nothing', () => {
    const done = runningTask(big, { state: 'complete', done: true })
    const output = run({ services: [big], tasks: [done, taskOf(big, { slot: 2 })], status: statusOf() })
    expect(output.actions).toMatchObject([{ kind: 'prepare' }])
  })
})

describe('coming to rest', () => {
  test('asked again with its changes recorded and its actions under way, it has nothing new to say', () => {
    const task = runningTask(web, { slot: 2 })
    let scene: Scene = {
      ...vacant,
      tasks: [task, taskOf(web, { slot: 3, state: 'preparing' })],
      containers: [containerFor(task, 'exited', { exitCode: 1 })],
    }
    const slots: Record<string, SlotPlacement> = Object.fromEntries(
      [2, 3].map((number) => [
        slotId(web.id as ServiceId, number),
        { kind: 'held', holder: { node: self, task }, losers: [] },
      ]),
    )
    scene = { ...scene, slots: { ...slots } }
    for (let call = 0; call < 4; call += 1) scene = after(scene, run(scene))
    const output = run(scene)
    expect(output.changes.size).toBe(0)
    expect(output.actions).toEqual([])
    expect(scene.tasks.filter((each) => !isTerminal(each.state)).map((each) => each.slot)).toEqual([3, 2])
  })
})
