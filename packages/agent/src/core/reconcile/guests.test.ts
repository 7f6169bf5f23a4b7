import { describe, expect, test } from 'vitest'
import {
  type BlockClaims,
  type ContainerId,
  type GuestEntry,
  type GuestId,
  recordKey,
  type TaskEntry,
} from '@moot/crdt-state'
import { addressIn, claim, network } from '../network/scene.testing.ts'
import type { GuestObservation } from './actions.ts'
import type { GuestWish } from './guests.ts'
import { reconcile } from './reconcile.ts'
import {
  changedTasks,
  inputOf,
  other,
  recordOf,
  runningTask,
  type Scene,
  serviceOf,
  taskOf,
} from './testing.ts'

const subnet = '10.5.0.0/18'
const net = network('back', { subnet, Attachable: true })
const id = 'guest1' as GuestId
const container = 'c1'.padEnd(64, '0') as ContainerId
const at = (block: number, n: number): string => addressIn(subnet, block, n)
const wish = (patch: Partial<GuestWish> = {}): GuestWish => ({
  id,
  network: net.id,
  aliases: ['db'],
  nameservers: [],
  ...patch,
})
const guestAt = (address: string, patch: Partial<GuestEntry> = {}): GuestEntry => ({
  ...wish(),
  address,
  createdAtMs: 1,
  ...patch,
})
const seenAt = (address: string, patch: Partial<GuestObservation> = {}): GuestObservation => ({
  container,
  name: 'toolbox',
  isUp: true,
  network: net.id,
  address,
  ...patch,
})
const run = (scene: Partial<Scene>) =>
  reconcile(inputOf({ services: [], networks: [net], tasks: [], ...scene }))
type Output = ReturnType<typeof run>
const guestIn = ({ changes }: Output, of = id) => changes.get(recordKey.guest(of)) as GuestEntry | undefined
const blocksIn = ({ changes }: Output) => changes.get(recordKey.block(net.id)) as BlockClaims | undefined

describe('a container that a person puts on a network', () => {
  test('has an address out of a block that is claimed in the same write', () => {
    const output = run({ wishes: [wish()] })
    const [block] = blocksIn(output)?.blocks ?? []
    expect(guestIn(output)).toEqual({ ...wish(), address: at(block!, 1), createdAtMs: 1_000_000 })
    expect(output.guests).toEqual(new Map())
  })

  test('keeps its name and address while its network may only be lost here, and gives them back where it was removed', () => {
    const there = { networks: [], guests: [guestAt(at(7, 1))], guestsSeen: [seenAt(at(7, 1))] }
    expect(run({ ...there, lost: [net.id] }).changes).toEqual(new Map())
    expect(run({ ...there, synced: false }).changes).toEqual(new Map())
    expect(run(there).changes).toEqual(new Map([[recordKey.guest(id), undefined]]))
  })

  test('never gets the address of a task, of another such container, or of what was put there past the agent', () => {
    const web = serviceOf('web', {}, { Networks: [{ Target: net.id }] })
    const addresses = [{ network: 'back', id: net.id, address: `${at(7, 1)}/18` }]
    const output = run({
      services: [web],
      tasks: [runningTask(web, { addresses })],
      blocks: [claim(net, subnet, 7)],
      guests: [guestAt(at(7, 2), { id: 'guest2' as GuestId })],
      guestsSeen: [seenAt(at(7, 2)), seenAt(at(7, 3), { container: 'c3' as ContainerId })],
      wishes: [wish(), wish({ id: 'guest3' as GuestId })],
    })
    expect(guestIn(output)?.address).toBe(at(7, 4))
    expect(guestIn(output, 'guest3' as GuestId)?.address).toBe(at(7, 5))
  })

  test('gets the address that was asked for, if it is this node’s to give', () => {
    const blocks = [claim(net, subnet, 7)]
    expect(guestIn(run({ blocks, wishes: [wish({ address: at(7, 9) })] }))?.address).toBe(at(7, 9))
    for (const address of [at(8, 1), at(7, 0), '10.5.0.7', '192.168.0.1']) {
      const output = run({ blocks, wishes: [wish({ address })] })
      const refusal = { kind: 'not-ours', address, blocks: [`${at(7, 0)}/28`] }
      expect(output.guests.get(id)).toEqual({ kind: 'refused', refusal })
      expect(output.changes).toEqual(new Map())
    }
    const taken = run({ blocks, wishes: [wish({ address: at(7, 9) })], guestsSeen: [seenAt(at(7, 9))] })
    expect(taken.guests.get(id)).toEqual({ kind: 'refused', refusal: { kind: 'taken', address: at(7, 9) } })
  })

  test('claims nothing for an address that was asked for of a node without a block', () => {
    const output = run({ wishes: [wish({ address: at(7, 9) })] })
    expect(output.guests.get(id)).toMatchObject({ refusal: { kind: 'not-ours', blocks: [] } })
    expect(output.changes).toEqual(new Map())
  })

  test('waits and is told why while there is no subnet, no free block, or no knowledge of what is there', () => {
    const bare = network('back', { Attachable: true })
    expect(run({ networks: [bare], wishes: [wish()] }).guests.get(id)).toEqual({
      kind: 'waits',
      why: 'network back: its subnet is about to be drawn',
    })
    const tiny = '10.6.0.0/28'
    const small = network('back', { subnet: tiny })
    const others = [recordOf(other, { blocks: [claim(small, tiny, 0, 1, 2)] })]
    expect(run({ networks: [small], others, wishes: [wish()] }).guests.get(id)).toMatchObject({
      why: expect.stringMatching(/all 3 blocks of network back .* are taken/),
    })
    for (const scene of [{ synced: false }, { guestsSeen: undefined }]) {
      const output = run({ ...scene, wishes: [wish()] })
      expect(output.guests.get(id)?.kind).toBe('waits')
      expect(output.changes).toEqual(new Map())
    }
  })

  test('is one too many where this node has as many as it may', () => {
    const guests = Array.from({ length: 1_000 }, (_, n) => guestAt(at(7, 1), { id: `guest-${n}` as GuestId }))
    const seen = [seenAt(at(7, 1))]
    const refused = run({ guests, blocks: [claim(net, subnet, 7)], guestsSeen: seen, wishes: [wish()] })
    expect(refused.guests.get(id)).toEqual({ kind: 'refused', refusal: { kind: 'too-many', max: 1_000 } })
  })
})

describe('the record of such a container', () => {
  const blocks = [claim(net, subnet, 7)]
  const guests = [guestAt(at(7, 4))]

  test('stays as it is while it is being made, though nobody has seen it', () => {
    expect(run({ blocks, guests, wishes: [wish()] }).changes).toEqual(new Map())
  })

  test('says which container it is, its name, and whether it is up', () => {
    const up = run({ blocks, guests, guestsSeen: [seenAt(at(7, 4))] })
    expect(guestIn(up)?.container).toEqual({ id: container, name: 'toolbox', isUp: true })
    const known = [guestAt(at(7, 4), { container: { id: container, name: 'toolbox', isUp: true } })]
    const stopped = seenAt(at(7, 4), { isUp: false, name: 'renamed' })
    expect(guestIn(run({ blocks, guests: known, guestsSeen: [stopped] }))?.container).toEqual({
      id: container,
      name: 'renamed',
      isUp: false,
    })
    expect(run({ blocks, guests: known, guestsSeen: [seenAt(at(7, 4))] }).changes).toEqual(new Map())
  })

  test('ends with the container, and when another has its address; not while nobody knows what is there', () => {
    const known = [guestAt(at(7, 4), { container: { id: container, name: 'toolbox', isUp: true } })]
    const gone = new Map([[recordKey.guest(id), undefined]])
    expect(run({ blocks, guests: known }).changes).toEqual(gone)
    const another = seenAt(at(7, 4), { container: 'c2' as ContainerId })
    expect(run({ blocks, guests: known, guestsSeen: [another] }).changes).toEqual(gone)
    expect(run({ blocks, guests: known, guestsSeen: undefined }).changes).toEqual(new Map())
  })

  test('ends with the bridge that it is on, where the bridge’s own address is another node’s', () => {
    const guests = [guestAt(at(9, 4), { container: { id: container, name: 'toolbox', isUp: true } })]
    const ended = [0, 1, 2, 3, 4, 5].map((first) => {
      const others = [recordOf(other, { blocks: [claim(net, subnet, first)] })]
      const blocks = [claim(net, subnet, first, 9)]
      const output = run({ blocks, others, guests, guestsSeen: [seenAt(at(9, 4))] })
      return [output.guests.get(id)?.kind === 'lost', blocksIn(output)?.blocks.length === 1]
    })
    for (const [isEnded, isLost] of ended) expect(isEnded).toBe(isLost)
    expect(new Set(ended.map(([isEnded]) => isEnded))).toEqual(new Set([true, false]))
  })

  test('ends with its network, and where its block is another node’s, which is told', () => {
    expect(guestIn(run({ networks: [], guests }))).toBeUndefined()
    expect(run({ networks: [], guests }).changes.has(recordKey.guest(id))).toBe(true)
    const seen = [seenAt(at(3, 4))]
    const lost = run({ blocks, guests: [guestAt(at(3, 4))], guestsSeen: seen })
    expect(lost.changes).toEqual(new Map([[recordKey.guest(id), undefined]]))
    expect(lost.guests.get(id)).toMatchObject({ kind: 'lost', guest: { address: at(3, 4) } })
    expect(run({ blocks, guests: [guestAt(at(3, 4))], guestsSeen: seen, synced: false }).changes.size).toBe(1)
  })
})

test('a task gets no address that such a container has, nor one that somebody took past the agent', () => {
  const web = serviceOf('web', {}, { Networks: [{ Target: net.id }] })
  const task: TaskEntry = taskOf(web, { state: 'preparing' })
  const results = { [task.id]: { action: 'prepare', result: { kind: 'done' } } } as const
  const output = run({
    services: [web],
    tasks: [task],
    results,
    blocks: [claim(net, subnet, 7)],
    guests: [guestAt(at(7, 1))],
    guestsSeen: [seenAt(at(7, 1)), seenAt(at(7, 2), { container: 'c2' as ContainerId })],
  })
  expect(changedTasks(output.changes)).toMatchObject([{ addresses: [{ address: `${at(7, 3)}/18` }] }])
})
