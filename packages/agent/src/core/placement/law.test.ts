import { isDeepStrictEqual } from 'node:util'
import { check, integer, property } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isClaim, type NodeId, type ServiceId, type SlotId } from '@moot/crdt-state'
import { execute, input, withTasks } from './fixtures.ts'
import {
  Dice,
  executeSome,
  randomCluster,
  randomNode,
  randomService,
  spreadingCluster,
} from './law.random.ts'
import { createPlacer, openSlots, place } from './place.ts'
import type { Placement, PlacementInput, PlacementNode, SlotPlacement } from './placement.ts'

interface Compared {
  readonly is: unknown
  readonly shouldBe: unknown
}

/**
 * The first random cluster, shrunk to the fewest nodes and services, for which the two values differ; undefined where
 * none was found. Its numbers are what `clusterOf` makes it from again.
 */
function counterexample(
  runs: number,
  compare: (dice: Dice, start: PlacementInput) => Compared,
  cluster = randomCluster,
): unknown {
  const compared = (seed: number, nodes: number, services: number): Compared =>
    compare(...clusterOf(seed, nodes, services, cluster))
  const result = check(
    property(
      integer({ min: 0, max: 2 ** 31 }),
      integer({ min: 1, max: 7 }),
      integer({ min: 1, max: 6 }),
      (seed, nodes, services) => {
        const { is, shouldBe } = compared(seed, nodes, services)
        return isDeepStrictEqual(is, shouldBe)
      },
    ),
    { numRuns: runs },
  )
  if (!result.failed) return undefined
  const found = result.counterexample
  return { seedNodesServices: found, error: result.errorInstance, ...(found && compared(...found)) }
}

function clusterOf(
  seed: number,
  nodes: number,
  services: number,
  cluster = randomCluster,
): [Dice, PlacementInput] {
  const dice = new Dice(seed)
  return [dice, cluster(dice, nodes, services)]
}

/** The slots that nobody has claimed yet, and where they go (undefined: nowhere). */
function restOf(placement: Placement): ReadonlyMap<SlotId, NodeId | undefined> {
  const rest = new Map<SlotId, NodeId | undefined>()
  for (const [id, where] of placement.slots) {
    if (where.kind === 'vacant') rest.set(id, where.to)
    else if (where.kind === 'pending') rest.set(id, undefined)
    else if (where.kind === 'moving' && where.successor === undefined) rest.set(id, where.to)
  }
  return rest
}

/** Where the slots that were open in `before` are now claimed, or still go. */
function outcomeOf(before: Placement, after: Placement): ReadonlyMap<SlotId, NodeId | undefined> {
  const rest = restOf(after)
  const outcome = new Map<SlotId, NodeId | undefined>()
  for (const id of restOf(before).keys()) {
    outcome.set(id, rest.has(id) ? rest.get(id) : claimantOf(after.slots.get(id)))
  }
  // Nothing else may have become open.
  for (const [id, to] of rest) if (!outcome.has(id)) outcome.set(id, to)
  return outcome
}

function claimantOf(where: SlotPlacement | undefined): NodeId | undefined {
  if (where?.kind === 'held') return where.holder.node
  return where?.kind === 'moving' ? where.successor?.node : undefined
}

describe('the law: a half-executed placement leads everyone to the same rest', () => {
  test('after any nodes have executed any prefix of what is theirs', () => {
    expect(counterexample(2000, afterSomeWork)).toBeUndefined()
  })

  test('after nodes have acted on views that mix older and newer records of the others', () => {
    expect(counterexample(1500, afterStaleWork)).toBeUndefined()
  })

  test('also where every service spreads, so that each slot’s score looks at the others', () => {
    expect(counterexample(500, afterSomeWork, spreadingCluster)).toBeUndefined()
    expect(counterexample(500, afterStaleWork, spreadingCluster)).toBeUndefined()
  })
})

function afterSomeWork(dice: Dice, start: PlacementInput): Compared {
  const whole = place(start)
  return { is: outcomeOf(whole, place(executeSome(dice, start, 1))), shouldBe: restOf(whole) }
}

function afterStaleWork(dice: Dice, start: PlacementInput): Compared {
  const whole = place(start)
  const versions = new Map<NodeId, PlacementNode[]>(
    [...start.nodes].map(([id, node]) => [id, [node]] as const),
  )
  for (let step = 0; step < 3 * start.nodes.size; step += 1) {
    const self = dice.pick([...versions.keys()])
    const view = staleView(dice, start, versions, self)
    const acted = execute(view, place(view), self, 1 + dice.roll(3)).nodes.get(self)!
    if (acted !== versions.get(self)!.at(-1)) versions.get(self)!.push(acted)
  }
  const now = new Map([...versions].map(([id, all]) => [id, all.at(-1)!] as const))
  return { is: outcomeOf(whole, place({ ...start, nodes: now })), shouldBe: restOf(whole) }
}

/** One's own record is always known to the last. */
function staleView(
  dice: Dice,
  start: PlacementInput,
  versions: ReadonlyMap<NodeId, readonly PlacementNode[]>,
  self: NodeId,
): PlacementInput {
  const nodes = [...versions].map(([id, all]) => [id, id === self ? all.at(-1)! : dice.pick(all)] as const)
  return { ...start, nodes: new Map(nodes) }
}

describe('every placement', () => {
  test('is the same in whichever order the maps were filled', () => {
    const found = counterexample(500, (dice, start) => {
      const shuffled = input(
        dice.shuffled([...start.services.values()]),
        dice.shuffled([...start.nodes.values()]),
      )
      return { is: told(place(shuffled)), shouldBe: told(place(start)) }
    })
    expect(found).toBeUndefined()
  })

  test('never gives a node more than it has, beside what it runs already', () => {
    const found = counterexample(1000, (_, start) => {
      const placement = place(start)
      const over = [...start.nodes.values()].flatMap((node) => overbooked(start, placement, node))
      return { is: over, shouldBe: [] }
    })
    expect(found).toBeUndefined()
  })

  test('explains a slot that waits with one reason of each member', () => {
    const found = counterexample(500, (_, start) => {
      const members = [...start.nodes.keys()].sort()
      const waiting = [...place(start).slots].flatMap(([id, where]) =>
        where.kind === 'pending' || (where.kind === 'moving' && where.to === undefined)
          ? [{ refusals: where.refusals, asked: isGlobalSlot(id) ? [id.slice(26)] : members }]
          : [],
      )
      const told = waiting.map(({ refusals }) =>
        refusals.flatMap(({ node, reason }) => (reason ? [node] : [])),
      )
      return { is: told, shouldBe: waiting.map(({ asked }) => asked) }
    })
    expect(found).toBeUndefined()
  })

  test('gives new tasks to living, active nodes only', () => {
    const found = counterexample(500, (_, start) => {
      const given = [...restOf(place(start)).values()].filter((to) => to !== undefined)
      const unfit = given.filter((to) => {
        const node = start.nodes.get(to)
        return node?.liveness.kind !== 'alive' || node.settings.spec.Availability !== 'active'
      })
      return { is: unfit, shouldBe: [] }
    })
    expect(found).toBeUndefined()
  })
})

/** Two ids and a dot. */
function isGlobalSlot(id: SlotId): boolean {
  return id.length === 51
}

/** All that a placement says, in order. */
function told(placement: Placement): unknown {
  const { slots, surplus } = placement
  return {
    slots: [...slots],
    size: slots.size,
    surplus,
    found: [...slots.keys()].map((id) => slots.get(id)),
    open: openSlots(placement),
  }
}

/** Counted here in another way than placement counts: task by task, what is claimed and what is to be claimed. */
function overbooked(start: PlacementInput, placement: Placement, node: PlacementNode): readonly string[] {
  const given = [...restOf(placement)].filter(([, to]) => to === node.id).map(([id]) => id.slice(0, 25))
  const running = [...(node.record?.tasks.values() ?? [])].filter(
    (task) => isClaim(task) && task.done !== true,
  )
  const all = [...running.map((task) => task.service as string), ...given]
  const needs = (id: string, of: 'NanoCPUs' | 'MemoryBytes'): number =>
    start.services.get(id as ServiceId)?.spec.TaskTemplate.Resources?.Reservations?.[of] ?? 0
  const capacity = node.record?.status?.capacity
  const isOver = (of: 'NanoCPUs' | 'MemoryBytes', most: number): boolean =>
    given.some((id) => needs(id, of) > 0) && all.reduce((sum, id) => sum + needs(id, of), 0) > most
  return [
    ...(isOver('NanoCPUs', capacity?.nanoCpus ?? 0) ? [`${node.id}: CPU`] : []),
    ...(isOver('MemoryBytes', capacity?.memoryBytes ?? 0) ? [`${node.id}: memory`] : []),
    ...(given.length > 0 && all.length > (capacity?.maxTasks ?? 0) ? [`${node.id}: tasks`] : []),
  ]
}

describe('an incremental placement', () => {
  test('equals the full one after any sequence of changes', () => {
    const found = counterexample(700, (dice, start) => {
      const placer = createPlacer()
      const states = [start]
      for (let step = 0; step < 8; step += 1) states.push(changed(dice, states[step]!, step))
      return {
        is: states.map((state) => told(placer.update(state))),
        shouldBe: states.map((state) => told(place(state))),
      }
    })
    expect(found).toBeUndefined()
  })

  test('leaves the placements that it gave before as they were', () => {
    const found = counterexample(200, (dice, start) => {
      const placer = createPlacer()
      const first = placer.update(start)
      const before = told(first)
      let state = start
      for (let step = 0; step < 4; step += 1) {
        state = changed(dice, state, step)
        placer.update(state)
      }
      return { is: told(first), shouldBe: before }
    })
    expect(found).toBeUndefined()
  })
})

/** Anything that happens to a cluster, the rest keeping its identity. */
function changed(dice: Dice, state: PlacementInput, step: number): PlacementInput {
  const ids = [...state.nodes.keys()]
  const services = new Map(state.services)
  const nodes = new Map(state.nodes)
  const node = ids.length > 0 ? nodes.get(dice.pick(ids)) : undefined
  switch (dice.roll(12)) {
    case 0:
    case 8:
    case 9:
    case 10:
      return ids.length > 0 ? execute(state, place(state), dice.pick(ids), 1 + dice.roll(4)) : state
    case 11:
      if (node !== undefined) nodes.set(node.id, advancing(dice, node))
      return { services, nodes }
    case 1: {
      const made = randomService(dice, `s${dice.roll(7)}`)
      return { services: services.set(made.id as ServiceId, made), nodes }
    }
    case 2:
      services.delete(dice.pick([...services.keys(), 'none' as ServiceId]))
      return { services, nodes }
    case 3: {
      const joined = randomNode(dice, `j${step}`, [...services.values()])
      return { services, nodes: nodes.set(joined.id, joined) }
    }
    case 4:
      if (node !== undefined) nodes.delete(node.id)
      return { services, nodes }
    case 5:
      if (node !== undefined)
        nodes.set(node.id, {
          ...node,
          liveness: dice.pick([
            { kind: 'alive' },
            { kind: 'down', observers: [] },
            { kind: 'suspect', observers: [] },
            { kind: 'suspect', observers: [], isHeard: true },
          ]),
        })
      return { services, nodes }
    case 6:
      if (node !== undefined) {
        const spec = { ...node.settings.spec, Availability: dice.pick(['active', 'pause', 'drain'] as const) }
        nodes.set(node.id, { ...node, settings: { ...node.settings, spec } })
      }
      return { services, nodes }
    default:
      if (node?.record !== undefined) nodes.set(node.id, forgetting(dice, node))
      return { services, nodes }
  }
}

/** Tasks go on their way, which is nothing to placement but what `assumed` lists; a port may get known. */
function advancing(dice: Dice, node: PlacementNode): PlacementNode {
  const tasks = [...(node.record?.tasks.values() ?? [])].map((task) => ({
    ...task,
    state: dice.pick(['starting', 'running'] as const),
    ...(dice.once(6) ? { ports: [{ protocol: 'tcp', target: 80, published: 8080 }] } : {}),
  }))
  return node.record === undefined ? node : withTasks(node, tasks)
}

/** Some of its tasks end, some are forgotten. */
function forgetting(dice: Dice, node: PlacementNode): PlacementNode {
  const tasks = new Map(node.record!.tasks)
  for (const [id, task] of tasks) {
    const fate = dice.roll(3)
    if (fate === 0) tasks.delete(id)
    if (fate === 1) tasks.set(id, { ...task, state: 'failed', desired: 'shutdown' })
  }
  return { ...withTasks(node, []), record: { ...node.record!, tasks } }
}

test('the law’s clusters are worth it: vacancies, moves, waits, duplicates and lists of assumptions all occur', () => {
  const seen = {
    vacant: 0,
    moving: 0,
    pending: 0,
    held: 0,
    losers: 0,
    assumed: 0,
    successors: 0,
    surplus: 0,
    evened: 0,
  }
  for (let seed = 0; seed < 300; seed += 1) {
    const [dice, start] = clusterOf(seed, 5, 5)
    const placement = place(executeSome(dice, start, 1))
    seen.surplus += placement.surplus.length
    for (const where of placement.slots.values()) {
      seen[where.kind] += 1
      if (where.kind === 'held' && where.losers.length > 0) seen.losers += 1
      if (where.kind === 'moving' && where.successor !== undefined) seen.successors += 1
      if (where.kind === 'moving' && where.because.filter === 'balance') seen.evened += 1
      if (where.kind === 'vacant' && where.assumed.length > 0) seen.assumed += 1
    }
  }
  expect(Object.entries(seen).filter(([, count]) => count < 20)).toEqual([])
})
