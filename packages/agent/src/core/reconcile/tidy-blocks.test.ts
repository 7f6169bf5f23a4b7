import { describe, expect, test } from 'vitest'
import { type BlockClaims, type ContainerId, type GuestId, recordKey } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import { addressIn, claim, network } from '../network/scene.testing.ts'
import { reconcile } from './reconcile.ts'
import {
  changedTasks,
  containerFor,
  inputOf,
  other,
  recordOf,
  runningTask,
  type Scene,
  serviceOf,
  taskOf,
} from './testing.ts'

const subnet = '10.5.0.0/18'
const net = network('back', { subnet })
const web = serviceOf('web', {}, { Networks: [{ Target: net.id }] })
const startMs = 1_000_000
const run = (scene: Partial<Scene>) =>
  reconcile(inputOf({ services: [], networks: [net], tasks: [], ...scene }))
const claimsIn = (output: ReturnType<typeof run>) =>
  output.changes.get(recordKey.block(net.id)) as BlockClaims | undefined
const at = (block: number, n: number) => [
  { network: 'back', id: net.id, address: `${addressIn(subnet, block, n)}/18` },
]
const idle = (blocks: Readonly<Record<number, number>>) =>
  new Map([[net.id, new Map(Object.entries(blocks).map(([block, sinceMs]) => [Number(block), sinceMs]))]])
const onBridge = (gateways: readonly string[], ...blocks: readonly number[]) => {
  const tasks = blocks.map((block) => runningTask(web, { slot: block, addresses: at(block, 3) }))
  const seen = gateways.length > 0 ? { gateways } : {}
  return { services: [web], tasks, containers: tasks.map((task) => containerFor(task, 'running', seen)) }
}
const inUse = (block: number, patch = {}) => {
  const task = runningTask(web, { addresses: at(block, 3), ...patch })
  return { services: [web], tasks: [task], containers: [containerFor(task, 'running')] }
}

describe('blocks', () => {
  test('of a network that is gone are given back, and so are those that another node keeps', () => {
    const gone = run({ networks: [], blocks: [claim(net, subnet, 1)] })
    expect(gone.changes).toEqual(new Map([[recordKey.block(net.id), undefined]]))
    const both = Array.from({ length: 8 }, (_, block) => block)
    const others = [recordOf(other, { blocks: [claim(net, subnet, ...both)] })]
    const left = claimsIn(run({ others, blocks: [claim(net, subnet, ...both)] }))
    expect(left?.blocks.length).toBeGreaterThan(0)
    expect(left?.blocks.length).toBeLessThan(both.length)
  })

  test('of a network that is not known (any more) are kept while anybody has an address there', () => {
    const blocks = [claim(net, subnet, 1)]
    for (const scene of [inUse(1), { guestsSeen: undefined }, { lost: [net.id] }])
      expect(run({ ...scene, networks: [], blocks }).changes.has(recordKey.block(net.id))).toBe(false)
  })

  test('of which the disk has lost the claim are claimed again, the bridge’s own first, and nothing is replaced', () => {
    for (const [bridge, ...blocks] of [
      [3, 3],
      [1, 3],
      [4, 3, 4],
      [9, 3, 4],
    ] as const) {
      const claimed = claim(net, subnet, ...new Set([bridge, ...blocks]))
      const output = run({ ...onBridge([addressIn(subnet, bridge, 0)], ...blocks), blocks: [] })
      expect(output.changes).toEqual(new Map([[recordKey.block(net.id), claimed]]))
    }
  })

  test('of which the disk has lost the claim are given up where another has one by now, or nobody knows the bridge’s own', () => {
    const bridge = addressIn(subnet, 3, 0)
    const another = addressIn(subnet, 4, 0)
    const others = [recordOf(other, { blocks: [claim(net, subnet, 3)] })]
    for (const scene of [
      { ...onBridge([bridge], 3), others },
      { ...onBridge([bridge], 4), others },
      onBridge([], 3),
      onBridge([bridge, another], 3),
      // No bridge of ours has such an address.
      onBridge([addressIn(subnet, 3, 2)], 3),
    ]) {
      const output = run({ ...scene, blocks: [] })
      expect(changedTasks(output.changes)).toContainEqual(expect.objectContaining({ desired: 'shutdown' }))
      expect(claimsIn(output)).toBeUndefined()
    }
  })

  test('in which nobody has an address any more are kept for a while, and then given back', () => {
    const scene = { ...inUse(4), blocks: [claim(net, subnet, 1, 4, 5)] }
    const first = run(scene)
    expect(first.changes).toEqual(new Map())
    expect(first.idleBlocks).toEqual(idle({ 5: startMs }))
    expect(first.wakeAtMs).toBe(startMs + defaults.blockIdleMs)
    const wait = { ...scene, idleBlocks: first.idleBlocks }
    const early = run({ ...wait, nowMs: startMs + defaults.blockIdleMs - 1 })
    expect([early.changes, early.idleBlocks]).toEqual([new Map(), first.idleBlocks])
    const due = run({ ...wait, nowMs: startMs + defaults.blockIdleMs })
    expect(claimsIn(due)).toEqual(claim(net, subnet, 1, 4))
    expect(due.idleBlocks).toEqual(new Map())
  })

  test('that are used again meanwhile are not idle any more', () => {
    const again = run({
      ...inUse(5),
      blocks: [claim(net, subnet, 1, 5)],
      idleBlocks: idle({ 5: 1 }),
      nowMs: startMs + defaults.blockIdleMs,
    })
    expect([again.changes, again.idleBlocks]).toEqual([new Map(), new Map()])
  })

  test('with the bridge’s own address are kept, and are then all that a node has', () => {
    const long = { nowMs: startMs + defaults.blockIdleMs, idleBlocks: idle({ 1: 1, 4: 1, 5: 1 }) }
    expect(claimsIn(run({ blocks: [claim(net, subnet, 4, 1, 5)], ...long }))).toEqual(claim(net, subnet, 4))
    expect(run({ blocks: [claim(net, subnet, 4)], ...long }).changes).toEqual(new Map())
  })

  test('are kept where anybody at all has an address there', () => {
    const long = { nowMs: startMs + defaults.blockIdleMs, idleBlocks: idle({ 4: 1 }) }
    const scene = { blocks: [claim(net, subnet, 1, 4)], ...long }
    const address = addressIn(subnet, 4, 7)
    const seen = { container: 'c' as ContainerId, name: 'box', isUp: false, network: net.id, address }
    const id = 'guest' as GuestId
    const guest = { id, network: net.id, address, aliases: [], nameservers: [], createdAtMs: 1 }
    const unknown = taskOf(web, { slot: 9 })
    const ended = inUse(4, { state: 'failed', desired: 'shutdown' })
    const users: Partial<Scene>[] = [
      inUse(4),
      { guestsSeen: [seen] },
      { guests: [guest], wishes: [guest] },
      // Containers that are still up although their tasks are over, or of which no record speaks.
      {
        ...ended,
        containers: ended.tasks.map((task) => containerFor(task, 'running', { addresses: at(4, 3) })),
      },
      { containers: [containerFor(unknown, 'running', { addresses: at(4, 3) })] },
      // Nobody knows.
      { guestsSeen: undefined },
      { synced: false },
    ]
    for (const user of users)
      expect(run({ ...scene, ...user }).changes.has(recordKey.block(net.id))).toBe(false)
    expect(claimsIn(run(scene))).toEqual(claim(net, subnet, 1))
  })

  test('that are claimed by the call itself stay, though others of this node are lost in it', () => {
    const task = taskOf(web, { state: 'preparing' })
    const results = { [task.id]: { action: 'prepare', result: { kind: 'done' } } } as const
    const candidates = Array.from({ length: 16 }, (_, block) => block)
    const lost = candidates.find((block) => {
      const others = [recordOf(other, { blocks: [claim(net, subnet, block)] })]
      const output = run({ others, blocks: [claim(net, subnet, block)] })
      return output.changes.has(recordKey.block(net.id))
    })
    const others = [recordOf(other, { blocks: [claim(net, subnet, lost!)] })]
    const output = run({
      services: [web],
      tasks: [task],
      results,
      others,
      blocks: [claim(net, subnet, lost!)],
    })
    const [block, ...more] = claimsIn(output)?.blocks ?? []
    expect(more).toEqual([])
    expect(block).not.toBe(lost)
    expect(changedTasks(output.changes)).toMatchObject([{ addresses: at(block!, 1) }])
  })
})
