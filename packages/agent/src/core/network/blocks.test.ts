import type { BlockClaims, NodeId } from '@moot/crdt-state'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeId } from '../placement/fixtures.ts'
import {
  blocksOf,
  type BlockTable,
  blockTable,
  type ClaimsByNode,
  lostBlocks,
  nextBlock,
  nextClaims,
} from './blocks.ts'
import { geometryOf } from './geometry.ts'
import { parseRange } from './ipv4.ts'
import { claim, network } from './scene.testing.ts'

const front = network('front')
const cidr = '10.1.0.0/24'
const geometry = geometryOf(parseRange(cidr)!)
const nodes = ['a', 'b', 'c', 'd', 'e'].map(nodeId)
const [a, b, c] = nodes as [NodeId, NodeId, NodeId]
const nobodyIsDown = () => false

const tableOf = (claims: ClaimsByNode, down: readonly NodeId[] = [], at = geometry): BlockTable =>
  blockTable(front.id, at, claims, (node) => down.includes(node))
const claimsOf = (claims: Readonly<Record<string, readonly number[]>>): Map<NodeId, BlockClaims> =>
  new Map(Object.entries(claims).map(([node, blocks]) => [nodeId(node), claim(front, cidr, ...blocks)]))

/** What a node does by itself: lets go of what it lost, and claims one block more. */
function claiming(
  claims: ClaimsByNode,
  node: NodeId,
  down: readonly NodeId[] = [],
  at = geometry,
): Map<NodeId, BlockClaims> {
  const table = tableOf(claims, down, at)
  const next = nextBlock(table, node)
  const entry = nextClaims(table, node, next.kind === 'claim' ? next.block : undefined)
  return entry === undefined ? new Map(claims) : new Map(claims).set(node, entry)
}

describe('a block', () => {
  test('is of the node that claims it, and of several that do, of one and the same', () => {
    const table = tableOf(claimsOf({ a: [3, 1], b: [2], c: [1] }))
    expect(table.owners.get(3)).toBe(a)
    expect(table.owners.get(2)).toBe(b)
    const owner = table.owners.get(1)!
    expect([a, c]).toContain(owner)
    expect(blocksOf(table, a)).toEqual(owner === a ? [3, 1] : [3])
    expect(lostBlocks(table, owner === a ? c : a, claim(front, cidr, 1))).toEqual([1])
  })

  test('is not always of the same node: the order is another for each', () => {
    const all = Array.from({ length: geometry.blocks }, (_, block) => block)
    const table = tableOf(claimsOf({ a: all, b: all }))
    expect(blocksOf(table, a).length).toBeGreaterThan(10)
    expect(blocksOf(table, b).length).toBeGreaterThan(10)
    expect(blocksOf(table, a).length + blocksOf(table, b).length).toBe(geometry.blocks)
  })

  test('stays a dead node’s while nobody else claims it, and is another’s who does', () => {
    expect(tableOf(claimsOf({ a: [1], b: [2] }), [a]).owners.get(1)).toBe(a)
    expect(tableOf(claimsOf({ a: [1], b: [1] }), [a]).owners.get(1)).toBe(b)
    expect(tableOf(claimsOf({ a: [1], b: [1] }), [b]).owners.get(1)).toBe(a)
  })

  test('that was claimed in an earlier subnet, or is none, is nobody’s', () => {
    const claims = new Map<NodeId, BlockClaims>([
      [a, claim(front, '10.9.0.0/24', 1, 2)],
      [b, claim(front, cidr, -1, 48, 1.5, 7, 7)],
    ])
    const table = tableOf(claims)
    expect([...table.owners]).toEqual([[7, b]])
    expect(blocksOf(table, b)).toEqual([7])
    expect(lostBlocks(table, a, claims.get(a))).toEqual([1, 2])
    expect(nextClaims(table, a)).toBeUndefined()
  })
})

describe('the block that a node claims next', () => {
  test('is one that nobody claims, alive or dead, while there is one', () => {
    let claims: Map<NodeId, BlockClaims> = claimsOf({
      a: [],
      b: Array.from({ length: 40 }, (_, block) => block),
    })
    for (let left = 8; left > 0; left -= 1) {
      const table = tableOf(claims, [b])
      const next = nextBlock(table, a)
      expect(next.kind === 'claim' && table.owners.has(next.block)).toBe(false)
      claims = claiming(claims, a, [b])
    }
    // Nothing else is free: now the dead one's.
    const next = nextBlock(tableOf(claims, [b]), a)
    expect(next.kind === 'claim' && next.block < 40).toBe(true)
    expect(tableOf(claiming(claims, a, [b]), [b]).owned.get(a)).toHaveLength(9)
  })

  test('is none where all are taken by nodes that live, which is said', () => {
    const all = Array.from({ length: geometry.blocks }, (_, block) => block)
    expect(nextBlock(tableOf(claimsOf({ a: all.slice(0, 20), b: all.slice(20) })), c)).toEqual({
      kind: 'waits',
      wait: { kind: 'no-block-free', network: front.id, subnet: cidr, blocks: 48, nodes: 2 },
    })
  })

  test('is another for each node, as a rule', () => {
    const large = geometryOf(parseRange('10.128.0.0/18')!)
    const empty = blockTable(front.id, large, new Map(), nobodyIsDown)
    const first = Array.from({ length: 20 }, (_, n) => nextBlock(empty, nodeId(`node${n}`)))
    expect(new Set(first.map((next) => (next.kind === 'claim' ? next.block : -1))).size).toBeGreaterThan(17)
  })
})

describe('claims', () => {
  /** Few blocks, so that nodes meet. */
  const small = geometryOf(parseRange('10.1.0.0/26')!)
  const smallCidr = '10.1.0.0/26'
  const claims = fc
    .array(fc.uniqueArray(fc.nat({ max: small.blocks - 1 }), { maxLength: 4 }), {
      minLength: 5,
      maxLength: 5,
    })
    .map((all) => new Map(all.map((blocks, at) => [nodes[at]!, claim(front, smallCidr, ...blocks)])))

  test('have one owner each, in whatever order they were learnt', () => {
    fc.assert(
      fc.property(claims, fc.subarray(nodes), (claims, down) => {
        const table = tableOf(claims, down, small)
        const other = tableOf(new Map([...claims].toReversed()), down, small)
        expect(other.owners).toEqual(table.owners)
        const owned = [...table.owned].flatMap(([node, blocks]) =>
          blocks.map((block) => [block, node] as const),
        )
        expect(owned).toHaveLength(table.owners.size)
        for (const [block, node] of owned) expect(table.owners.get(block)).toBe(node)
      }),
    )
  })

  test('that are added later take no block from anybody', () => {
    fc.assert(
      fc.property(claims, fc.constantFrom(...nodes), (claims, node) => {
        const before = tableOf(claims, [], small)
        const after = tableOf(claiming(claims, node, [], small), [], small)
        for (const [block, owner] of before.owners) expect(after.owners.get(block)).toBe(owner)
      }),
    )
  })

  test('of two sides of a partition settle when these meet: only losers change, and each block has one claimant', () => {
    let lost = 0
    fc.assert(
      fc.property(claims, (claims) => {
        const met = tableOf(claims, [], small)
        lost += nodes.flatMap((node) => lostBlocks(met, node, claims.get(node))).length
        let settled = new Map(claims)
        // Each lets go of what it lost, one after the other, and those who lost something claim anew.
        for (const node of nodes) {
          const isLoser = lostBlocks(met, node, claims.get(node)).length > 0
          const next = isLoser ? nextBlock(tableOf(settled, [], small), node) : undefined
          const entry = nextClaims(
            tableOf(settled, [], small),
            node,
            next?.kind === 'claim' ? next.block : undefined,
          )
          if (entry === undefined) settled.delete(node)
          else settled = new Map(settled).set(node, entry)
          const kept = isLoser ? claims.get(node)?.blocks : entry?.blocks
          expect(kept ?? []).toEqual(claims.get(node)?.blocks ?? [])
        }
        const claimed = [...settled.values()].flatMap(({ blocks }) => blocks)
        expect(new Set(claimed).size).toBe(claimed.length)
        const after = tableOf(settled, [], small)
        for (const [block, owner] of met.owners) expect(after.owners.get(block)).toBe(owner)
      }),
    )
    expect(lost).toBeGreaterThan(50)
  })
})
