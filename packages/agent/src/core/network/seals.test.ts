import { describe, expect, test } from 'vitest'
import { nodeId } from '../placement/fixtures.ts'
import type { Peer } from './plane.ts'
import { sealOf, withoutFormerSelves } from './seals.ts'

const end = (rounds: readonly number[], uses?: number) => ({
  keys: rounds.map((round) => ({ round, key: `key${round}` })),
  ...(uses !== undefined && { uses }),
})

describe('what is sent between two nodes', () => {
  test('is not encrypted where one of them has no WireGuard', () => {
    expect(sealOf(end([1], 1), undefined)).toBeUndefined()
    expect(sealOf(undefined, end([1], 1))).toBeUndefined()
  })

  test('is encrypted once the sender knows that the other has its key', () => {
    expect(sealOf(end([1]), end([1], 1))?.sends).toEqual({ kind: 'open' })
    expect(sealOf(end([1], 1), end([1]))?.sends).toEqual({ kind: 'sealed', round: 1 })
  })

  test('must be encrypted once both know: before that each takes both', () => {
    expect(sealOf(end([1], 1), end([1]))?.isStrict).toBe(false)
    expect(sealOf(end([1]), end([1], 1))?.isStrict).toBe(false)
    expect(sealOf(end([1], 1), end([1], 1))?.isStrict).toBe(true)
  })

  test('is encrypted by the key that the sender uses, or else by the newest that both have; and what comes by any of them is taken', () => {
    expect(sealOf(end([1, 2], 1), end([1, 2], 2))).toMatchObject({
      sends: { kind: 'sealed', round: 1 },
      keys: [{ round: 1 }, { round: 2 }],
    })
    expect(sealOf(end([1, 2], 2), end([1], 1))?.sends).toEqual({ kind: 'sealed', round: 1 })
    expect(sealOf(end([1, 2], 1), end([2], 2))?.sends).toEqual({ kind: 'sealed', round: 2 })
  })

  test('is nothing, rather than unencrypted, where they have no round in common', () => {
    expect(sealOf(end([4], 4), end([2], 2))).toEqual({
      keys: [],
      sends: { kind: 'nothing' },
      isStrict: true,
    })
  })
})

describe('of two members with one address', () => {
  const peer = (name: string, underlay: string, seal = sealOf(end([1], 1), end([1], 1))): Peer => ({
    node: nodeId(name),
    underlay,
    mac: '02:00:00:00:00:01',
    mark: 1,
    ...(seal !== undefined && { seal }),
  })
  const former = peer('former', '10.0.0.1')
  const heir = peer('heir', '10.0.0.1')
  const other = peer('other', '10.0.0.2')

  test('the one that lives has the keys, and its former self is sent nothing', () => {
    const liveness = new Map([
      [former.node, { kind: 'down', observers: [] } as const],
      [heir.node, { kind: 'alive' } as const],
    ])
    const nothing = { keys: [], sends: { kind: 'nothing' }, isStrict: false }
    expect(withoutFormerSelves([former, heir, other], liveness)).toEqual([
      { ...former, seal: nothing },
      heir,
      other,
    ])
  })

  test('nothing changes where all addresses differ', () => {
    const peers = [heir, other]
    expect(withoutFormerSelves(peers, new Map())).toBe(peers)
  })
})
