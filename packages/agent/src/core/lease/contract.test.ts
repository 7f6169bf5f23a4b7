import type { NodeId } from '@moot/crdt-state'
import { describe, expect, it } from 'vitest'
import { labelTerm, leaseNeed, slotKey } from './contract.ts'

const never = { isExclusive: false, term: labelTerm(1, 0), exclusiveTerm: undefined, loosenedTerm: undefined }

describe('the voters are asked', () => {
  it('for nothing by a service that was never exclusive', () => {
    expect(leaseNeed(never)).toBeUndefined()
  })

  it('for a lease by one that is exclusive, whatever it was', () => {
    const term = labelTerm(1, 2)
    const label = { isExclusive: true, term, exclusiveTerm: term, loosenedTerm: labelTerm(1, 1) }
    expect(leaseNeed(label)).toEqual({ term, as: 'exclusive' })
  })

  it('whether it may run without, by one that was made available or created anew, until they knew it', () => {
    for (const term of [labelTerm(1, 1), labelTerm(2, 0)]) {
      const label = { isExclusive: false, term, exclusiveTerm: labelTerm(1, 0), loosenedTerm: undefined }
      expect(leaseNeed(label)).toEqual({ term, as: 'loosening' })
      expect(leaseNeed({ ...label, loosenedTerm: term })).toBeUndefined()
    }
    const loosenedBefore = {
      isExclusive: false,
      term: labelTerm(1, 3),
      exclusiveTerm: labelTerm(1, 2),
      loosenedTerm: labelTerm(1, 1),
    }
    expect(leaseNeed(loosenedBefore)).toMatchObject({ as: 'loosening' })
  })

  it('for the same slot by a service that was removed and created anew', () => {
    expect(slotKey('my.db', 1)).toBe('my.db.1')
    expect(slotKey('db', 'n'.repeat(25) as NodeId)).toBe(`db.${'n'.repeat(25)}`)
    expect(labelTerm(2, 0)).toBeGreaterThan(labelTerm(1, 10 ** 9))
  })
})
