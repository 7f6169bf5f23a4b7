import type { NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { recordOf, viewOf } from './membership/testing.ts'
import { commonRules, firstRules, type Rules } from './rules.ts'

const secondRules: Rules = { ...firstRules, version: 2 }

function knowing(name: string, rules: readonly number[]): NodeRecord {
  return { ...recordOf(name), status: { rules } as unknown as NonNullable<NodeRecord['status']> }
}

describe('the rules that all decide by', () => {
  it('are the highest that every member which has spoken knows', () => {
    const view = (versions: number[]) => viewOf('a', [knowing('a', [1, 2]), knowing('b', versions)], ['c'])
    expect(commonRules(view([1]), [firstRules, secondRules])).toBe(firstRules)
    expect(commonRules(view([1, 2, 3]), [firstRules, secondRules])).toBe(secondRules)
  })

  it('are none where two members have none in common', () => {
    expect(commonRules(viewOf('a', [knowing('a', [1]), knowing('b', [7])]))).toBeUndefined()
  })

  it('are those of members only: the record of a former one does not count', () => {
    const view = viewOf('a', [knowing('a', [1]), knowing('b', [7])])
    expect(commonRules({ ...view, nodes: new Map([...view.nodes].slice(0, 1)) })).toBe(firstRules)
  })
})
