import { describe, expect, test } from 'vitest'
import { isClaim } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { reconcile } from './reconcile.ts'
import { changedTasks, containerFor, inputOf, runningTask, serviceOf, taskOf, type Scene } from './testing.ts'

const { engineDownGraceMs, agentDownGraceMs } = defaults
const web = serviceOf('web')
const task = runningTask(web)
const running: Scene = {
  services: [web],
  tasks: [task],
  containers: [containerFor(task, 'running')],
}
const after = (engineDownForMs: number, scene: Scene = running) =>
  reconcile(inputOf({ ...scene, engineDownForMs }))
const claims = (output: ReturnType<typeof after>): readonly boolean[] =>
  changedTasks(output.changes).map((each) => each !== undefined && isClaim(each))

describe('an engine that is down', () => {
  test('is waited for, as a restart or an upgrade takes', () => {
    const output = after(engineDownGraceMs - 1_000, { ...running, hasEnded: true })
    expect(output.changes.size).toBe(0)
    expect(output.wakeAtMs).toBe(inputOf(running).nowMs + 1_000)
  })

  test('gives up the tasks whose processes have ended with it, so that they run elsewhere', () => {
    expect(claims(after(engineDownGraceMs, { ...running, hasEnded: true }))).toEqual([false])
    expect(changedTasks(after(engineDownGraceMs, { ...running, hasEnded: true }).changes)).toMatchObject([
      { desired: 'shutdown', error: 'its Docker engine is down' },
    ])
  })

  test('keeps those that live on without it for as long as an agent that is down keeps its own', () => {
    expect(after(agentDownGraceMs - 1, running).changes.size).toBe(0)
    expect(claims(after(agentDownGraceMs, running))).toEqual([false])
  })

  test('of whose containers nothing is known, keeps them as if they lived', () => {
    const unseen = { ...running, containers: [], hasEnded: true }
    expect(after(agentDownGraceMs - 1, unseen).changes.size).toBe(0)
  })

  test('gives up at once what it had not started by the end of the grace', () => {
    const preparing = { ...running, tasks: [taskOf(web, { state: 'preparing' })], containers: [] }
    expect(changedTasks(after(engineDownGraceMs, preparing).changes)).toMatchObject([{ desired: 'remove' }])
  })

  test('keeps what can run nowhere else: a global service’s tasks, and those with a volume of this node', () => {
    const log = serviceOf('log', { Mode: { Global: {} } })
    const db = serviceOf(
      'db',
      {},
      { ContainerSpec: { Image: 'db:1', Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }] } },
    )
    for (const service of [log, db]) {
      const tied = runningTask(service)
      const scene = {
        services: [service],
        tasks: [tied],
        containers: [containerFor(tied, 'running')],
        hasEnded: true,
      }
      expect(after(agentDownGraceMs * 2, scene).changes.size).toBe(0)
    }
  })

  test('decides nothing before the first sync', () => {
    expect(after(agentDownGraceMs, { ...running, synced: false }).changes.size).toBe(0)
  })
})
