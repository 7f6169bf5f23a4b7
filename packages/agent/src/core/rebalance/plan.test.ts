import { array, assert, boolean, nat, property, record } from 'fast-check'
import { moveFact, type NodeId, type Resource, type ServiceSpec } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { input, node, nodeId, type NodeOptions, replicas, service, task } from '../placement/fixtures.ts'
import { place } from '../placement/place.ts'
import type { PlacementInput } from '../placement/placement.ts'
import { type Move, planMoves } from './plan.ts'

/** So many slots of a service on each node. */
function spread(
  of: Resource<ServiceSpec>,
  counts: readonly number[],
  options: readonly NodeOptions[] = [],
): PlacementInput {
  let slot = 0
  const nodes = counts.map((count, at) => {
    const tasks = Array.from({ length: count }, () => task(of, (slot += 1)))
    return node(String.fromCharCode(97 + at), { ...options[at], tasks })
  })
  return input([of], nodes)
}

const web = (count: number, spec: Record<string, unknown> = {}, template: Record<string, unknown> = {}) =>
  service('web', { ...replicas(count), ...spec }, template)
const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0)

function movesIn(state: PlacementInput): readonly Move[] {
  return planMoves(state, place(state), [...state.services.values()]).flatMap(({ moves }) => moves)
}

function countsAfter(counts: readonly number[], moves: readonly Move[]): number[] {
  const after = [...counts]
  const at = (id: NodeId) => counts.findIndex((_, index) => nodeId(String.fromCharCode(97 + index)) === id)
  for (const { from, to } of moves) {
    after[at(from)]! -= 1
    after[at(to)]! += 1
  }
  return after
}

const planned = (counts: readonly number[], options: readonly NodeOptions[] = []) =>
  countsAfter(counts, movesIn(spread(web(sum(counts)), counts, options)))

/** The fewest moves to any state in which no move makes it more even, by trying them all. */
function fewest(counts: readonly number[], capacity: readonly number[], factor: readonly number[]): number {
  let level: readonly (readonly number[])[] = [counts]
  const seen = new Set<string>()
  const improves = (state: readonly number[], from: number, to: number): boolean =>
    from !== to &&
    state[to]! < capacity[to]! &&
    state[from]! > 0 &&
    (state[to]! + 1) * factor[to]! < state[from]! * factor[from]!
  for (let moves = 0; ; moves += 1) {
    const next: number[][] = []
    for (const state of level) {
      const pairs = state.flatMap((_, from) => state.map((_each, to) => [from, to] as const))
      if (!pairs.some(([from, to]) => improves(state, from, to))) return moves
      for (const [from, to] of pairs) {
        if (from === to || (state[from] ?? 0) < 1 || state[to]! >= capacity[to]!) continue
        const after = state.map((count, at) => count + (at === to ? 1 : at === from ? -1 : 0))
        if (!seen.has(after.join())) next.push(after)
        seen.add(after.join())
      }
    }
    level = next
  }
}

describe('the fewest moves that even out a service', () => {
  test('are none where it is even, and from who has most to who has least else', () => {
    expect(movesIn(spread(web(5), [2, 2, 1]))).toEqual([])
    expect(movesIn(spread(web(6), [3, 3, 0]))).toHaveLength(2)
    expect(planned([3, 3, 0])).toEqual([2, 2, 2])
  })

  test('take the last slots, and say what each is for', () => {
    expect(movesIn(spread(web(3), [3, 0]))).toEqual([
      { slot: 3, attempt: 1, asked: 1, from: nodeId('a'), to: nodeId('b'), fromCount: 3, toCount: 0 },
    ])
  })

  test('are as few as any that reach it, with full nodes and nodes on probation', () => {
    const nodes = array(record({ count: nat(4), room: nat(3), isOnProbation: boolean() }), {
      minLength: 2,
      maxLength: 4,
    })
    assert(
      property(nodes, (all) => {
        const counts = all.map(({ count }) => count)
        const capacity = all.map(({ count, room }) => count + room)
        const options = all.map(({ isOnProbation }, at) => ({
          maxTasks: capacity[at]!,
          isOnProbation,
        }))
        const moves = movesIn(spread(web(sum(counts)), counts, options))
        const factor = all.map(({ isOnProbation }) => (isOnProbation ? 2 : 1))
        const after = countsAfter(counts, moves)
        expect(fewest(after, capacity, factor)).toBe(0)
        expect(moves.length).toBe(fewest(counts, capacity, factor))
      }),
      { numRuns: 300 },
    )
  })

  test('are the same in whatever order nodes and services are known', () => {
    assert(
      property(array(nat(6), { minLength: 2, maxLength: 6 }), (counts) => {
        const state = spread(web(sum(counts)), counts)
        const turned = { ...state, nodes: new Map([...state.nodes].toReversed()) }
        expect(movesIn(turned)).toEqual(movesIn(state))
      }),
    )
  })
})

describe('nothing moves', () => {
  test('to where it may not run, or from where nothing may be placed now', () => {
    const ssd = web(4, {}, { Placement: { Constraints: ['node.labels.disk==ssd'] } })
    const disk = { labels: { disk: 'ssd' } }
    expect(countsAfter([4, 0, 0], movesIn(spread(ssd, [4, 0, 0], [disk, disk, {}])))).toEqual([2, 2, 0])
    expect(planned([4, 0, 0], [{}, { availability: 'pause' }])).toEqual([2, 0, 2])
    expect(planned([4, 0, 0], [{}, { liveness: 'suspect' }])).toEqual([2, 0, 2])
    expect(planned([4, 0], [{ availability: 'pause' }, {}])).toEqual([4, 0])
  })

  test('to a port that is taken, or past the limit of replicas on a node', () => {
    const port = web(1, {
      EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80, PublishMode: 'host' }] },
    })
    expect(movesIn(spread(port, [1, 0]))).toEqual([])
    const limited = web(6, {}, { Placement: { MaxReplicas: 4 } })
    expect(countsAfter([4, 2, 0], movesIn(spread(limited, [4, 2, 0])))).toEqual([2, 2, 2])
  })

  test('that is tied to a volume, or of a global service, and why is told', () => {
    const db = service('db', replicas(2), {}, { Mounts: [{ Type: 'volume', Source: 'data', Target: '/d' }] })
    const agent = service('agent', { Mode: { Global: {} } })
    const state = spread(db, [2, 0])
    expect(planMoves(state, place(state), [db])[0]).toMatchObject({
      moves: [],
      why: 'its tasks stay with their volumes (data)',
    })
    expect(planMoves(state, place(state), [agent])[0]?.why).toBe('a global service has a task on each node')
  })

  test('that is ill, starting, or on its way already', () => {
    const of = web(3)
    const tasks = [
      task(of, 1, { illness: { kind: 'held', sinceMs: 0, why: 'probe' } }),
      task(of, 2, { state: 'starting' }),
      task(of, 3),
    ]
    const state = input([of], [node('a', { tasks }), node('b')])
    expect(movesIn(state).map(({ slot }) => slot)).toEqual([3])
  })
})

describe('what was asked for', () => {
  test('counts as moved, so that it is not asked for twice', () => {
    const before = web(4)
    const move = { slot: 4, attempt: 1, asked: 1, from: nodeId('a') }
    const asked = { ...before, facts: new Map([moveFact(move)]) }
    const state = spread(asked, [4, 0])
    const [plan] = planMoves(state, place(state), [asked])
    expect(plan?.underWay.map((each) => each.move)).toEqual([move])
    expect(plan?.moves.map(({ slot }) => slot)).toEqual([3])
  })

  test('is asked for anew, with the next number, of a task that no node took', () => {
    const of = web(2)
    const stayed = { kind: 'staying', asked: 1, sinceMs: 0, shares: [2] } as const
    const tasks = [1, 2].map((slot) => task(of, slot, { balance: stayed }))
    expect(movesIn(input([of], [node('a', { tasks }), node('b')]))).toMatchObject([{ slot: 2, asked: 2 }])
  })
})

describe('spread preferences', () => {
  const zones = { Placement: { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] } }
  const [east, west] = [{ labels: { zone: 'east' } }, { labels: { zone: 'west' } }]

  test('come first: zones are evened out, and then the nodes of each', () => {
    const of = web(6, {}, zones)
    const [a = 0, b = 0, ...inWest] = countsAfter(
      [2, 2, 2, 0],
      movesIn(spread(of, [2, 2, 2, 0], [east, east, west, west])),
    )
    expect([a + b, ...inWest]).toEqual([3, 2, 1])
    const moves = movesIn(spread(of, [3, 3, 0], [east, east, west]))
    expect(countsAfter([3, 3, 0], moves).at(-1)).toBe(3)
    expect(moves).toHaveLength(3)
  })

  test('are not made worse for the sake of the nodes', () => {
    expect(movesIn(spread(web(6, {}, zones), [3, 2, 1], [west, east, east]))).toEqual([])
  })
})
