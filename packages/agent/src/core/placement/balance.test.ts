import { describe, expect, test } from 'vitest'
import { slotId, type Balance, type ServiceId } from '@moot/crdt-state'
import { execute, input, node, nodeId, replicas, service, task } from './fixtures.ts'
import { place } from './place.ts'
import type { PlacementInput } from './placement.ts'

const zones = { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] }
const web = service('web', replicas(5), { Placement: zones })
const first = slotId(web.id as ServiceId, 1)

/** Slot 1 is to leave `a`, in zone one, for the sake of evenness; 4 and 5 are vacant. */
function leaving(shares: readonly number[]): PlacementInput {
  const balance: Balance = { kind: 'leaving', asked: 1, sinceMs: 0, shares }
  return input(
    [web],
    [
      node('a', { labels: { zone: 'one' }, tasks: [task(web, 1, { balance }), task(web, 2)] }),
      node('b', { labels: { zone: 'two' }, tasks: [task(web, 3)] }),
    ],
  )
}

describe('a slot that moves for the sake of evenness', () => {
  test('goes where its branch of the spread would have less than it had', () => {
    expect(place(leaving([3, 3])).slots.get(first)).toMatchObject({ kind: 'moving', to: nodeId('b') })
  })

  test('stays where no node takes it, whatever others have claimed meanwhile', () => {
    const state = leaving([2, 2])
    const whole = place(state)
    expect(whole.slots.get(first)).toMatchObject({
      kind: 'moving',
      to: undefined,
      refusals: [
        { node: nodeId('a'), filter: 'balance', reason: 'has more tasks of web than others' },
        { node: nodeId('b'), filter: 'balance', reason: 'it would not make web more even' },
      ],
    })
    for (const id of state.nodes.keys()) {
      const after = place(execute(state, whole, id, Infinity))
      expect(after.slots.get(first)).toMatchObject({ kind: 'moving', to: undefined })
    }
  })

  test('and that two have, of whom both are to give it up, goes by the second to a third', () => {
    const balance: Balance = { kind: 'leaving', asked: 1, sinceMs: 0, shares: [3] }
    const of = service('api', replicas(1))
    const held = (name: string) => node(name, { tasks: [task(of, 1, { balance })] })
    const slot = slotId(of.id as ServiceId, 1)
    const both = place(input([of], [held('a'), held('b'), node('c')])).slots.get(slot)
    expect(both).toMatchObject({
      holder: { node: nodeId('a') },
      successor: { node: nodeId('b') },
      losers: [],
    })
    const second = place(input([of], [node('a'), held('b'), node('c')])).slots.get(slot)
    expect(second).toMatchObject({ kind: 'moving', holder: { node: nodeId('b') }, successor: undefined })
  })

  test('is taken over from nobody who is in doubt, and has gone where it was taken over before', () => {
    const balance: Balance = { kind: 'leaving', asked: 1, sinceMs: 0, shares: [3] }
    const of = service('api', replicas(1))
    const slot = slotId(of.id as ServiceId, 1)
    const suspect = node('a', { tasks: [task(of, 1, { balance })], liveness: 'suspect' })
    expect(place(input([of], [suspect, node('b')])).slots.get(slot)).toMatchObject({
      kind: 'held',
      holder: { node: nodeId('a') },
    })
    const taken = node('b', { tasks: [task(of, 1, { attempt: 2 })] })
    expect(place(input([of], [suspect, taken])).slots.get(slot)).toMatchObject({
      kind: 'moving',
      successor: { node: nodeId('b') },
    })
  })

  test('stays where a local volume ties it by now', () => {
    const Mounts = [{ Type: 'volume', Source: 'data', Target: '/data' }]
    const of = service('db', replicas(1), {}, { Mounts })
    const tasks = [task(of, 1, { balance: { kind: 'leaving', asked: 1, sinceMs: 0, shares: [3] } })]
    const state = input([of], [node('a', { tasks }), node('b', { volumes: ['data'] })])
    expect(place(state).slots.get(slotId(of.id as ServiceId, 1))).toMatchObject({ kind: 'held' })
  })

  test('stays where its service is to be spread over something else by now', () => {
    expect(place(leaving([3])).slots.get(first)).toMatchObject({ kind: 'moving', to: undefined })
  })
})
