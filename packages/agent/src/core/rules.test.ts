import type { NodeRecord } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { recordOf, viewOf } from './membership/testing.ts'
import { knownRules, rulesVersion } from './rules.ts'

function knowing(name: string, rules: readonly number[]): NodeRecord {
  return { ...recordOf(name), status: { rules } as unknown as NonNullable<NodeRecord['status']> }
}

describe('rules version', () => {
  it('is the highest that every member which has spoken knows', () => {
    expect(rulesVersion(viewOf('a', [knowing('a', knownRules), knowing('b', [1, 2])], ['c']))).toBe(1)
  })

  it('is none where two members have none in common', () => {
    expect(rulesVersion(viewOf('a', [knowing('a', knownRules), knowing('b', [7])]))).toBeUndefined()
  })

  it('asks members only: the record of a former one does not count', () => {
    const view = viewOf('a', [knowing('a', knownRules), knowing('b', [7])])
    expect(rulesVersion({ ...view, nodes: new Map([...view.nodes].slice(0, 1)) })).toBe(1)
  })
})
