import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ApiBed, apiBed } from '../../packages/agent/src/api/testing/api-bed.ts'
import { type Result, runMoot } from './run-moot.ts'

let bed: ApiBed
beforeEach(async () => {
  bed = await apiBed()
  const Mode = { Replicated: { Replicas: 3 } }
  await bed.call('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'app:1' } },
    Mode,
  })
})
afterEach(async () => bed.stop())

const moot = (...words: readonly string[]): Promise<Result> => runMoot(bed, ...words)

const tasksOn = (node: string) =>
  bed.cluster.tasks().filter((each) => each.node === node && each.task.state === 'running')
const first = 'host-1'
const second = 'host-2'

/** As soon as somebody asks, what was asked of a node has happened. */
function carryOut(act: () => void): void {
  const stop = bed.cluster.subscribe((event) => {
    if (event.kind !== 'spec') return
    stop()
    setImmediate(act)
  })
}

test('moot rebalance shows what moves, and waits until it has', async () => {
  const { self, nodes } = bed.cluster
  for (const { task } of bed.cluster.tasks()) bed.cluster.moveTask(task.id, self)
  const shown = await moot('rebalance', '--dry-run')
  expect(shown).toMatchObject({ code: 0, err: '' })
  expect(shown.out).toMatch(
    /TASK +FROM +TO +WHY\nweb\.3 +host-1 +host-\d +host-1 has 3 of web, host-\d has 0\nweb\.2/,
  )
  const asked = moot('rebalance', 'web', '--timeout', '20s')
  await expect.poll(() => bed.cluster.view().services.values().next().value?.facts.size).toBe(2)
  for (const { task } of tasksOn(self))
    if (task.slot !== 1) bed.cluster.moveTask(task.id, nodes[Number(task.slot) - 1]!)
  const result = await asked
  expect(result).toMatchObject({ code: 0, out: expect.stringMatching(/2 tasks moved\n$/) as string })
  expect((await moot('rebalance')).out).toBe('nothing to move: it is as even as it can be\n')
})

test('moot rebalance fails where a task stays, and says which', async () => {
  for (const { task } of bed.cluster.tasks()) bed.cluster.moveTask(task.id, bed.cluster.self)
  const balance = { kind: 'staying', asked: 1, sinceMs: 1, shares: [3] } as const
  const asked = moot('rebalance', '--json', '--timeout', '20s')
  await expect.poll(() => bed.cluster.view().services.values().next().value?.facts.size).toBe(2)
  for (const { task } of tasksOn(bed.cluster.self)) bed.cluster.changeTask(task.id, { balance })
  const result = await asked
  expect(result.code).toBe(1)
  expect(result.err).toContain('web.3 stays on host-1: no other node took it ("moot explain web.3" says why)')
})

test('moot node drain --wait ends when the last task is gone, and moot node activate undoes it', async () => {
  const { self, nodes } = bed.cluster
  const task = tasksOn(self)[0]!.task
  carryOut(() => bed.cluster.moveTask(task.id, nodes[1]!))
  const result = await moot('node', 'drain', first, '--wait', '--timeout', '20s')
  expect(result).toMatchObject({
    code: 0,
    out: expect.stringMatching(/host-1 has no tasks any more\n$/) as string,
  })
  expect(bed.cluster.view().nodes.values().next().value?.spec.Availability).toBe('drain')
  expect(await moot('node', 'activate', first)).toMatchObject({ code: 0 })
  expect(bed.cluster.view().nodes.values().next().value?.spec.Availability).toBe('active')
})

test('what nobody else has stored yet is warned of, also where the answer is empty', async () => {
  bed.cluster.confirm = false
  const result = await moot('node', 'activate', first)
  expect([result.code, result.err]).toEqual([0, 'warning: stored on this node only\n'])
})

test('moot node drain --wait says what is left when the time runs out, and fails', async () => {
  const result = await moot('node', 'drain', second, '--wait', '--timeout', '400ms')
  expect(result.code).toBe(1)
  expect(result.err).toMatch(/1 tasks still run on host-2:\n +web\.2: /)
})
