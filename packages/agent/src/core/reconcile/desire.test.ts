import { describe, expect, test } from 'vitest'
import { slotId, type ServiceId, type TaskEntry } from '@moot/crdt-state'
import type { Refusal, SlotPlacement } from '../placement/placement.ts'
import { reconcile } from './reconcile.ts'
import {
  after,
  changedTasks,
  containerFor,
  containerIdOf,
  inputOf,
  recordOf,
  other,
  runningTask,
  self,
  serviceOf,
  taskOf,
  type Scene,
} from './testing.ts'

const web = serviceOf('web')
const slot = slotId(web.id as ServiceId, 1)
const mine = runningTask(web)
const theirs = (state: TaskEntry['state']): TaskEntry =>
  taskOf(web, { id: 'theirs' as TaskEntry['id'], attempt: 2, state, seenEpoch: 1 })
const run = (scene: Scene) => reconcile(inputOf(scene))
const scene = (where: SlotPlacement, task = mine): Scene => ({
  services: [web],
  tasks: [task],
  slots: { [slot]: where },
  others: [recordOf(other, {})],
  containers: [containerFor(task, 'running')],
})

describe('a doubly claimed slot', () => {
  const losing = (state: TaskEntry['state']) =>
    run(
      scene({
        kind: 'held',
        holder: { node: other, task: theirs(state) },
        losers: [{ node: self, task: mine }],
      }),
    )

  test('is left by the loser only after it sees the survivor running', () => {
    expect(losing('starting')).toMatchObject({ changes: new Map(), actions: [] })
    const output = losing('running')
    expect(changedTasks(output.changes)).toMatchObject([{ desired: 'shutdown' }])
    expect(output.actions).toMatchObject([{ kind: 'stop', container: mine.containerId }])
  })

  test('is not left for a survivor whose record is from before its agent restarted: it may be gone', () => {
    const task = { ...theirs('running'), seenEpoch: 0 }
    const where = {
      kind: 'held',
      holder: { node: other, task },
      losers: [{ node: self, task: mine }],
    } as const
    expect(run(scene(where)).actions).toEqual([])
  })

  const lost = {
    kind: 'held',
    holder: { node: other, task: theirs('running') },
    losers: [{ node: self, task: mine }],
  } as const

  test('is not left for a survivor that may be gone, nor by one that others may take for the survivor', () => {
    for (const node of [self, other]) {
      expect(run({ ...scene(lost), unsettled: [node] }).actions).toEqual([])
    }
  })

  test('is not left for a survivor whose agent is down: nobody knows what has become of it since', () => {
    expect(run({ ...scene(lost), agentDown: [other] }).actions).toEqual([])
  })

  test('is not left for a survivor that is ill or not ready', () => {
    const told = { sinceMs: 1, why: 'unhealthy container' }
    for (const trouble of [{ unready: told }, { illness: { kind: 'held', ...told } as const }]) {
      const task = { ...theirs('running'), ...trouble }
      expect(run(scene({ ...lost, holder: { node: other, task } })).actions).toEqual([])
    }
  })

  test('is left for a survivor whom some cannot reach for long: one broken link is no reason to run it twice', () => {
    expect(run({ ...scene(lost), suspects: [other] }).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('is left before the first sync by nobody', () => {
    const where = {
      kind: 'held',
      holder: { node: other, task: theirs('running') },
      losers: [{ node: self, task: mine }],
    } as const
    expect(run({ ...scene(where), synced: false }).actions).toEqual([])
  })
})

describe('a service that is not known', () => {
  const unknown = (patch: Partial<Scene>): Scene => ({
    services: [],
    tasks: [mine],
    containers: [containerFor(mine, 'running')],
    ...patch,
  })

  test('was removed: what runs of it ends', () => {
    expect(changedTasks(run(unknown({})).changes)).toMatchObject([{ desired: 'remove' }])
  })

  test('may only be lost here: nothing ends, nor is anything decided of what has ended, before a peer was asked', () => {
    expect(run(unknown({ lost: [mine.service] }))).toMatchObject({ changes: new Map(), actions: [] })
    const ended = { ...mine, state: 'failed' } as const
    expect(run(unknown({ lost: [mine.service], tasks: [ended], containers: [] })).changes).toEqual(new Map())
    const past = { ...ended, desired: 'shutdown' } as const
    expect(run(unknown({ lost: [mine.service], tasks: [past] })).changes).toEqual(new Map())
  })
})

describe('a slot that moves away', () => {
  const because = (filter: string): Refusal => ({ node: self, filter, reason: 'x' })
  const moving = (
    filter: string,
    successor: TaskEntry | undefined,
    to: typeof other | undefined = other,
    task = mine,
  ) =>
    run(
      scene(
        {
          kind: 'moving',
          holder: { node: self, task },
          to,
          successor: successor === undefined ? undefined : { node: other, task: successor },
          losers: [],
          because: because(filter),
          refusals: [],
          assumed: [],
        },
        task,
      ),
    )

  test('is stopped here only when its successor runs', () => {
    expect(moving('availability', undefined).actions).toEqual([])
    expect(moving('availability', theirs('starting')).actions).toEqual([])
    expect(moving('availability', theirs('running')).actions).toMatchObject([{ kind: 'stop' }])
  })

  test('is stopped at once where the node is drained, or its constraint fails, and no other node passes', () => {
    const nowhere = (filter: string) => {
      const where: SlotPlacement = {
        kind: 'moving',
        holder: { node: self, task: mine },
        to: undefined,
        successor: undefined,
        losers: [],
        because: because(filter),
        refusals: [],
        assumed: [],
      }
      return run(scene(where)).actions.map((action) => action.kind)
    }
    expect(nowhere('availability')).toEqual(['stop'])
    expect(nowhere('constraints')).toEqual(['stop'])
    expect(nowhere('resources')).toEqual([])
  })

  test('is claimed by the node that it moves to, as the next attempt', () => {
    const holder = { node: other, task: theirs('running') }
    const output = run({
      services: [web],
      tasks: [],
      slots: {
        [slot]: {
          kind: 'moving',
          holder,
          to: self,
          successor: undefined,
          losers: [],
          because: { node: other, filter: 'availability', reason: 'is drained' },
          refusals: [],
          assumed: [],
        },
      },
    })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'assigned', attempt: 3 }])
  })

  test('a task that crashes on a node that its slot is leaving is not restarted there', () => {
    const task = runningTask(web)
    const where: SlotPlacement = {
      kind: 'moving',
      holder: { node: self, task },
      to: other,
      successor: undefined,
      losers: [],
      because: because('availability'),
      refusals: [],
      assumed: [],
    }
    const output = run({ ...scene(where, task), containers: [containerFor(task, 'exited', { exitCode: 1 })] })
    expect(changedTasks(output.changes)).toMatchObject([{ state: 'failed', desired: 'shutdown' }])
  })
})

describe('what nobody wants', () => {
  test('a slot that was scaled away is stopped with its grace, removed and forgotten', () => {
    const patient = serviceOf('patient', {}, { ContainerSpec: { Image: 'x', StopGracePeriod: 3e9 } })
    const task = runningTask(patient, { slot: 2 })
    let now: Scene = {
      services: [patient],
      tasks: [task],
      slots: {},
      surplus: [{ node: self, task }],
      containers: [containerFor(task, 'running')],
    }
    const first = run(now)
    expect(changedTasks(first.changes)).toMatchObject([{ desired: 'remove' }])
    expect(first.actions).toMatchObject([{ kind: 'stop', graceMs: 3_000 }])
    now = {
      ...after(now, first),
      inFlight: [],
      surplus: [],
      containers: [containerFor(task, 'exited', { exitCode: 137 })],
    }
    const second = run(now)
    expect(changedTasks(second.changes)).toMatchObject([{ state: 'shutdown', exitCode: 137 }])
    expect(second.actions).toMatchObject([{ kind: 'remove', container: task.containerId }])
    now = { ...after(now, second), inFlight: [], containers: [] }
    expect([...run(now).changes]).toEqual([[`task/${task.id}`, undefined]])
  })

  test('a removed service is stopped, and nothing is stopped before the first sync', () => {
    const gone: Scene = {
      services: [],
      tasks: [mine],
      slots: {},
      containers: [containerFor(mine, 'running')],
    }
    expect(run({ ...gone, synced: false })).toMatchObject({ changes: new Map(), actions: [] })
    expect(run(gone).actions).toMatchObject([{ kind: 'drain' }])
  })

  test('a node that is no member any more stops all', () => {
    const input = inputOf({ services: [web], tasks: [mine], containers: [containerFor(mine, 'running')] })
    const output = reconcile({ ...input, view: { ...input.view, nodes: new Map() } })
    expect(output.actions).toMatchObject([{ kind: 'stop' }])
  })

  test('a global service’s task on a drained node is stopped and stays in the history', () => {
    const agent = serviceOf('agent', { Mode: { Global: {} } })
    const task = runningTask(agent, { slot: self })
    const output = run({
      services: [agent],
      tasks: [task],
      slots: {},
      surplus: [{ node: self, task }],
      containers: [containerFor(task, 'running')],
    })
    expect(changedTasks(output.changes)).toMatchObject([{ desired: 'shutdown' }])
  })

  test('a container of ours that no record speaks of is stopped and removed, once synced', () => {
    const lost = runningTask(web, { id: 'lost' as TaskEntry['id'] })
    const stray: Scene = {
      services: [web],
      tasks: [],
      slots: {},
      containers: [containerFor(lost, 'running')],
    }
    expect(run({ ...stray, synced: false }).actions).toEqual([])
    expect(run(stray).actions).toMatchObject([{ kind: 'stop', task: 'lost' }])
    expect(run({ ...stray, containers: [containerFor(lost, 'exited')] }).actions).toMatchObject([
      { kind: 'remove', task: 'lost' },
    ])
  })

  test('a second container of one task is removed, the first one stays', () => {
    const twin = { ...containerFor(mine, 'created'), container: containerIdOf('twin' as TaskEntry['id']) }
    const output = run({ services: [web], tasks: [mine], containers: [twin, containerFor(mine, 'running')] })
    expect(output.actions).toMatchObject([{ kind: 'remove', container: twin.container }])
    expect(output.changes.size).toBe(0)
  })
})

describe('history', () => {
  test('a slot keeps as many tasks as the cluster says, the live one counted', () => {
    const ended = [1, 2, 3, 4, 5, 6].map((attempt) =>
      runningTask(web, { attempt, state: 'failed', desired: 'shutdown' }),
    )
    const live = runningTask(web, { attempt: 7 })
    const tasks = [...ended, live]
    const containers = tasks.map((task) => containerFor(task, task === live ? 'running' : 'exited'))
    const first = run({ services: [web], tasks, containers })
    expect(changedTasks(first.changes)).toMatchObject([
      { attempt: 2, desired: 'remove' },
      { attempt: 1, desired: 'remove' },
    ])
  })
})
