import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ResourceId } from '@moot/crdt-state'
import { changesBetween } from './name-changes.ts'
import { NameIndex } from './name-index.ts'
import type { NameTable } from './name-table.ts'

const name = fc.constantFrom('web', 'tasks.web', 'db', '__proto__', 'constructor')
const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3')
const addresses = fc.array(address, { maxLength: 3 })
const id = fc.constantFrom('a', 'b', 'c').map((text) => text as ResourceId)

function record<T>(key: fc.Arbitrary<string>, value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> {
  return fc.array(fc.tuple(key, value), { maxLength: 4 }).map((entries) => Object.fromEntries(entries))
}

const network = fc.record({
  id,
  subnet: fc.constantFrom('10.0.0.0/24', '10.1.0.0/16'),
  isInternal: fc.boolean(),
  names: record(name, fc.record({ addresses, local: fc.nat(3) })),
  reverse: record(address, name),
})
const table: fc.Arbitrary<NameTable> = fc.record({
  networks: fc.uniqueArray(network, { maxLength: 3, selector: (each) => each.id }),
  clients: fc.array(
    fc.record({ addresses, networks: fc.array(id, { maxLength: 2 }), nameservers: addresses }),
    {
      maxLength: 2,
    },
  ),
})

function plain({ networks, clients }: NameTable): unknown {
  return { networks: networks.toSorted((one, other) => (one.id < other.id ? -1 : 1)), clients }
}

test('one table with the changes to another is the other, also over the wire', () => {
  fc.assert(
    fc.property(table, table, (one, other) => {
      const index = NameIndex.of(one)
      const changes = changesBetween(one, other)
      if (changes !== undefined) index.apply(JSON.parse(JSON.stringify(changes)) as typeof changes)
      expect(plain(index.toTable())).toEqual(plain(other))
    }),
  )
})

test('between a table and a copy of it nothing has changed', () => {
  fc.assert(
    fc.property(table, (one) => {
      expect(changesBetween(one, structuredClone(one))).toBeUndefined()
    }),
  )
})
