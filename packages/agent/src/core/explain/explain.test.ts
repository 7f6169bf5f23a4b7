import { slotId, type ServiceId } from '@moot/crdt-state'
import { describe, expect, test } from 'vitest'
import { execute, input, node, nodeId, service, task } from '../placement/fixtures.ts'
import { place } from '../placement/place.ts'
import type { Refusal } from '../placement/placement.ts'
import { explainSlot, summarizeRefusals, taskError } from './explain.ts'

const names = (id: string): string => id.replace(/z+$/, '')
const refused = (...filters: readonly string[]): readonly Refusal[] =>
  filters.map((filter, index) => ({ node: nodeId(`n${index}`), filter, reason: 'because' }))

describe('one line for docker service ps', () => {
  test.each([
    [[], 'no suitable node'],
    [['resources'], 'no suitable node (insufficient resources on 1 node)'],
    [
      ['resources', 'constraints', 'generic-resources'],
      'no suitable node (insufficient resources on 2 nodes; scheduling constraints not satisfied on 1 node)',
    ],
    [['availability', 'liveness', 'engine'], 'no suitable node (3 nodes not available for new tasks)'],
    [['max-replicas', 'max-replicas'], 'no suitable node (max replicas per node limit exceed)'],
    [
      ['host-ports', 'platform', 'platform'],
      'no suitable node (unsupported platform on 2 nodes; host-mode port already in use on 1 node)',
    ],
    [['from-the-future'], 'no suitable node (from-the-future on 1 node)'],
  ])('%j: %s', (filters, line) => {
    expect(summarizeRefusals(refused(...filters))).toBe(line)
  })
})

describe('a slot', () => {
  const web = service('web', {}, { Placement: { Constraints: ['node.labels.zone == eu'] } })
  const slot = slotId(web.id as ServiceId, 1)

  test('that waits has Docker’s line, and a line of each node', () => {
    const placement = place(input([web], [node('a'), node('b', { labels: { zone: 'us' } })]))
    expect(explainSlot(placement, slot, names)).toEqual([
      'no suitable node (scheduling constraints not satisfied on 2 nodes)',
      'a: node.labels.zone is not set, must be eu',
      'b: node.labels.zone is us, not eu',
    ])
    expect(taskError(placement.slots.get(slot), names)).toBe(
      'no suitable node (scheduling constraints not satisfied on 2 nodes): a: node.labels.zone is not set, must be eu; b: node.labels.zone is us, not eu',
    )
  })

  test('that is held, to be claimed, moving or unknown says so', () => {
    const eu = { labels: { zone: 'eu' } }
    const state = input([web], [node('a', { tasks: [task(web, 1)] }), node('b', eu)])
    const moving = place(state)
    expect(explainSlot(moving, slot, names)).toEqual([
      'a must give it up: node.labels.zone is not set, must be eu; b is to claim it',
    ])
    const moved = place(execute(state, moving, nodeId('b'), 1))
    expect(explainSlot(moved, slot, names)).toEqual([
      'a must give it up: node.labels.zone is not set, must be eu; b has claimed it',
    ])
    expect(explainSlot(place(input([web], [node('b', eu)])), slot, names)).toEqual([
      'to be claimed by b (attempt 1)',
    ])
    const twice = [
      node('b', { ...eu, tasks: [task(web, 1)] }),
      node('c', { ...eu, tasks: [task(web, 1, { attempt: 2 })] }),
    ]
    expect(explainSlot(place(input([web], twice)), slot, names)).toEqual([
      'held by b (attempt 1)',
      'c holds it too, and stops once it sees the other one running',
    ])
    expect(explainSlot(place(input([], [])), slot, names)).toEqual(['nobody asks for this slot (any more)'])
    expect(taskError(moving.slots.get(slot), names)).toBe('')
  })

  test('that must move and cannot says why not', () => {
    const placement = place(input([web], [node('a', { tasks: [task(web, 1)] })]))
    expect(taskError(placement.slots.get(slot), names)).toBe(
      'no suitable node (scheduling constraints not satisfied on 1 node): a: node.labels.zone is not set, must be eu',
    )
    expect(explainSlot(placement, slot, names)[0]).toContain('a must give it up')
  })
})
