import { deepStrictEqual } from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { type NodeId, type ServiceId, type SlotId, type TaskEntry } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { execute, withTasks } from './fixtures.ts'
import {
  Dice,
  executeSome,
  randomCluster,
  randomNode,
  randomService,
  spreadingCluster,
} from './law.random.ts'
import { createPlacer, openSlots, place } from './place.ts'
import type { Placement, PlacementInput, PlacementNode } from './placement.ts'

/** Runs with clusters that a seed makes; a counterexample is the seed and the fewest nodes and services. */
function holds(
  runs: number,
  property: (dice: Dice, start: PlacementInput) => void,
  cluster: typeof randomCluster = randomCluster,
): void {
  const seed = fc.nat({ max: 2 ** 31 - 1 })
  const nodes = fc.integer({ min: 1, max: 7 })
  const services = fc.integer({ min: 1, max: 6 })
  fc.assert(
    fc.property(seed, nodes, services, (seed, nodes, services) => {
      const dice = new Dice(seed)
      property(dice, cluster(dice, nodes, services))
    }),
    { numRuns: runs },
  )
}

/** All that a placement says, in order. */
function told({ slots, surplus, ...rest }: Placement): unknown {
  return { slots: [...slots], surplus, open: openSlots({ slots, surplus, ...rest }) }
}

function expectSame(is: Placement, shouldBe: Placement): void {
  // Vitest's own comparison is slow.
  deepStrictEqual(told(is), told(shouldBe))
}

function refilled<K, V>(dice: Dice, map: ReadonlyMap<K, V>): Map<K, V> {
  return new Map(dice.shuffled([...map]))
}

/** The same node, learnt in another order: entry by entry as deltas came, or from a whole record. */
function relearnt(dice: Dice, node: PlacementNode): PlacementNode {
  const { record, settings } = node
  const Labels = Object.fromEntries(dice.shuffled(Object.entries(settings.spec.Labels)))
  return {
    ...node,
    settings: { ...settings, spec: { ...settings.spec, Labels } },
    record: record && {
      ...record,
      tasks: refilled(dice, record.tasks),
      rejections: refilled(dice, record.rejections),
    },
  }
}

describe('one view', () => {
  test('has one placement, in whichever order its services, nodes, tasks, rejections and labels were learnt', () => {
    let reordered = 0
    holds(120, (dice, start) => {
      const nodes = [...refilled(dice, start.nodes)].map(([id, node]) => [id, relearnt(dice, node)] as const)
      const other = { services: refilled(dice, start.services), nodes: new Map(nodes) }
      for (const [id, { record }] of other.nodes) {
        const ids = [...(record?.tasks.keys() ?? [])]
        if (!isDeepStrictEqual(ids, [...(start.nodes.get(id)?.record?.tasks.keys() ?? [])])) reordered += 1
      }
      expectSame(place(other), place(start))
      // Nor by a placer that held the one when it was given the other.
      const placer = createPlacer()
      placer.update(start)
      expectSame(placer.update(other), place(start))
    })
    expect(reordered).toBeGreaterThan(50)
  })

  test('has one placement, whichever views its agent went through before', () => {
    let differing = 0
    holds(80, (dice, start) => {
      const end = later(dice, start)
      const agents = [createPlacer(), createPlacer()]
      const last = agents.map((placer) => {
        let placement = placer.update(start)
        for (const view of path(dice, start, end)) placement = placer.update(view)
        return placement
      })
      const fresh = place(end)
      for (const placement of last) expectSame(placement, fresh)
      if (!isDeepStrictEqual(told(fresh), told(place(start)))) differing += 1
    })
    expect(differing).toBeGreaterThan(50)
  })
})

/** Another view: of nodes that worked, changed, joined and left, and of services that changed, came and went. */
function later(dice: Dice, start: PlacementInput): PlacementInput {
  const worked = executeSome(dice, start, dice.roll(3))
  const services = new Map(worked.services)
  const nodes = new Map(worked.nodes)
  for (const [id, resource] of worked.services) {
    if (dice.once(5)) services.set(id, { ...randomService(dice, resource.name), id })
    else if (dice.once(8)) services.delete(id)
  }
  const added = randomService(dice, 'added')
  if (dice.once(2)) services.set(added.id as ServiceId, added)
  for (const [id, node] of worked.nodes) {
    const fate = dice.roll(8)
    if (fate === 0) nodes.delete(id)
    if (fate === 1) nodes.set(id, { ...node, liveness: { kind: 'alive' } })
    if (fate === 2) nodes.set(id, { ...node, liveness: { kind: 'down', observers: [] } })
    if (fate === 3) nodes.set(id, ended(dice, node))
  }
  const joined = randomNode(dice, 'joined', [...services.values()])
  if (dice.once(2)) nodes.set(joined.id, joined)
  return { services, nodes }
}

function ended(dice: Dice, node: PlacementNode): PlacementNode {
  if (node.record === undefined) return node
  const tasks = new Map(node.record.tasks)
  for (const [id, task] of tasks) {
    const fate = dice.roll(4)
    if (fate === 0) tasks.delete(id)
    if (fate === 1) tasks.set(id, { ...task, state: 'failed', desired: 'shutdown' })
  }
  return { ...node, record: { ...node.record, seq: node.record.seq + 1, tasks } }
}

/** From view to view in steps of a node or a service, in any order; some steps come together. */
function path(dice: Dice, start: PlacementInput, end: PlacementInput): readonly PlacementInput[] {
  const steps = dice.shuffled([
    ...new Set<ServiceId | NodeId>([
      ...start.services.keys(),
      ...end.services.keys(),
      ...start.nodes.keys(),
      ...end.nodes.keys(),
    ]),
  ])
  const views: PlacementInput[] = []
  let { services, nodes } = start
  for (const step of steps) {
    services = taken(services, end.services, step as ServiceId)
    nodes = taken(nodes, end.nodes, step as NodeId)
    if (!dice.once(3)) views.push({ services, nodes })
  }
  return [...views, { services, nodes }]
}

function taken<K, V>(now: ReadonlyMap<K, V>, end: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  const next = new Map(now)
  const value = end.get(key)
  if (value === undefined) next.delete(key)
  else next.set(key, value)
  return next
}

/** The slots that nobody has claimed yet, and where they go (undefined: nowhere). */
function restOf({ slots }: Placement): Map<SlotId, NodeId | undefined> {
  const rest = new Map<SlotId, NodeId | undefined>()
  for (const [id, where] of slots) {
    if (where.kind === 'vacant') rest.set(id, where.to)
    else if (where.kind === 'pending') rest.set(id, undefined)
    else if (where.kind === 'moving' && where.successor === undefined) rest.set(id, where.to)
  }
  return rest
}

describe('a placement that is carried out claim by claim', () => {
  /** How many claims were made in all. */
  function carriedOut(dice: Dice, start: PlacementInput): number {
    const rest = restOf(place(start))
    // An agent that watches all of it, and one that looks now and then.
    const [always, sometimes] = [createPlacer(), createPlacer()]
    let state = start
    let claims = 0
    for (;;) {
      const placement = place(state)
      expect(restOf(placement)).toEqual(rest)
      expectSame(always.update(state), placement)
      if (dice.once(3)) expectSame(sometimes.update(state), placement)
      const busy = [...new Set([...rest.values()].filter((to) => to !== undefined))].sort()
      if (busy.length === 0) return claims
      const self = dice.pick(busy)
      const before = new Set(state.nodes.get(self)?.record?.tasks.keys())
      state = execute(state, placement, self, 1)
      const made = [...(state.nodes.get(self)?.record?.tasks.values() ?? [])].filter(
        ({ id }) => !before.has(id),
      )
      expect(made).toHaveLength(1)
      const slot = `${made[0]!.service}.${made[0]!.slot}` as SlotId
      // Nobody else was to have it.
      expect(rest.get(slot)).toBe(self)
      rest.delete(slot)
      claims += 1
      // Meanwhile what was claimed goes on its way.
      if (dice.once(3)) state = onTheirWay(dice, state, dice.pick([...state.nodes.keys()]))
    }
  }

  test('by any node next leaves the rest of it as it was, to the end', () => {
    let claims = 0
    holds(80, (dice, start) => {
      claims += carriedOut(dice, start)
    })
    expect(claims).toBeGreaterThan(50)
  })

  test('does so too where every service spreads', () => {
    let claims = 0
    holds(
      30,
      (dice, start) => {
        claims += carriedOut(dice, start)
      },
      spreadingCluster,
    )
    expect(claims).toBeGreaterThan(50)
  })
})

function onTheirWay(dice: Dice, state: PlacementInput, id: NodeId): PlacementInput {
  const node = state.nodes.get(id)
  if (node?.record === undefined) return state
  const young = [...node.record.tasks.values()].filter(
    (task) => task.state === 'assigned' || task.state === 'starting',
  )
  const moved = young.map((task): TaskEntry => ({ ...task, state: dice.pick(['starting', 'running']) }))
  return { ...state, nodes: new Map(state.nodes).set(id, withTasks(node, moved)) }
}
