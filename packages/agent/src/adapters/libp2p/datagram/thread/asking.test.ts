import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import { beforeEach, expect, test } from 'vitest'
import { defaults } from '../../../../defaults.ts'
import { encodePacket, isProven, macKey, readPacket, tagOf } from '../packet.ts'
import type { Direction } from '../packet.ts'
import { pairKey } from '../pair-key.ts'
import { SharedCells } from '../shared-cells.ts'
import { Asking } from './asking.ts'
import { KnownMembers } from './known-members.ts'

const clusterTag = 'test'
const here = generateIdentity().identity
const there = generateIdentity().identity
const self = nodeIdOf(here.publicKey)
const node = nodeIdOf(there.publicKey)
const key = macKey(pairKey(here, there.publicKey, clusterTag)!)
const forth: Direction = { key, from: self, to: node }
const back: Direction = { key, from: node, to: self }
const doors = [
  { host: '10.0.0.1', port: 1 },
  { host: '10.0.0.2', port: 2 },
]

let members: KnownMembers
let asking: Asking
beforeEach(() => {
  members = new KnownMembers(50)
  members.replace([{ node, tag: tagOf(node, clusterTag) }])
  members.get(node)!.key = key
  asking = new Asking({ self, clusterTag, members, settings: defaults, cells: new SharedCells() })
})

function hear(bytes: Buffer, nowMs = 30) {
  return asking.hear(bytes, readPacket(bytes)!, nowMs)
}
function answerTo(asked: Buffer, age = 0, direction = back): Buffer {
  const { nonce } = readPacket(asked)!
  return encodePacket({ kind: 'answer', tag: tagOf(direction.from, clusterTag), nonce, age }, direction)
}

test('an answer tells which question it answers, at which door, after how long, and how old the main loop is', () => {
  const datagrams = asking.ask(7, node, doors, 10)
  expect(datagrams.map(({ door }) => door)).toEqual(doors)
  for (const { bytes } of datagrams) expect(isProven(bytes, forth)).toBe(true)
  expect(hear(answerTo(datagrams[1]!.bytes, 4))).toEqual({
    id: 7,
    door: doors[1],
    roundTripMs: 20,
    ageMs: 1_000,
  })
})

test('only the first answer counts: a second one, of another door or the same again, is nothing', () => {
  const [first, second] = asking.ask(7, node, doors, 10)
  expect(hear(answerTo(first!.bytes))).toBeDefined()
  expect(hear(answerTo(first!.bytes))).toBeUndefined()
  expect(hear(answerTo(second!.bytes))).toBeUndefined()
})

test('an answer that comes after its time is nothing', () => {
  const [first] = asking.ask(7, node, doors, 10)
  expect(asking.end(7)).toBe(true)
  expect(asking.end(7)).toBe(false)
  expect(hear(answerTo(first!.bytes))).toBeUndefined()
})

test.each<[string, (asked: Buffer) => Buffer]>([
  ['the question itself, sent back', (asked) => asked],
  ['the question, said to be an answer', (asked) => answerTo(asked, 0, forth)],
  ['an answer with another key', (asked) => answerTo(asked, 0, { ...back, key: macKey(Buffer.alloc(32)) })],
  ['an answer of another node', (asked) => answerTo(asked, 0, { ...back, from: 'n'.repeat(25) })],
])('%s is no answer, and the right one still is', (_, forged) => {
  const [first] = asking.ask(7, node, doors, 10)
  expect(hear(forged(first!.bytes))).toBeUndefined()
  expect(hear(answerTo(first!.bytes))).toMatchObject({ id: 7 })
})

test('a member that was removed meanwhile is not heard, and is not asked', () => {
  const [first] = asking.ask(7, node, doors, 10)
  members.replace([])
  expect(hear(answerTo(first!.bytes))).toBeUndefined()
  expect(asking.ask(8, node, doors, 10)).toEqual([])
})

test('no more is asked at a time than there is a bound for, and at no more doors', () => {
  const many = Array.from({ length: 9 }, (_, index) => ({ host: '10.0.0.1', port: index + 1 }))
  for (let id = 0; id < defaults.datagramQuestionsMax; id += 1) {
    expect(asking.ask(id, node, many, 10)).toHaveLength(defaults.datagramDoorsMax)
  }
  expect(asking.ask(-1, node, many, 10)).toEqual([])
  asking.end(0)
  expect(asking.ask(-1, node, many, 10)).toHaveLength(defaults.datagramDoorsMax)
})
