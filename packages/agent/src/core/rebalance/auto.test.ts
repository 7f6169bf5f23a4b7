import { describe, expect, test } from 'vitest'
import { moveFact, type NodeId, type Resource, type ServiceId, type ServiceSpec } from '@moot/crdt-state'
import { defaults } from '../../defaults.ts'
import type { Liveness, LivenessMap } from '../membership/liveness.ts'
import { input, node, nodeId, type NodeOptions, replicas, service, task } from '../placement/fixtures.ts'
import { place } from '../placement/place.ts'
import { type AutoInput, type AutoOutput, autoMoves, type QuietTimes } from './auto.ts'

const quietMs = defaults.rebalanceQuietMs
const auto = (facts: ReadonlyMap<string, unknown> = new Map()): Resource<ServiceSpec> => ({
  ...service('web', { ...replicas(3), Labels: { 'moot.rebalance': 'auto' } }),
  facts,
})
const names = ['a', 'b', 'c'] as const

interface Sight {
  readonly of?: Resource<ServiceSpec>
  readonly nowMs: number
  readonly liveness?: Liveness
  readonly options?: NodeOptions
}

/** All three tasks are on `a`; `b` is as the test says. Seen by `self`. */
function sightOf(self: NodeId, { of = auto(), nowMs, liveness, options }: Sight): AutoInput {
  const tasks = [1, 2, 3].map((slot) => ({ ...task(of, slot), id: `t${slot}` as never }))
  const nodes = names.map((name) => node(name, name === 'a' ? { tasks } : name === 'b' ? { ...options } : {}))
  const state = input([of], nodes)
  const all: LivenessMap = new Map(
    nodes.map(({ id }) => [id, id === nodeId('b') && liveness ? liveness : { kind: 'alive' as const }]),
  )
  const known = new Map([...state.nodes].map(([id, each]) => [id, { ...each, liveness: all.get(id)! }]))
  return {
    view: {
      self,
      services: state.services,
      networks: new Map(),
      secrets: new Map(),
      configs: new Map(),
      nodes: new Map([...known].map(([id, { settings }]) => [id, settings])),
      cluster: undefined,
      records: new Map([...known].map(([id, { record }]) => [id, record!])),
    },
    liveness: all,
    unsettled: new Set(),
    placement: place({ ...state, nodes: known }),
    nowMs,
    settings: defaults,
  }
}

/** By whichever of the nodes is the steward. */
function play(...sights: readonly Sight[]): readonly (readonly string[])[] {
  const quiet = new Map<NodeId, QuietTimes>()
  return sights.map((sight) =>
    names.flatMap((name) => {
      const self = nodeId(name)
      const output: AutoOutput = autoMoves(sightOf(self, sight), quiet.get(self) ?? new Map())
      quiet.set(self, output.quiet)
      return [...(output.ask.get((sight.of ?? auto()).id as ServiceId)?.keys() ?? [])]
    }),
  )
}

describe('a service that is labelled auto and is uneven', () => {
  test('is evened out after a quiet time, by one of all', () => {
    const asked = play({ nowMs: 0 }, { nowMs: quietMs - 1 }, { nowMs: quietMs })
    expect(asked).toEqual([[], [], [`move/3/1/${nodeId('a')}/1`, `move/2/1/${nodeId('a')}/1`]])
  })

  test('is left alone by whoever did not ask for that', () => {
    const off = service('web', { ...replicas(3), Labels: { 'moot.rebalance': 'off' } })
    expect(play({ of: off, nowMs: 0 }, { of: off, nowMs: quietMs })).toEqual([[], []])
  })

  test('moves nothing for a node that comes and goes, or is on probation: each time the wait begins anew', () => {
    const suspect = { kind: 'suspect', observers: [] } as const
    const probation = { kind: 'alive', isOnProbation: true } as const
    for (const liveness of [suspect, probation, { kind: 'down', observers: [] } as const]) {
      const flaps = Array.from({ length: 20 }, (_, index) => ({
        nowMs: (index * quietMs) / 2,
        ...(index % 2 === 1 && { liveness }),
      }))
      expect(play(...flaps).flat()).toEqual([])
    }
  })

  test('waits anew after its spec or a node has changed', () => {
    const newer = { ...auto(), versionIndex: 2 }
    expect(play({ nowMs: 0 }, { of: newer, nowMs: quietMs }).flat()).toEqual([])
    const options = { engineError: 'it is being upgraded' }
    expect(play({ nowMs: 0 }, { nowMs: quietMs, options }, { nowMs: quietMs + 1 }).flat()).toEqual([])
  })

  test('asks for nothing while what was asked for is under way', () => {
    const move = moveFact({ slot: 3, attempt: 1, asked: 1, from: nodeId('a') })
    const of = auto(new Map([move]))
    expect(play({ of, nowMs: 0 }, { of, nowMs: quietMs }).flat()).toEqual([])
  })
})
