import { generateIdentity, nodeIdOf } from '@moot/crdt-state'
import type { NodeId } from '@moot/crdt-state'
import { beforeEach, describe, expect, test } from 'vitest'
import { defaults } from '../../../../defaults.ts'
import { encodePacket, isProven, macKey, packetBytes, readPacket, tagOf } from '../packet.ts'
import type { Direction, Packet } from '../packet.ts'
import { pairKey } from '../pair-key.ts'
import { SharedCells } from '../shared-cells.ts'
import { Answering } from './answering.ts'
import { KnownMembers } from './known-members.ts'

const clusterTag = 'test'
const here = generateIdentity().identity
const member = generateIdentity().identity
const stranger = generateIdentity().identity
const self = nodeIdOf(here.publicKey)
const node = nodeIdOf(member.publicKey)
const keyBytes = pairKey(here, member.publicKey, clusterTag)!
const forth: Direction = { key: macKey(keyBytes), from: node, to: self }
const back: Direction = { ...forth, from: self, to: node }

let cells: SharedCells
let members: KnownMembers
let answering: Answering
let wanted: NodeId[]
let nonce = 0n

beforeEach(() => {
  cells = new SharedCells()
  cells.stamp()
  members = new KnownMembers(defaults.datagramAnswersPerMember)
  know([node])
  wanted = []
  answering = new Answering({
    self,
    clusterTag,
    members,
    settings: defaults,
    cells,
    wanted: (one) => wanted.push(one),
  })
})

function know(nodes: readonly NodeId[]): void {
  members.replace(nodes.map((one) => ({ node: one, tag: tagOf(one, clusterTag) })))
  for (const one of nodes) members.get(one)!.key ??= macKey(keyBytes)
}
function question(change: Partial<Packet> = {}, direction: Direction = forth): Buffer {
  nonce += 1n
  return encodePacket(
    { kind: 'question', tag: tagOf(direction.from, clusterTag), nonce, age: 0, ...change },
    direction,
  )
}
function answerTo(bytes: Buffer, nowMs = 0): Buffer | undefined {
  return answering.answer(bytes, readPacket(bytes)!, nowMs)
}

test('a member’s question is answered with its nonce, proven, and at the same length', () => {
  const answer = answerTo(question({ nonce: 77n }))!
  expect(answer).toHaveLength(packetBytes)
  expect(readPacket(answer)).toEqual({ kind: 'answer', tag: tagOf(self, clusterTag), nonce: 77n, age: 0 })
  expect(isProven(answer, back)).toBe(true)
  expect(cells.counts()).toMatchObject({ answered: 1, unproven: 0 })
})

test('an answer says for how long the main loop has not turned, up to a minute', () => {
  cells.stamp(12_000)
  expect(readPacket(answerTo(question())!)?.age).toBeGreaterThanOrEqual(48)
  expect(readPacket(answerTo(question())!)?.age).toBeLessThan(60)
  cells.stamp(10 * 60_000)
  expect(readPacket(answerTo(question())!)?.age).toBe(255)
})

describe('nothing is said to', () => {
  test.each<[string, () => Buffer]>([
    [
      'one who has another key',
      () => question({}, { ...forth, key: macKey(pairKey(here, stranger.publicKey, clusterTag)!) }),
    ],
    [
      'a member in another cluster',
      () => question({}, { ...forth, key: macKey(pairKey(here, member.publicKey, 'other')!) }),
    ],
    ['its own question, sent back', () => question({}, back)],
    ['its own answer, sent back', () => answerTo(question())!],
    ['its own answer, said to be a question', () => encodePacket(readPacket(answerTo(question())!)!, back)],
    ['a question to a third', () => question({}, { ...forth, to: nodeIdOf(stranger.publicKey) })],
    ['one who is no member', () => question({}, { ...forth, from: nodeIdOf(stranger.publicKey) })],
    ['garbage in a member’s name', () => Buffer.concat([question().subarray(0, 14), Buffer.alloc(8)])],
  ])('%s', (_, bytes) => {
    expect(answerTo(bytes())).toBeUndefined()
  })

  test('a question that was heard before', () => {
    const bytes = question()
    expect(answerTo(bytes)).toBeDefined()
    for (let count = 0; count < 200; count += 1) answerTo(question(), count * 100)
    expect(answerTo(bytes, 60_000)).toBeUndefined()
    expect(cells.counts().repeated).toBe(1)
  })

  test('a member that was removed', () => {
    const bytes = question()
    know([])
    expect(answerTo(bytes)).toBeUndefined()
    expect(wanted).toEqual([])
    expect(cells.counts().unknown).toBe(1)
  })
})

test('members that share a tag are told apart by their keys', () => {
  const other = nodeIdOf(stranger.publicKey)
  const otherKey = macKey(pairKey(here, stranger.publicKey, clusterTag)!)
  members.replace([])
  members.replace([node, other].map((one) => ({ node: one, tag: 5 })))
  members.get(node)!.key = forth.key
  members.get(other)!.key = otherKey
  const answer = answerTo(question({ tag: 5 }, { key: otherKey, from: other, to: self }))!
  expect(isProven(answer, { key: otherKey, from: self, to: other })).toBe(true)
  expect(isProven(answerTo(question({ tag: 5 }))!, back)).toBe(true)
})

test('the key of a member that asks is asked for, once in a while, and a stranger’s never', () => {
  members.replace([])
  members.replace([{ node, tag: tagOf(node, clusterTag) }])
  for (let nowMs = 0; nowMs < defaults.datagramWantAgainMs; nowMs += 100) {
    expect(answerTo(question(), nowMs)).toBeUndefined()
    answerTo(question({}, { ...forth, from: nodeIdOf(stranger.publicKey) }), nowMs)
  }
  expect(wanted).toEqual([node])
  answerTo(question(), defaults.datagramWantAgainMs)
  expect(wanted).toEqual([node, node])
})

test('a member has so many answers in a second and no more, and the others theirs', () => {
  const other = nodeIdOf(stranger.publicKey)
  know([node, other])
  const ask = (direction: Direction): number =>
    Array.from({ length: 200 }, () => answerTo(question({}, direction), 1_000)).filter(Boolean).length
  expect(ask(forth)).toBe(defaults.datagramAnswersPerMember)
  expect(ask({ ...forth, from: other })).toBe(defaults.datagramAnswersPerMember)
  expect(cells.counts().unanswered).toBe(300)
})

test('all together have so many answers in a second and no more', () => {
  const nodes = Array.from({ length: 100 }, (_, index) => String(index).padStart(25, 'n') as NodeId)
  know(nodes)
  let answered = 0
  for (const from of nodes) {
    for (let count = 0; count < 50; count += 1) {
      if (answerTo(question({}, { ...forth, from }), 1_000) !== undefined) answered += 1
    }
  }
  expect(answered).toBe(defaults.datagramAnswersMax)
})
