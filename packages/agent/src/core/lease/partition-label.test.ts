import { describe, expect, test } from 'vitest'
import {
  partitionFact,
  partitionLabel,
  type PartitionPast,
  type Resource,
  type ServiceSpec,
} from '@moot/crdt-state'
import { serviceOf } from '../reconcile/testing.ts'
import { labelTerm } from './contract.ts'
import { leasedServices, partitionLabelOf, slotNeed } from './partition-label.ts'

const named = (
  value: string | undefined,
  partition?: PartitionPast,
  more: Partial<Resource<ServiceSpec>> = {},
): Resource<ServiceSpec> => ({
  ...serviceOf('db', { Labels: value === undefined ? {} : { [partitionLabel]: value } }),
  ...(partition && { partition }),
  ...more,
})
const facts = (...keys: readonly string[]) => new Map(keys.map((key) => [key, true]))
const twice = { changes: 2, wasExclusive: true }

describe('what the documents say of a slot', () => {
  test('is nothing where nobody ever said exclusive', () => {
    for (const service of [named(undefined), named('available', { changes: 1, wasExclusive: false })]) {
      expect(slotNeed(service, 1)).toBeUndefined()
      expect(leasedServices(new Map([['db', service]]) as never).size).toBe(0)
    }
  })

  test('is a lease while it is exclusive, in the term of its last change', () => {
    const service = named('exclusive', { changes: 3, wasExclusive: true })
    expect(slotNeed(service, 1)).toEqual({ term: labelTerm(1, 3), as: 'exclusive' })
    expect(leasedServices(new Map([['db', service]]) as never).size).toBe(1)
  })

  test('is the voters’ word where it was exclusive, until they have given it for just this slot and term', () => {
    expect(slotNeed(named(undefined, twice), 1)).toEqual({ term: labelTerm(1, 2), as: 'loosening' })
    const noted = { facts: facts(partitionFact.loosened(1, labelTerm(1, 2))) }
    expect(slotNeed(named(undefined, twice, noted), 1)).toBeUndefined()
    expect(slotNeed(named(undefined, twice, noted), 2)).toMatchObject({ as: 'loosening' })
    // Said to be exclusive once more, and not any more.
    const again = named(undefined, { changes: 4, wasExclusive: true }, noted)
    expect(slotNeed(again, 1)).toEqual({ term: labelTerm(1, 4), as: 'loosening' })
    expect(slotNeed(named('exclusive', { changes: 3, wasExclusive: true }, noted), 1)).toMatchObject({
      as: 'exclusive',
    })
  })

  test('is the voters’ word where an older service of the name was exclusive, whatever became of its slots', () => {
    const anew = { incarnation: 3, facts: facts(partitionFact.exclusive(1)) }
    expect(partitionLabelOf(named(undefined, undefined, anew), 1)).toEqual({
      isExclusive: false,
      term: labelTerm(3, 0),
      exclusiveTerm: labelTerm(2, 0) - 1,
      loosenedTerm: undefined,
    })
    expect(slotNeed(named(undefined, undefined, anew), 1)).toEqual({ term: labelTerm(3, 0), as: 'loosening' })
    const noted = facts(partitionFact.exclusive(1), partitionFact.loosened(1, labelTerm(3, 0)))
    expect(slotNeed(named(undefined, undefined, { ...anew, facts: noted }), 1)).toBeUndefined()
    // What is said of it now is no exclusive word: it need not be asked for anew.
    const said = named('available', { changes: 1, wasExclusive: false }, { ...anew, facts: noted })
    expect(slotNeed(said, 1)).toBeUndefined()
  })

  test('tells the slots of global services apart by their nodes', () => {
    const noted = { facts: facts(partitionFact.loosened('node1' as never, labelTerm(1, 2))) }
    expect(slotNeed(named(undefined, twice, noted), 'node1' as never)).toBeUndefined()
    expect(slotNeed(named(undefined, twice, noted), 'node2' as never)).toMatchObject({ as: 'loosening' })
  })
})
