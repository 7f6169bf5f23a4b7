import { describe, expect, test } from 'vitest'
import {
  type BlockClaims,
  type Resource,
  recordKey,
  type ServiceId,
  type ServiceSpec,
  slotId,
  type TaskEntry,
} from '@moot/crdt-state'
import { addressIn, claim, network } from '../network/scene.testing.ts'
import { reconcile } from './reconcile.ts'
import {
  changedTasks,
  containerFor,
  inputOf,
  other,
  recordOf,
  runningTask,
  self,
  serviceOf,
  taskOf,
  type Scene,
} from './testing.ts'

const subnet = '10.5.0.0/18'
const net = network('back', { subnet })
const web = serviceOf('web', {}, { Networks: [{ Target: net.id }] })
const run = (scene: Scene) => reconcile(inputOf(scene))

/** Its image is here, so that its container comes next. */
function making(task: TaskEntry, scene: Partial<Scene> = {}): Scene {
  const results = { [task.id]: { action: 'prepare', result: { kind: 'done' } } } as const
  return { services: [web], networks: [net], tasks: [task], results, ...scene }
}
const preparing = (patch: Partial<TaskEntry> = {}, of: Resource<ServiceSpec> = web) =>
  taskOf(of, { state: 'preparing', ...patch })
const at = (block: number, n: number) => [
  { network: 'back', id: net.id, address: `${addressIn(subnet, block, n)}/18` },
]
const claimsIn = (output: ReturnType<typeof run>) =>
  output.changes.get(recordKey.block(net.id)) as BlockClaims | undefined

describe('a task on a network that reaches over hosts', () => {
  test('has its address in the record, out of a block that is claimed in the same write, before its container is made', () => {
    const output = run(making(preparing()))
    const [block] = claimsIn(output)?.blocks ?? []
    expect(changedTasks(output.changes)).toMatchObject([{ addresses: at(block!, 1) }])
    expect(output.actions).toMatchObject([
      {
        kind: 'create',
        setup: {
          overlays: [
            {
              network: { id: net.id },
              bridge: `moot-${net.id.slice(0, 10)}`,
              subnet,
              gateway: addressIn(subnet, block!, 0),
              address: addressIn(subnet, block!, 1),
            },
          ],
        },
      },
    ])
  })

  test('gets another address than those in use here, and no second block while one has room', () => {
    const first = runningTask(web, { slot: 2, addresses: at(7, 1) })
    const scene = making(preparing(), {
      tasks: [preparing(), first],
      containers: [containerFor(first, 'running')],
      blocks: [claim(net, subnet, 7)],
    })
    const output = run(scene)
    expect(claimsIn(output)).toBeUndefined()
    expect(changedTasks(output.changes)).toMatchObject([{ addresses: at(7, 2) }])
  })

  test('keeps the address that it was given before its container could be made', () => {
    const task = preparing({ addresses: at(7, 9) })
    const output = run(making(task, { blocks: [claim(net, subnet, 7)] }))
    expect(output.actions).toMatchObject([{ setup: { overlays: [{ address: addressIn(subnet, 7, 9) }] } }])
  })

  test('waits and says why while its network has no subnet', () => {
    const bare = network('back')
    const output = run(making(preparing(), { networks: [bare] }))
    expect(output.actions).toEqual([])
    expect(changedTasks(output.changes)).toMatchObject([
      { message: 'waiting for an address', error: 'network back: its subnet is about to be drawn' },
    ])
  })

  test('waits and says why while no block is left', () => {
    const tiny = '10.6.0.0/28'
    const small = network('back', { subnet: tiny })
    const others = [recordOf(other, { blocks: [claim(small, tiny, 0, 1, 2)] })]
    const output = run(making(preparing(), { networks: [small], others }))
    expect(output.actions).toEqual([])
    expect(changedTasks(output.changes)[0]?.error).toMatch(/all 3 blocks of network back .* are taken/)
  })

  test('is on no such network where this host cannot have any', () => {
    const alone = serviceOf('web')
    const { networks: _, ...without } = making(preparing({}, alone), { services: [alone] })
    expect(run(without).actions).toMatchObject([{ kind: 'create', setup: { overlays: [] } }])
  })

  test('is known by its networks’ ids whatever its engine says of it', () => {
    const task = taskOf(web, { state: 'starting', addresses: at(7, 3) })
    const told = [
      { network: 'back', address: `${addressIn(subnet, 7, 3)}/18` },
      { network: 'bridge', address: '172.17.0.2/16' },
    ]
    const containers = [containerFor(task, 'running', { addresses: told })]
    const scene = {
      services: [web],
      networks: [net],
      tasks: [task],
      containers,
      blocks: [claim(net, subnet, 7)],
    }
    expect(changedTasks(run(scene).changes)).toMatchObject([{ addresses: [at(7, 3)[0], told[1]] }])
  })
})

describe('a task whose address is another node’s by now', () => {
  const lost = (slot: number) => runningTask(web, { slot, addresses: at(3, slot) })
  const scene: Scene = {
    services: [
      serviceOf('web', { Mode: { Replicated: { Replicas: 2 } } }, { Networks: [{ Target: net.id }] }),
    ],
    networks: [net],
    tasks: [lost(1), lost(2)],
    containers: [lost(1), lost(2)].map((task) => containerFor(task, 'running')),
    blocks: [claim(net, subnet, 4)],
  }

  test('makes way for one with an address of its own', () => {
    const changed = changedTasks(run(scene).changes)
    expect(changed.filter((task) => task?.desired === 'shutdown')).toHaveLength(2)
    expect(changed.filter((task) => task?.attempt === 2)).toMatchObject([
      { state: 'assigned', desired: 'running' },
      { state: 'assigned', desired: 'running' },
    ])
  })

  const kept = runningTask(web, { addresses: at(9, 1) })
  const theirs = { node: other, task: runningTask(web, { id: 'theirs' as TaskEntry['id'], attempt: 2 }) }

  test.each([
    ['', []],
    [', be their slots claimed twice', [theirs]],
  ])(
    'takes with it those that are on the same bridge, where the bridge’s own address is lost%s',
    (_, losers) => {
      const slots: NonNullable<Scene['slots']> = {
        [slotId(web.id as ServiceId, 1)]: { kind: 'held', holder: { node: self, task: kept }, losers },
      }
      const containers = [containerFor(kept, 'running')]
      const blocks = [0, 1, 2, 3, 4, 5].map((block) => claim(net, subnet, block, 9))
      const keptIn = blocks.map((mine) => {
        const others = [recordOf(other, { blocks: [claim(net, subnet, ...mine.blocks.slice(0, 1))] })]
        const one: Scene = {
          services: [web],
          networks: [net],
          tasks: [kept],
          containers,
          others,
          blocks: [mine],
          slots,
        }
        const isReplaced = changedTasks(run(one).changes).some((task) => task?.desired === 'shutdown')
        return [isReplaced, claimsIn(run(one))?.blocks.length === 1]
      })
      // By hash this node loses some of them and keeps others: it is replaced exactly where the first block is lost.
      for (const [isReplaced, isLost] of keptIn) expect(isReplaced).toBe(isLost)
      expect(new Set(keptIn.map(([isReplaced]) => isReplaced))).toEqual(new Set([true, false]))
    },
  )

  test('is left alone before the first sync, and while its network has no subnet', () => {
    expect(changedTasks(run({ ...scene, synced: false }).changes)).toEqual([])
    expect(changedTasks(run({ ...scene, networks: [network('back')] }).changes)).toEqual([])
  })
})
