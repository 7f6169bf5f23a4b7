import type { ServiceId, TaskEntry } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Liveness } from '../membership/liveness.ts'
import { Attaching } from './attached-services.ts'
import { BlockTables } from './block-tables.ts'
import { Endpoints, lostAddresses } from './endpoints.ts'
import {
  addressIn,
  claim,
  type Host,
  hostId,
  livenessOf,
  network,
  onNetworks,
  type Scene,
  taskAt,
  viewOf,
} from './scene.testing.ts'
import { subnetsOf } from './subnets.ts'

const subnet = '10.1.0.0/18'
const front = network('front', { subnet })
const web = onNetworks('web', [front])
const at = (block: number, n = 1) => addressIn(subnet, block, n)

/** A task in the n-th host's block. */
const taskOn = (block: number, slot: number, patch: Partial<TaskEntry> = {}) =>
  taskAt(web, slot, [[front, at(block, slot)]], patch)
const host = (n: number, tasks: readonly TaskEntry[], more: Partial<Host> = {}): Host => ({
  name: `host${n}`,
  address: `192.168.0.${n}`,
  blocks: [claim(front, subnet, n)],
  tasks,
  ...more,
})
const scene = (...hosts: readonly [Host, ...Host[]]): Scene => ({ networks: [front], services: [web], hosts })

const subnets = subnetsOf(new Map([[front.id, front]]))

/** One agent: it is asked again and again. */
function agent() {
  const [attaching, tables, endpoints] = [new Attaching(), new BlockTables(), new Endpoints()]
  return (scene: Scene) => {
    const view = viewOf(scene)
    const liveness = livenessOf(scene)
    const services = attaching.update(view)
    const blocks = tables.update(view, liveness, subnets)
    return endpoints.update({ view, liveness, services, tables: blocks })
  }
}
const answering = (scene: Scene): readonly string[] =>
  agent()(scene)
    .get(web.id as ServiceId)
    ?.get(front.id)
    ?.ready.map(({ address }) => address) ?? []

describe('who answers for a service', () => {
  test('are its running tasks, in the order of their slots wherever they are', () => {
    expect(answering(scene(host(1, [taskOn(1, 3), taskOn(1, 1)]), host(2, [taskOn(2, 2)])))).toEqual([
      at(1, 1),
      at(2, 2),
      at(1, 3),
    ])
  })

  test.each<[string, Partial<TaskEntry>]>([
    ['does not run yet', { state: 'starting' }],
    ['has ended', { state: 'failed' }],
    ['is to stop', { desired: 'shutdown' }],
    ['waits for its turn', { desired: 'ready' }],
    ['is not ready', { unready: { sinceMs: 0, why: 'GET /ready: 503' } }],
    ['has no address', { addresses: [] }],
    ['has an address on another network only', { addresses: [{ network: 'back', address: at(1, 1) }] }],
  ])('is no task that %s', (_, patch) => {
    expect(answering(scene(host(1, [taskOn(1, 1, patch), taskOn(1, 2)])))).toEqual([at(1, 2)])
    // Nor where there is nobody else.
    expect(answering(scene(host(1, [taskOn(1, 1, patch)])))).toEqual([])
  })

  test.each<[string, Partial<Host>]>([
    ['is in doubt', { liveness: 'suspect' }],
    ['has no agent', { liveness: 'agent-down' }],
    ['has an agent that has just started and only remembers', { epoch: 2 }],
  ])('is a task whose node %s only where there is nobody else', (_, doubtful) => {
    const sure = host(1, [taskOn(1, 1)])
    const other = host(2, [taskOn(2, 2)], doubtful)
    expect(answering(scene(sure, other))).toEqual([at(1, 1)])
    expect(answering(scene(host(1, []), other))).toEqual([at(2, 2)])
  })

  test.each<Liveness['kind']>(['down', 'unknown'])('is never a task of a node that is %s', (liveness) => {
    expect(answering(scene(host(1, []), host(2, [taskOn(2, 1)], { liveness })))).toEqual([])
  })

  test('is no task at an address of another node’s block: that would be sent what is meant for it', () => {
    expect(answering(scene(host(1, [taskOn(2, 1), taskOn(1, 2)]), host(2, [])))).toEqual([at(1, 2)])
    expect(answering(scene(host(1, [taskOn(9, 1)])))).toEqual([])
  })

  test('of one block that two claim is who has it', () => {
    const [first, second] = [
      host(1, [taskOn(1, 1)]),
      host(2, [taskOn(1, 2)], { blocks: [claim(front, subnet, 1)] }),
    ]
    expect(answering(scene(first, second))).toHaveLength(1)
  })

  test('is nobody of a node that is no member any more', () => {
    const two = viewOf(scene(host(1, [taskOn(1, 1)]), host(2, [taskOn(2, 2)])))
    const nodes = new Map([...two.nodes].slice(0, 1))
    const view = { ...two, nodes }
    const liveness = livenessOf(scene(host(1, []), host(2, [])))
    const tables = new BlockTables().update(view, liveness, subnetsOf(view.networks))
    const found = new Endpoints().update({ view, liveness, services: new Attaching().update(view), tables })
    expect(found.get(web.id as ServiceId)?.get(front.id)?.ready).toHaveLength(1)
  })

  test('a task that is not ready is found by its own name all the same', () => {
    const unready = taskOn(1, 1, { unready: { sinceMs: 0, why: 'x' } })
    const found = agent()(scene(host(1, [unready, taskOn(1, 2)])))
    expect(
      found
        .get(web.id as ServiceId)
        ?.get(front.id)
        ?.up.map(({ task }) => task),
    ).toContain(unready.id)
  })
})

test('a task has lost its address where its block is another’s or nobody’s, or the network has another subnet', () => {
  const tablesOf = (at: string, ...hosts: readonly [Host, ...Host[]]) => {
    const view = viewOf({ networks: [network('front', { subnet: at })], hosts })
    return new BlockTables().update(view, new Map(), subnetsOf(view.networks))
  }
  const [first, second] = [host(1, []), host(2, [])]
  const tables = tablesOf(subnet, first, second)
  expect(lostAddresses(taskOn(1, 1), hostId(first), tables)).toEqual([])
  expect(lostAddresses(taskOn(1, 1), hostId(second), tables)).toEqual([front.id])
  expect(lostAddresses(taskOn(9, 1), hostId(first), tables)).toEqual([front.id])
  expect(lostAddresses(taskOn(1, 1), hostId(first), tablesOf('10.7.0.0/18', first))).toEqual([front.id])
  expect(lostAddresses(taskOn(1, 1, { addresses: [] }), hostId(first), tables)).toEqual([])
  // Nothing is to be had there now, so that replacing the task would be idle.
  expect(lostAddresses(taskOn(1, 1), hostId(first), new Map())).toEqual([])
})

describe('an agent that goes on', () => {
  const life = fc.constantFrom<Liveness['kind']>('alive', 'suspect', 'agent-down', 'down')
  const task = fc.record({
    slot: fc.integer({ min: 1, max: 6 }),
    block: fc.integer({ min: 1, max: 4 }),
    state: fc.constantFrom<TaskEntry['state']>('running', 'running', 'starting', 'failed'),
    isUnready: fc.boolean(),
  })
  /** The same entry for the same task, as in records: whether something changed is told by that. */
  const made = new Map<string, TaskEntry>()
  type Drawn = typeof task extends fc.Arbitrary<infer T> ? T : never
  function taskOf(n: number, k: number, { slot, block, state, isUnready }: Drawn): TaskEntry {
    const key = JSON.stringify([n, k, slot, block, state, isUnready])
    const known = made.get(key)
    if (known !== undefined) return known
    const entry = taskAt(web, slot, [[front, at(block, slot)]], {
      id: `t${n}${k}`.padEnd(25, '0') as TaskEntry['id'],
      state,
      ...(isUnready && { unready: { sinceMs: 0, why: 'x' } }),
    })
    made.set(key, entry)
    return entry
  }
  const hosts = fc
    .array(
      fc.record({
        tasks: fc.array(task, { maxLength: 3 }),
        liveness: life,
        blocks: fc.subarray([1, 2, 3, 4]),
        epoch: fc.integer({ min: 1, max: 2 }),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map((all) =>
      all.map(({ tasks, liveness, blocks, epoch }, n) =>
        host(
          n + 1,
          tasks.map(({ slot, block, state, isUnready }, k) =>
            taskOf(n, k, { slot, block, state, isUnready }),
          ),
          { liveness, epoch, blocks: [claim(front, subnet, ...blocks)] },
        ),
      ),
    )

  test('says what one says that has just started, whichever views it went through', () => {
    fc.assert(
      fc.property(fc.array(hosts, { minLength: 2, maxLength: 5 }), (views) => {
        const old = agent()
        for (const hosts of views) {
          const now = scene(...(hosts as [Host, ...Host[]]))
          expect(old(now)).toEqual(agent()(now))
        }
      }),
      { numRuns: 150 },
    )
  })

  test.each<[string, Partial<Host>]>([
    ['its life', { liveness: 'down' }],
    ['its boot', { epoch: 2 }],
    ['whose its block is', { blocks: [] }],
  ])('hears of %s, though no task of the node changed', (_, change) => {
    const [first, second] = [host(1, [taskOn(1, 1)]), host(2, [taskOn(2, 2)])]
    const ask = agent()
    const count = (scene: Scene) =>
      ask(scene)
        .get(web.id as ServiceId)
        ?.get(front.id)?.ready.length
    expect(count(scene(first, second))).toBe(2)
    expect(count(scene(first, { ...second, ...change }))).toBe(1)
    expect(count(scene(first, second))).toBe(2)
  })

  test('says the same in whatever order nodes and tasks were learnt', () => {
    fc.assert(
      fc.property(hosts, (hosts) => {
        const [first, ...others] = hosts
          .map((each) => ({ ...each, tasks: each.tasks?.toReversed() ?? [] }))
          .toReversed()
        expect(agent()(scene(first!, ...others))).toEqual(agent()(scene(...(hosts as [Host, ...Host[]]))))
      }),
    )
  })

  test('says it with the same value where nothing of it changed', () => {
    const ask = agent()
    const before = ask(scene(host(1, [taskOn(1, 1, { id: 't1' as TaskEntry['id'] })])))
    const after = ask(scene(host(1, [taskOn(1, 1, { id: 't1' as TaskEntry['id'], message: 'started' })])))
    expect(after).toBe(before)
  })
})
