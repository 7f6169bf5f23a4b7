import { serviceSpecSchema } from '@moot/crdt-state'
import { expect, test } from 'vitest'
import { checkPartition, partitionWarnings } from './partition.ts'

const specOf = (value: string | undefined, more: object = {}) =>
  serviceSpecSchema.parse({
    Name: 'db',
    Labels: value === undefined ? {} : { 'moot.partition': value },
    TaskTemplate: { ContainerSpec: { Image: 'db:1' } },
    ...more,
  })

test('both contracts are taken, and none', () => {
  for (const value of ['available', 'exclusive', undefined])
    expect(() => checkPartition(specOf(value))).not.toThrow()
  expect(() => checkPartition(specOf('both'))).toThrow('invalid label')
})

test('start-first of an exclusive service is said to be stop-first, of each config', () => {
  const startFirst = { Parallelism: 1, Order: 'start-first' }
  const both = { UpdateConfig: startFirst, RollbackConfig: startFirst }
  expect(partitionWarnings(specOf('exclusive', both))).toEqual([
    expect.stringMatching(/^UpdateConfig.Order start-first is treated as stop-first/),
    expect.stringMatching(/^RollbackConfig.Order start-first is treated as stop-first/),
  ])
  expect(partitionWarnings(specOf('available', both))).toEqual([])
  expect(partitionWarnings(specOf('exclusive'))).toEqual([])
})
